"""What somebody prefers; napari keeps it, and shows it under File > Preferences > MLB-Seg."""

from typing import Any

from napari.settings import get_plugin_settings

PLUGIN = "napari-mlbseg"


def wheel_scrolls() -> bool:
    """Whether the wheel goes through the slices and Ctrl+wheel zooms; otherwise as in napari."""
    kept = _kept()
    return kept is None or bool(kept.reading.wheel_scrolls)


def prefer_wheel_scrolls(on: bool) -> None:
    """Keep what the wheel is to do, from now on and for the next start."""
    kept = _kept()
    if kept is not None:
        kept.reading.wheel_scrolls = on


def annotator() -> str | None:
    """The name to write into the log of studies; None for the name of the user's account."""
    kept = _kept()
    return (str(kept.work.annotator).strip() or None) if kept is not None else None


def device() -> str:
    """The device that was chosen for the last training, as in `Config`."""
    kept = _kept()
    return "auto" if kept is None else str(getattr(kept.work.device, "value", kept.work.device))


def prefer_device(name: str) -> None:
    """Keep the device for the next start."""
    kept = _kept()
    if kept is not None:
        kept.work.device = name


def target_dice() -> float:
    """The Dice that somebody wants to reach."""
    kept = _kept()
    return 0.9 if kept is None else float(kept.work.target_dice)


def prefer_target_dice(target: float) -> None:
    """Keep the Dice to reach for the next start."""
    kept = _kept()
    if kept is not None:
        kept.work.target_dice = target


def _kept() -> Any:
    """The preferences, as the manifest lists them; None if napari has the plugin switched off."""
    return get_plugin_settings().get(PLUGIN)

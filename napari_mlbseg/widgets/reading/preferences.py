"""What somebody prefers; napari keeps it, and shows it under File > Preferences > MLB-Seg."""

from typing import Any

from napari.settings import get_plugin_settings

PLUGIN = "napari-mlbseg"


def wheel_scrolls() -> bool:
    """Whether the wheel goes through the slices and Ctrl+wheel zooms; otherwise as in napari."""
    kept = _kept()
    return kept is None or bool(kept.wheel_scrolls)


def prefer_wheel_scrolls(on: bool) -> None:
    """Keep what the wheel is to do, from now on and for the next start."""
    kept = _kept()
    if kept is not None:
        kept.wheel_scrolls = on


def _kept() -> Any:
    """The preferences, as the manifest lists them; None if napari has the plugin switched off."""
    plugin = get_plugin_settings().get(PLUGIN)
    return None if plugin is None else plugin.reading

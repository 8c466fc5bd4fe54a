"""Saves several slices one by one, and says how many."""

from collections.abc import Callable, Iterable, Sequence

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.slices import SliceKey


def save_each(keys: Iterable[SliceKey], save: Callable[[SliceKey], object]) -> dict[SliceKey, str]:
    """Save each slice if possible; return the slices that could not be saved, with the reason."""
    reasons = {}
    for key in keys:
        try:
            save(key)
        except (UserError, OSError) as error:
            reasons[key] = str(error)
    return reasons


def in_words(reasons: dict[SliceKey, str]) -> str:
    """Say which slices are not saved and why, each reason once; for the annotator."""
    indices: dict[str, list[int]] = {}
    for key, reason in reasons.items():
        indices.setdefault(reason, []).append(key.index)
    return "\n".join(
        f"{'Slice' if len(found) == 1 else 'Slices'} {', '.join(map(str, found))}: {reason}"
        for reason, found in indices.items()
    )


def waits_in_words(saves: int, problem: str) -> str:
    """Say how many saves wait, and why as far as it is known; for the annotator."""
    how_many = "1 save waits" if saves == 1 else f"{saves} saves wait"
    why = f"\n{problem}" if problem else ""
    return f"{how_many}: another program holds the study, or the disk is busy.{why}"


def slices_in_words(count: int) -> str:
    """Return a count in words: 1 slice, 2 slices."""
    return "1 slice" if count == 1 else f"{count} slices"


def pixels_in_words(count: int) -> str:
    """Return a count in words: 1 pixel, 2 pixels."""
    return "1 pixel" if count == 1 else f"{count} pixels"


def named(keys: Sequence[SliceKey]) -> str:
    """Slices in words: slice 5; slices 5 to 8; 3 slices from 5 to 8 if not all of them."""
    first, last = keys[0].index, keys[-1].index
    if first == last:
        return f"slice {first}"
    if last - first + 1 == len(keys):
        return f"slices {first} to {last}"
    return f"{len(keys)} slices from {first} to {last}"

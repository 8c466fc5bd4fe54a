"""Saving several slices, each by itself."""

from collections.abc import Callable, Iterable

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.slices import SliceKey


def save_each(keys: Iterable[SliceKey], save: Callable[[SliceKey], object]) -> dict[SliceKey, str]:
    """Save what can be saved; the result says of the others why they could not be."""
    reasons = {}
    for key in keys:
        try:
            save(key)
        except (UserError, OSError) as error:
            reasons[key] = str(error)
    return reasons


def in_words(reasons: dict[SliceKey, str]) -> str:
    """What is not saved and why, for the annotator; the same reason only once."""
    indices: dict[str, list[int]] = {}
    for key, reason in reasons.items():
        indices.setdefault(reason, []).append(key.index)
    return "\n".join(
        f"{'Slice' if len(found) == 1 else 'Slices'} {', '.join(map(str, found))}: {reason}"
        for reason, found in indices.items()
    )


def slices_in_words(count: int) -> str:
    """1 slice, 2 slices."""
    return "1 slice" if count == 1 else f"{count} slices"

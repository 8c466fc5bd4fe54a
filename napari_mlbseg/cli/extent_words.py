"""Extents of a study in words, from the documents of `napari_mlbseg.cli.extents`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

Document = Mapping[str, Any]

_ENDS: Final = ("first", "last")
_NAMES_SHOWN: Final = 5


def in_words(case: Document) -> Iterable[str]:
    """What is marked in a case, what that certifies, and of which ends nothing is known."""
    for one in case["extents"]:
        yield f"{case['case']}: {one['class']['name']} {_span(one)} along axis {one['axis']}"
    empty = len(case["certified_empty"]["slices"])
    if empty:
        yield f"{case['case']}: {empty} slices are certified empty"
    for end, verb in zip(_ENDS, ("begins", "ends"), strict=True):
        names = case["ends_unknown"][end]
        if names:
            yield f"{case['case']}: nothing says where {', '.join(names)} {verb}"


def ends_in_words(cases: Sequence[Document]) -> str:
    """How many ends are marked in a study, and in which cases nothing is known of one."""
    marks = [one for case in cases for one in case["extents"]]
    marked = sum(one[end] is not None for one in marks for end in _ENDS)
    unknown = [case["id"] for case in cases if any(case["ends_unknown"].values())]
    words = f"marked ends: {marked}"
    if unknown:
        more = len(unknown) - _NAMES_SHOWN
        names = ", ".join(unknown[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
        words += f"; nothing says where a class begins or ends in {names}"
    return words


def _span(one: Document) -> str:
    first, last = one["first"], one["last"]
    counts = one["with_clean_slices"]
    if first is None:
        words = f"ends at slice {last}"
    elif last is None:
        words = f"begins at slice {first}"
    else:
        words = f"from slice {first} to slice {last}"
    further = [str(counts[end]) for end in _ENDS if counts[end] != one[end]]
    return words + (f" (accepted slices show it up to {' and '.join(further)})" if further else "")

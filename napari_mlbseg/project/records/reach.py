"""How far somebody looked along each case, and what lies beyond, in words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.coverage import LookedAt

_UPRIGHT: Final = ("below", "above")
_ALONG: Final = ("before", "after")


@dataclass(frozen=True)
class Reach:
    """The first and the last slice of a case that were looked at, along its axis.

    Attributes
    ----------
    ends
        Their display indices; None if no slice was looked at.
    in_file
        Their indices in the file's array, in the same order.
    slices
        The number of slices of the case along its axis.
    """

    case_id: str
    axis: int
    slices: int
    ends: tuple[int, int] | None
    in_file: tuple[int, int] | None


def reach_of(case: Case, looked_at: NDArray[np.bool_]) -> Reach:
    """How far somebody looked along the axis of a case."""
    found = np.flatnonzero(looked_at).tolist()
    ends = (found[0], found[-1]) if found else None
    place = case.geometry.file_index
    in_file = (place(case.axis, ends[0]), place(case.axis, ends[1])) if ends else None
    return Reach(case.id, case.axis, len(looked_at), ends, in_file)


def reaches(cases: Iterable[Case], looked_at: LookedAt) -> tuple[Reach, ...]:
    """The same of every case."""
    return tuple(reach_of(case, looked_at[case.id]) for case in cases)


def beyond_in_words(found: Sequence[Reach], *, in_file: bool = False) -> str:
    """What nobody corrected: "nothing above slice 55 was corrected"; empty if there is nothing.

    Slices are counted along the display axis, or as in the file's array.

    >>> beyond_in_words([Reach("case_01", 0, 88, (35, 55), (35, 55))])
    'nothing below slice 35 or above slice 55 was corrected'
    """
    seen = [one for one in found if one.ends is not None]
    if found and not seen:
        return "nothing was corrected yet"
    below = [one for one in seen if one.ends and one.ends[0] > 0]
    above = [one for one in seen if one.ends and one.ends[1] < one.slices - 1]
    words = _UPRIGHT if all(one.axis == 0 for one in found) else _ALONG
    sides = [
        (f"{word} {_slices(concerned, side, in_file=in_file)}", concerned)
        for side, (word, concerned) in enumerate(zip(words, (below, above), strict=True))
        if concerned
    ]
    if len(sides) == 2 and below == above:
        sides = [(" or ".join(text for text, _ in sides), below)]
    said = [
        f"{_in_some(concerned, found)}nothing {text} was corrected" for text, concerned in sides
    ]
    if len(seen) < len(found):
        said.append(f"in {len(found) - len(seen)} of {len(found)} cases nothing was corrected")
    return "; ".join(said)


def _slices(concerned: Sequence[Reach], side: int, *, in_file: bool) -> str:
    """The last slices before the unknown: one number if it is the same in all cases."""
    both = (one.in_file if in_file else one.ends for one in concerned)
    places = sorted({ends[side] for ends in both if ends is not None})
    if len(places) == 1:
        return f"slice {places[0]}"
    return f"slices {places[0]} to {places[-1]} (depending on the case)"


def _in_some(concerned: Sequence[Reach], found: Sequence[Reach]) -> str:
    few = len(concerned) < len(found)
    return f"in {len(concerned)} of {len(found)} cases " if few else ""

"""Which cases a labelling takes before the next round of bootstrapping."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from napari_mlbseg.project.records.cases import Case

SLICES_A_ROUND = 1200
"""Slices that are labelled before a round, which looks at about as many of them."""
FEWEST_CASES = 2
"""Cases that are labelled before a round, however large they are."""


def longest_waiting(cases: Iterable[Case], labelled: Sequence[str]) -> list[Case]:
    """Those of the cases that have waited longest, with as many slices as a round looks at.

    `labelled` names the cases that were labelled before, the longest ago first; the others have
    waited for longer than these.
    """
    before = {name: place for place, name in enumerate(labelled)}
    waiting = sorted(cases, key=lambda case: before.get(case.id, -1))
    slices = list(accumulate(case.geometry.shape[case.axis] for case in waiting))
    return waiting[: max(FEWEST_CASES, bisect_left(slices, SLICES_A_ROUND) + 1)]

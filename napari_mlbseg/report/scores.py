"""How the machine's labels agree with the slices that a person accepted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.project.records.slices import SliceKey

Counts = Mapping[int, tuple[int, int]]
"""By class value: pixels that both show, and pixels of either, together."""


@dataclass(frozen=True)
class SliceScore:
    """One accepted slice: its agreement with the machine's labels, class by class."""

    key: SliceKey
    counts: Counts

    @property
    def dice(self) -> float:
        """Mean over the classes that either shows; there is at least one."""
        return fmean(2 * shared / marked for shared, marked in self.counts.values())


@dataclass(frozen=True)
class Estimate:
    """Dice over several slices, of which pixels are pooled.

    Attributes
    ----------
    dice
        Mean over the classes.
    of_class
        By class value.
    uncertainty
        Standard error of the mean over the slices; None for a single one.
    slices
        How many slices.
    """

    dice: float
    of_class: Mapping[int, float]
    uncertainty: float | None
    slices: int


def counts_of(found: NDArray[np.uint8], accepted: NDArray[np.uint8]) -> Counts:
    """The agreement of two slices (rows, columns) in every class that one of them shows.

    >>> counts_of(np.array([[1, 1, 0]], np.uint8), np.array([[1, 0, 2]], np.uint8))
    {1: (1, 3), 2: (0, 1)}
    """
    shared = np.bincount(found[found == accepted], minlength=256)
    marked = np.bincount(np.concatenate([found.ravel(), accepted.ravel()]), minlength=256)
    return {v: (int(shared[v]), int(marked[v])) for v in np.flatnonzero(marked).tolist() if v}


def estimate_of(scores: Sequence[SliceScore]) -> Estimate | None:
    """Dice over slices; None without any."""
    if not scores:
        return None
    pooled: dict[int, tuple[int, int]] = {}
    for score in scores:
        for value, (shared, marked) in score.counts.items():
            before = pooled.get(value, (0, 0))
            pooled[value] = before[0] + shared, before[1] + marked
    of_class = {value: 2 * shared / marked for value, (shared, marked) in sorted(pooled.items())}
    each = [score.dice for score in scores]
    error = stdev(each) / sqrt(len(each)) if len(each) > 1 else None
    return Estimate(fmean(of_class.values()), of_class, error, len(scores))


def best_median_worst(scores: Sequence[SliceScore]) -> dict[str, SliceScore]:
    """Three slices, or fewer where there are fewer, by what they are."""
    ranked = sorted(scores, key=lambda score: (-score.dice, score.key))
    if not ranked:
        return {}
    places = {"best": 0, "median": len(ranked) // 2, "worst": len(ranked) - 1}
    chosen: dict[int, str] = {}
    for name, place in places.items():
        chosen.setdefault(place, name)
    return {name: ranked[place] for place, name in chosen.items()}

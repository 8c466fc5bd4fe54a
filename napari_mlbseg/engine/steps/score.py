"""Scores of predictions on clean slices: Dice, and comparisons of two models."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

import torch
from jaxtyping import Float, Int
from scipy.stats import t as student_t
from torch import Tensor

from napari_mlbseg.project.records.slices import SliceKey

SURE = 0.95
"""Confidence of the test: a model that is not worse is taken for worse once in twenty times."""
COLLAPSED = 0.5
TOO_SMALL = 0.005
"""A difference in Dice that nobody sees."""


@dataclass(frozen=True)
class Agreement:
    """How labels agree with the truth, counted in pixels, over one slice or several.

    Pixels are pooled, so that slices that hardly show a class do not decide its score.

    Attributes
    ----------
    shared
        Pixels of each class in labels and truth alike.
    marked
        Pixels of each class in the labels, and those in the truth, together.
    """

    shared: Float[Tensor, "classes"]
    marked: Float[Tensor, "classes"]

    def dice(self) -> dict[int, float]:
        """Dice of each foreground class index; classes in neither labels nor truth are left out."""
        seen = [c for c in range(1, len(self.marked)) if self.marked[c] > 0]
        return {c: float(2 * self.shared[c] / self.marked[c]) for c in seen}


def agreement(labels: Int[Tensor, "y x"], truth: Int[Tensor, "y x"], *, classes: int) -> Agreement:
    """How the labels of a slice agree with the truth."""

    def count(values: Tensor) -> Tensor:
        return torch.bincount(values.flatten(), minlength=classes).double().cpu()

    return Agreement(count(labels[labels == truth]), count(labels) + count(truth))


def pooled(agreements: Iterable[Agreement], *, classes: int) -> Agreement:
    """The agreement over all the slices together."""
    total = torch.zeros(2, classes, dtype=torch.float64)
    for each in agreements:
        total += torch.stack([each.shared, each.marked])
    return Agreement(*total)


def dice_per_class(
    pairs: Iterable[tuple[Int[Tensor, "y x"], Int[Tensor, "y x"]]], *, classes: int
) -> dict[int, float]:
    """Dice of each foreground class index over the pixels of all pairs of prediction and truth."""
    each = (agreement(predicted, truth, classes=classes) for predicted, truth in pairs)
    return pooled(each, classes=classes).dice()


def slice_dice(
    predicted: Int[Tensor, "y x"], truth: Int[Tensor, "y x"], *, classes: int
) -> float | None:
    """Mean Dice of a slice over the foreground classes in prediction or truth; None without any."""
    found = agreement(predicted, truth, classes=classes).dice()
    return fmean(found.values()) if found else None


def falls_behind(ours: Agreement, theirs: Agreement) -> bool:
    """Whether our mean Dice over the classes is smaller; a class that only one marks counts as 1.

    No significance test is applied: existing labels stay until something better comes.
    """
    a, b = ours.dice(), theirs.dice()
    differences = [a.get(c, 1.0) - b.get(c, 1.0) for c in {*a, *b}]
    return bool(differences) and fmean(differences) < -TOO_SMALL


@dataclass(frozen=True)
class Comparison:
    """How a model does on some slices, compared with another one.

    Attributes
    ----------
    uncertainty
        Standard error of the mean Dice over the slices; None for a single one.
    worse
        Whether it is worse than the other by more than the uncertainty of their difference.
    """

    uncertainty: float | None
    worse: bool


def compare(ours: Sequence[float], theirs: Sequence[float] | None) -> Comparison:
    """Compare the Dice of two models on the same slices, pair by pair.

    A model is worse by Student's one-sided paired test, which demands more the fewer slices there
    are, or if its mean Dice collapsed to less than half, which needs no test. A single slice, or
    none, proves nothing.
    """
    uncertainty = _standard_error(ours)
    if theirs is None or len(ours) < 2:
        return Comparison(uncertainty, worse=False)
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    error = _standard_error(differences)
    assert error is not None
    margin = float(student_t.ppf(SURE, df=len(ours) - 1)) * error
    fell = fmean(differences) < -max(margin, TOO_SMALL)
    collapsed = fmean(ours) < COLLAPSED * fmean(theirs)
    return Comparison(uncertainty, worse=fell or collapsed)


def paired(
    ours: Mapping[SliceKey, float | None], theirs: Mapping[SliceKey, float | None]
) -> list[tuple[float, float]]:
    """Pairs of Dice on the slices that both models were scored on.

    A slice that truth and labels leave empty has the Dice None: if the other model labels
    something there, None counts as 1; if both are None, the slice is left out.
    """
    common = [(ours[key], theirs[key]) for key in ours if key in theirs]
    return [
        (1.0 if a is None else a, 1.0 if b is None else b)
        for a, b in common
        if a is not None or b is not None
    ]


def _standard_error(values: Sequence[float]) -> float | None:
    return stdev(values) / sqrt(len(values)) if len(values) > 1 else None

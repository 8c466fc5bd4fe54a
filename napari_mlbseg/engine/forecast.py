"""How many more clean slices a Dice is likely to take, judged by how it has grown so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.engine.wording import FEWEST_TO_TELL
from napari_mlbseg.project.study import Study

VALIDATION_DICE: Final = "validation dice"
DICE_ERROR: Final = "validation dice error"
VALIDATION_SLICES: Final = "validation slices"
TRAINING_SLICES: Final = "training slices"
BESIDE_DICE: Final = frozenset({DICE_ERROR, VALIDATION_SLICES, TRAINING_SLICES})
"""Metrics of a run that say under which conditions a validation Dice was measured."""

_FEWEST_POINTS: Final = 3
_LEAST_SPREAD: Final = 2.0
_FURTHEST: Final = 10
_Z: Final = 1.96
_LEAST_ERROR: Final = 1e-3


@dataclass(frozen=True)
class Measured:
    """A validation Dice with its standard error, and on how many training slices it rests."""

    training_slices: int
    dice: float
    error: float


@dataclass(frozen=True)
class Forecast:
    """How many training slices in all a Dice is likely to take (95 %).

    An end is None if it is not within ten times the slices of today.
    """

    low: int | None
    high: int | None


def measured(study: Study) -> tuple[Measured, ...]:
    """The last Dice of all runs at each number of training slices, fewest slices first.

    Scores on too few validation slices to tell are left out.
    """
    found: dict[int, Measured] = {}
    for run in study.runs.all():
        metrics = {name: dict(study.runs.metrics(run.id, name)) for name in BESIDE_DICE}
        for step, dice in study.runs.metrics(run.id, VALIDATION_DICE):
            error = metrics[DICE_ERROR].get(step, np.nan)
            validation = metrics[VALIDATION_SLICES].get(step, 0)
            if np.isfinite(dice + error) and validation >= FEWEST_TO_TELL:
                count = int(metrics[TRAINING_SLICES][step])
                found[count] = Measured(count, dice, error)
    return tuple(found[count] for count in sorted(found))


def forecast(points: Sequence[Measured], target: float) -> Forecast | None:
    """Continue the growth of the Dice until it reaches a target; None if that cannot be told.

    ``1 - Dice`` is taken to fall as a power of the number of training slices (Figueroa et al.,
    BMC Medical Informatics and Decision Making 2012, 12:8), fitted by weighted least squares to its
    logarithm. The ends are where the bounds of the fitted curve reach the target; scatter beyond
    the standard errors widens them. It takes three points, the last at twice the slices of the
    first.

    >>> forecast([Measured(n, 1 - n**-0.5, 0.005) for n in (10, 20, 40)], target=0.9)
    Forecast(low=85, high=123)
    """
    if len(points) < _FEWEST_POINTS:
        return None
    first, last = points[0].training_slices, points[-1].training_slices
    if last < _LEAST_SPREAD * first:
        return None
    lacking = np.maximum([1 - one.dice for one in points], _LEAST_ERROR)
    weights = (lacking / np.maximum([one.error for one in points], _LEAST_ERROR)) ** 2
    known = np.vander(np.log([one.training_slices for one in points]), 2)
    covariance = np.linalg.inv((known.T * weights) @ known)
    fit = covariance @ (known.T * weights) @ np.log(lacking)
    scatter = weights @ (np.log(lacking) - known @ fit) ** 2 / (len(points) - 2)
    counts = np.arange(last + 1, _FURTHEST * last + 1)
    ahead = np.vander(np.log(counts), 2)
    half = _Z * np.sqrt(max(1.0, scatter) * np.einsum("ni,ij,nj->n", ahead, covariance, ahead))
    wanted = np.log(max(1 - target, _LEAST_ERROR))
    low, high = (_first(counts, ahead @ fit + side * half <= wanted) for side in (-1, 1))
    return Forecast(low, high)


def forecast_in_words(points: Sequence[Measured], target: float) -> str:
    """Say how many more slices a target Dice is likely to take.

    >>> forecast_in_words([Measured(n, 1 - n**-0.5, 0.005) for n in (10, 20, 40)], target=0.9)
    'likely after 45 to 83 more slices'
    >>> forecast_in_words([], target=0.9)
    'too few scores to tell yet'
    """
    if points and points[-1].dice >= target:
        return "reached on the validation slices"
    found = forecast(points, target)
    if found is None:
        return "too few scores to tell yet"
    now = points[-1].training_slices
    if found.low is None:
        return f"not with {_FURTHEST * now} slices, if it grows on as it has"
    if found.high is None:
        return f"{found.low - now} more slices at least; how many cannot be told"
    return f"likely after {found.low - now} to {found.high - now} more slices"


def _first(counts: NDArray[np.int_], reached: NDArray[np.bool_]) -> int | None:
    return int(counts[np.argmax(reached)]) if reached.any() else None

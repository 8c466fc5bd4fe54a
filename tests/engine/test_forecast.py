"""How many slices a Dice takes: told where the scores say it, and with bounds that hold."""

from pathlib import Path

import numpy as np
import pytest

from napari_mlbseg.engine.forecast import (
    DICE_ERROR,
    TRAINING_SLICES,
    VALIDATION_DICE,
    VALIDATION_SLICES,
    Measured,
    forecast,
    forecast_in_words,
    measured,
)
from napari_mlbseg.project.study import Study

ERROR = 0.01


def growing(
    counts: list[int], *, power: float, rng: np.random.Generator | None = None
) -> list[Measured]:
    noise = np.zeros(len(counts)) if rng is None else rng.normal(0, ERROR, len(counts))
    return [Measured(n, 1 - n**-power + off, ERROR) for n, off in zip(counts, noise, strict=True)]


def test_the_bounds_hold_what_is_true_nineteen_times_in_twenty() -> None:
    held = told = tries = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        power = rng.uniform(0.3, 0.7)
        counts = sorted(rng.choice(np.arange(10, 80), 5, replace=False).tolist())
        if counts[-1] < 2 * counts[0]:
            continue
        true = counts[-1] * rng.uniform(1.5, 5)
        found = forecast(growing(counts, power=power, rng=rng), 1 - true**-power)
        assert found is not None
        tries += 1
        told += found.low is not None and found.high is not None
        held += found.low is not None and found.low <= true + 1 <= (found.high or np.inf) + 2
    assert 0.9 < held / tries < 1
    assert told / tries > 0.3  # bounds that say nothing would hold, too


def test_a_dice_that_does_not_grow_promises_nothing() -> None:
    flat = [Measured(n, 0.8, 0.002) for n in (10, 20, 40, 80)]
    assert forecast_in_words(flat, 0.9) == "not with 800 slices, if it grows on as it has"
    uncertain = [Measured(n, 0.8, 0.05) for n in (10, 20, 40)]
    assert forecast_in_words(uncertain, 0.85).endswith("at least; how many cannot be told")


@pytest.mark.parametrize("counts", [[], [20], [20, 40], [20, 25, 39]])
def test_too_few_or_too_similar_numbers_of_slices_tell_nothing(counts: list[int]) -> None:
    points = growing(counts, power=0.5)
    assert forecast(points, 0.95) is None
    assert forecast_in_words(points, 0.95) == "too few scores to tell yet"


def test_a_target_that_is_reached_is_told_however_few_scores_there_are() -> None:
    assert forecast_in_words([Measured(12, 0.91, ERROR)], 0.9) == "reached on the validation slices"


def test_scores_are_those_of_the_newest_run_on_enough_slices(tmp_path: Path) -> None:
    with Study.create(tmp_path / "a.mlbseg") as study:
        rows = [
            # of run, step, Dice, its error, validation slices, training slices
            (1, 25, 0.6, 0.03, 12, 16),
            (1, 50, 0.65, 0.02, 12, 16),
            (1, 75, 0.7, 0.02, 9, 24),
            (2, 25, 0.5, np.nan, 12, 8),
            (2, 50, 0.71, 0.02, 10, 24),
        ]
        runs = {number: study.runs.start({}, seed=0, device="cpu") for number in (1, 2)}
        names = (VALIDATION_DICE, DICE_ERROR, VALIDATION_SLICES, TRAINING_SLICES)
        for run, step, *values in rows:
            study.runs.log(runs[run], step, dict(zip(names, values, strict=True)))
        study.runs.log(runs[2], 75, {VALIDATION_DICE: 0.9})  # as earlier versions did
        assert measured(study) == (Measured(16, 0.65, 0.02), Measured(24, 0.71, 0.02))

"""Dice, and what it says of two ways of labelling the same slices."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import compute_dice

from napari_mlbseg.engine.nets.labels import one_hot
from napari_mlbseg.engine.steps.score import (
    Agreement,
    dice_per_class,
    falls_behind,
    paired,
    pooled,
    slice_dice,
)
from napari_mlbseg.project.records.slices import SliceKey

CLASSES = 3
slices = arrays(np.int64, (5, 7), elements=st.integers(0, CLASSES - 1))


@given(slices, slices)
def test_the_dice_of_a_slice_is_that_of_monai(labels: np.ndarray, truth: np.ndarray) -> None:
    ours, theirs = (
        one_hot(torch.from_numpy(a)[None], classes=CLASSES, dtype=torch.float64)
        for a in (labels, truth)
    )
    each = compute_dice(ours, theirs, include_background=False, ignore_empty=False)[0]
    shown = [bool((labels == c).any() or (truth == c).any()) for c in (1, 2)]
    expected = float(each[shown].mean()) if any(shown) else None
    found = slice_dice(torch.from_numpy(labels), torch.from_numpy(truth), classes=CLASSES)
    assert found == (None if expected is None else pytest.approx(expected))


@given(st.lists(st.tuples(slices, slices), max_size=4))
def test_the_dice_of_slices_is_that_of_all_their_pixels(
    pairs: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    tensors = [(torch.from_numpy(a), torch.from_numpy(b)) for a, b in pairs]
    together = [torch.cat(side) for side in zip(*tensors, strict=True)]
    whole = [(together[0], together[1])] if together else []
    assert dice_per_class(tensors, classes=CLASSES) == dice_per_class(whole, classes=CLASSES)


def agreeing(dice: float, pixels: int = 100) -> Agreement:
    """Labels of one class, as many as in the truth, with this Dice."""
    return Agreement(torch.tensor([0.0, dice * pixels]), torch.tensor([0.0, 2.0 * pixels]))


def nothing() -> Agreement:
    return Agreement(torch.zeros(2), torch.zeros(2))


def test_a_network_falls_behind_on_the_mean_and_no_test_is_asked() -> None:
    assert falls_behind(agreeing(0.85), agreeing(0.86))
    assert not falls_behind(agreeing(0.86), agreeing(0.86))
    assert not falls_behind(agreeing(0.858), agreeing(0.86))
    assert not falls_behind(agreeing(0.5), agreeing(0.4))
    assert not falls_behind(nothing(), nothing())


def test_a_network_that_fills_what_truth_and_labels_leave_empty_falls_behind() -> None:
    assert falls_behind(agreeing(0.0), nothing())
    assert not falls_behind(nothing(), agreeing(0.0))


def test_small_slices_weigh_as_much_as_they_show() -> None:
    ours = pooled([agreeing(0.9, 1000), agreeing(0.0, 10)], classes=2)
    theirs = pooled([agreeing(0.8, 1000), agreeing(1.0, 10)], classes=2)
    assert not falls_behind(ours, theirs)
    assert falls_behind(theirs, ours)


def test_an_empty_slice_that_a_network_fills_counts_against_it() -> None:
    at = [SliceKey("a", 0, i) for i in range(4)]
    ours = dict(zip(at, [0.9, 0.0, None, None], strict=True))
    theirs = dict(zip(at[:3], [0.8, None, None], strict=True))
    assert paired(ours, theirs) == [(0.9, 0.8), (0.0, 1.0)]

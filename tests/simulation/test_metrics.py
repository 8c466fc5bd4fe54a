"""Scores against a slow reference and against what is known of simple shapes."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import cdist

from napari_mlbseg.simulation.metrics import Scores, dice, largest_piece, mean_scores, score

SPACING = (3.0, 1.0, 0.5)
SHAPE = (14, 20, 24)


def block(z: int = 4, y: int = 6, x: int = 6) -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[z : z + 5, y : y + 8, x : x + 10] = True
    return mask


def surface_mm(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    places: NDArray[Any] = np.argwhere(mask & ~ndimage.binary_erosion(mask)) * np.array(SPACING)
    return places


def test_same_masks_are_perfect_also_at_the_end_of_the_volume() -> None:
    edge = np.zeros(SHAPE, dtype=bool)
    edge[:3, :, :4] = True
    for mask in (block(), edge):
        assert score(mask, mask, SPACING) == Scores(1.0, 1.0, 0.0, 0.0, 0)


@pytest.mark.parametrize(("moved", "mm"), [((5, 6, 6), 3.0), ((4, 7, 6), 1.0), ((4, 6, 7), 0.5)])
def test_distances_are_in_mm_of_the_right_axis(moved: tuple[int, int, int], mm: float) -> None:
    found = score(block(*moved), block(), SPACING)
    assert found is not None
    assert found.hd95_mm == pytest.approx(mm)
    assert 0 < found.assd_mm < mm
    assert (found.surface_dice_1mm > 0.999) == (mm <= 1)


def test_distances_are_those_of_the_definition() -> None:
    generator = np.random.default_rng(0)
    blurred = (ndimage.gaussian_filter(generator.normal(size=SHAPE), 2) for _ in range(2))
    a, b = (noise > np.quantile(noise, 0.8) for noise in blurred)
    found = score(a, b, SPACING)
    apart = cdist(surface_mm(a), surface_mm(b))
    there, back = apart.min(axis=1), apart.min(axis=0)
    assert found is not None
    assert found.dice == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    assert found.assd_mm == pytest.approx(np.concatenate([there, back]).mean(), rel=1e-3)
    worst = max(np.percentile(there, 95), np.percentile(back, 95))
    assert found.hd95_mm == pytest.approx(worst, rel=1e-3)


def test_empty_predictions_are_failures_and_counted() -> None:
    nothing = np.zeros(SHAPE, dtype=bool)
    diagonal = float(np.sqrt(42**2 + 20**2 + 12**2))
    assert score(nothing, block(), SPACING) == Scores(0.0, 0.0, diagonal, diagonal, 1)
    assert score(block(), nothing, SPACING) == Scores(0.0, 0.0, diagonal, diagonal, 0)
    assert score(nothing, nothing, SPACING) is None


def test_means_leave_out_cases_without_the_class() -> None:
    one, two = Scores(1.0, 1.0, 0.0, 0.0, 0), Scores(0.0, 0.0, 10.0, 4.0, 1)
    assert mean_scores([one, None, two, two]) == Scores(1 / 3, 1 / 3, 20 / 3, 8 / 3, 2)
    assert mean_scores([None]) is None


def test_the_largest_piece_hangs_together_by_faces_edges_and_corners() -> None:
    mask = block()
    mask[9, 14, 16] = True  # touches the block at a corner only
    whole = mask.copy()
    mask[0, 0, 0:3] = True
    np.testing.assert_array_equal(largest_piece(mask), whole)
    np.testing.assert_array_equal(largest_piece(block()), block())
    assert not largest_piece(np.zeros(SHAPE, dtype=bool)).any()


def test_dice_is_unknown_where_nothing_is_shown() -> None:
    nothing = np.zeros(SHAPE, dtype=bool)
    assert dice(nothing, nothing) is None
    assert dice(nothing, block()) == 0
    assert dice(block(), block(y=10)) == pytest.approx(0.5)

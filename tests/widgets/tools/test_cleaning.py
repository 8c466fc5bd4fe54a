from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from napari_mlbseg.widgets.tools.cleaning import (
    fill_holes,
    grow,
    keep_largest,
    remove_islands,
    shrink,
    smooth,
)

pytestmark = pytest.mark.one_binding

Labels = NDArray[np.uint8]
SQUARE = (1.0, 1.0)
EVERY: dict[str, Callable[[Labels, int], Labels]] = {
    "grow": partial(grow, spacing_mm=SQUARE),
    "shrink": partial(shrink, spacing_mm=SQUARE),
    "smooth": partial(smooth, spacing_mm=SQUARE),
    "fill holes": fill_holes,
    "remove islands": partial(remove_islands, below=4.0, spacing_mm=SQUARE),
    "keep largest": keep_largest,
}
sides = st.tuples(st.integers(1, 9), st.integers(1, 9))
some_labels = arrays(np.uint8, sides, elements=st.sampled_from([0, 1, 4]))
LOSE = ("shrink", "remove islands", "keep largest")
GAIN = ("grow", "fill holes")


def disc(radius: float, shape: tuple[int, int] = (60, 50), value: int = 1) -> Labels:
    y, x = np.ogrid[: shape[0], : shape[1]]
    inside = (y - shape[0] // 2) ** 2 + (x - shape[1] // 2) ** 2 <= radius**2
    return np.where(inside, value, 0).astype(np.uint8)


@pytest.mark.parametrize("name", EVERY)
@given(labels=some_labels)
def test_no_class_comes_from_nowhere_and_the_slice_given_stays(name: str, labels: Labels) -> None:
    before = labels.copy()
    found = EVERY[name](labels, 4)
    assert np.array_equal(labels, before)
    assert found.shape == labels.shape
    assert found.dtype == np.uint8
    assert set(np.unique(found)) <= {0, *np.unique(labels)}
    if not (labels == 4).any():
        assert np.array_equal(found, labels)
    changed = found != labels
    assert name not in LOSE or (labels[changed] == 4).all()
    assert name not in GAIN or (found[changed] == 4).all()


@given(labels=some_labels)
def test_what_grows_takes_background_alone(labels: Labels) -> None:
    changed = grow(labels, 1, SQUARE) != labels
    touching = ndimage.binary_dilation(labels == 1)
    assert np.array_equal(changed, touching & (labels == 0))


def test_shrinking_and_growing_move_the_border_by_one_pixel_of_the_longer_side() -> None:
    labels = disc(14)
    for change, sign in ((grow, 1), (shrink, -1)):
        radius = np.sqrt((change(labels, 1, SQUARE) == 1).sum() / np.pi)
        assert radius == pytest.approx(14 + sign, abs=0.35)
    block = np.zeros((20, 40), np.uint8)
    block[8:12, 10:30] = 3
    rows, columns = np.nonzero(grow(block, 3, (3.0, 1.0)))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (7, 12, 7, 32)


def test_what_a_structure_inside_another_loses_goes_to_the_other() -> None:
    labels = np.maximum(disc(20), disc(8, value=7))
    smaller = shrink(labels, 7, SQUARE)
    assert (smaller == 7).sum() < (labels == 7).sum()
    assert np.array_equal(smaller != 0, labels != 0)


def test_a_class_that_fills_the_slice_cannot_shrink() -> None:
    full = np.full((5, 5), 2, np.uint8)
    assert np.array_equal(shrink(full, 2, SQUARE), full)


def test_smoothing_keeps_straight_borders_and_removes_specks_and_gaps() -> None:
    half = np.zeros((30, 30), np.uint8)
    half[:, 15:] = 1
    assert np.array_equal(smooth(half, 1, SQUARE), half)
    rough = half.copy()
    rough[5, 4], rough[20, 22], rough[10, 14] = 1, 0, 1
    assert np.array_equal(smooth(rough, 1, SQUARE), half)
    ragged = disc(15)
    noise = np.random.default_rng(0).random(ragged.shape) < 0.15
    ragged[noise & (ndimage.binary_dilation(ragged) != ndimage.binary_erosion(ragged))] ^= 1
    smoothed = smooth(ragged, 1, SQUARE)
    assert border(smoothed) <= border(disc(15)) < border(ragged)
    assert np.count_nonzero(smoothed) == pytest.approx(np.count_nonzero(disc(15)), rel=0.01)


def border(labels: Labels) -> int:
    return sum(int(np.count_nonzero(np.diff(labels, axis=axis))) for axis in (0, 1))


def test_a_hole_belongs_to_the_innermost_class_around_it() -> None:
    labels = disc(20)
    labels[disc(12) > 0] = 2
    labels[disc(5) > 0] = 0
    labels[30, 10] = 0  # in the outer class
    outer, inner = fill_holes(labels, 1), fill_holes(labels, 2)
    assert np.argwhere(outer != labels).tolist() == [[30, 10]]
    assert np.array_equal(inner != labels, disc(5) > 0)
    assert set(inner[disc(5) > 0]) == {2}


def test_what_is_open_to_the_rim_is_no_hole() -> None:
    labels = np.ones((10, 10), np.uint8)
    labels[0, 4] = labels[1, 4] = 0
    labels[5, 5] = labels[6, 6] = 0  # background hangs together by its sides alone
    changed = np.argwhere(fill_holes(labels, 1) != labels)
    assert changed.tolist() == [[5, 5], [6, 6]]


def test_islands_go_by_their_area_and_the_largest_piece_stays() -> None:
    labels = disc(8)
    labels[2:5, 2:5] = 1  # 9 pixels
    labels[5, 5] = 1  # touches them by a corner
    labels[50:53, 40:45] = 1  # 15 pixels
    spacing = (0.5, 2.0)
    assert (labels != remove_islands(labels, 1, 10.0, spacing)).sum() == 0
    assert (labels != remove_islands(labels, 1, 10.1, spacing)).sum() == 10
    only_largest = remove_islands(labels, 1, 1e9, spacing)
    assert np.array_equal(only_largest, disc(8))
    assert np.array_equal(only_largest, keep_largest(labels, 1))


@given(labels=some_labels)
def test_the_largest_piece_is_one_and_as_large_as_any(labels: Labels) -> None:
    kept = keep_largest(labels, 1) == 1
    pieces, count = ndimage.label(labels == 1, np.ones((3, 3)))
    sizes = np.bincount(pieces.ravel())[1:]
    assert kept.sum() == (sizes.max() if count else 0)
    assert ndimage.label(kept, np.ones((3, 3)))[1] == min(count, 1)

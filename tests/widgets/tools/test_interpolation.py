from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from napari_mlbseg.widgets.tools.interpolation import interpolated

pytestmark = pytest.mark.one_binding

Labels = NDArray[np.uint8]
SQUARE = (1.0, 1.0)
SHAPE = (80, 100)


def disc(y: float, x: float, radius: float, value: int = 1) -> Labels:
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    inside = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return np.where(inside, value, 0).astype(np.uint8)


def between(first: Labels, last: Labels, share: float = 0.5) -> Labels:
    (found,) = interpolated(first, last, [share], SQUARE)
    return found


def overlap(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(2 * ((a > 0) & (b > 0)).sum() / ((a > 0).sum() + (b > 0).sum()))


same_size = st.tuples(st.integers(1, 9), st.integers(1, 9))
some = same_size.flatmap(
    lambda shape: st.tuples(*[arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 4]))] * 2)
)


@given(pair=some, share=st.floats(0.01, 0.99))
def test_between_equal_shapes_lies_the_same_shape(
    pair: tuple[Labels, Labels], share: float
) -> None:
    labels, _ = pair
    assert np.array_equal(between(labels, labels.copy(), share), labels)


@given(pair=some)
def test_at_both_ends_lie_the_ends(pair: tuple[Labels, Labels]) -> None:
    first, last = pair
    for share, end in ((0.0, first), (1.0, last)):
        assert np.array_equal(between(first, last, share), end)


@given(pair=some, share=st.floats(0, 1))
def test_no_class_comes_from_nowhere(pair: tuple[Labels, Labels], share: float) -> None:
    first, last = pair
    before = first.copy(), last.copy()
    found = between(first, last, share)
    assert set(np.unique(found)) <= {0, *np.unique(first), *np.unique(last)}
    assert np.array_equal(first, before[0])
    assert np.array_equal(last, before[1])


@pytest.mark.parametrize("apart", [0, 10, 30, 60])
def test_between_shifted_discs_a_disc_lies_in_the_middle(apart: int) -> None:
    # far apart, too, where the discs do not overlap; and at the rim of the slice
    first, last = disc(40, 10, 9), disc(30, 10 + apart, 9)
    for share in (0.25, 0.5, 0.75):
        expected = disc(40 - 10 * share, 10 + apart * share, 9)
        assert overlap(between(first, last, share), expected) > 0.94


def test_the_size_changes_evenly() -> None:
    sizes = [
        np.sqrt((labels > 0).sum() / np.pi)
        for labels in interpolated(disc(40, 50, 10), disc(40, 50, 20), [0.25, 0.5, 0.75], SQUARE)
    ]
    assert sizes == pytest.approx([12.5, 15, 17.5], abs=0.4)


def test_a_class_that_ends_in_between_tapers_off_half_way() -> None:
    first, nothing = disc(40, 50, 12), np.zeros(SHAPE, np.uint8)
    shares = [0.1, 0.25, 0.45, 0.55, 0.9]
    sizes = [int((one > 0).sum()) for one in interpolated(first, nothing, shares, SQUARE)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] > 0
    assert sizes[3:] == [0, 0]
    backwards = [int((one > 0).sum()) for one in interpolated(nothing, first, shares, SQUARE)]
    assert backwards[:2] == [0, 0]
    assert backwards[4] > backwards[3] > 0


def test_pieces_that_are_several_stay_where_they_are() -> None:
    two = disc(40, 20, 8) | disc(40, 80, 8)
    one = disc(40, 80, 8)
    found = between(two, one, 0.3)
    assert overlap(found[:, 50:], one[:, 50:]) == 1  # the other does not pull it along
    assert 0 < (found[:, :50] > 0).sum() < (two[:, :50] > 0).sum()


@pytest.mark.parametrize(("x", "radius"), [(50, 10), (62, 12), (68, 7)])
def test_no_gap_opens_where_a_structure_inside_another_ends(x: int, radius: int) -> None:
    organ = disc(40, 50, 25)
    cored = np.where((disc(40, x, radius) > 0) & (organ > 0), 7, organ).astype(np.uint8)
    for share in (0.2, 0.4, 0.6, 0.8):
        found = between(cored, organ, share)
        assert np.array_equal(found > 0, organ > 0)
        assert (found == 7).any() or share > 0.2
        assert not (found == 7).any() or share < 0.7


def test_classes_that_move_apart_move_on_their_own() -> None:
    first = np.maximum(disc(40, 20, 8, 1), disc(40, 60, 8, 7))
    last = np.maximum(disc(20, 20, 8, 1), disc(60, 60, 8, 7))
    expected = np.maximum(disc(30, 20, 8, 1), disc(50, 60, 8, 7))
    found = between(first, last)
    for value in (1, 7):
        assert overlap(found == value, expected == value) > 0.94


def test_nothing_lies_between_nothing() -> None:
    nothing = np.zeros(SHAPE, np.uint8)
    assert not between(nothing, nothing).any()

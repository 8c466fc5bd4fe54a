"""Answers from strokes: what is painted stays, and only what lies around it changes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from napari_mlbseg.widgets.tools.answer import REACH_MM, answered

pytestmark = pytest.mark.one_binding

Labels = NDArray[np.uint8]
SIDE = 1.0, 1.0
SHAPE = 60, 64


def disc(y: float, x: float, radius: float, value: int = 1) -> Labels:
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    inside = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return np.where(inside, value, 0).astype(np.uint8)


def looks(labels: Labels, seed: int = 0) -> NDArray[np.float64]:
    """An image in which classes differ, with noise."""
    return 100.0 * labels + np.random.default_rng(seed).normal(0, 5, SHAPE)


def dice(a: Labels, b: Labels) -> float:
    return 2 * float(((a == 1) & (b == 1)).sum()) / float((a == 1).sum() + (b == 1).sum())


@st.composite
def painted(draw: st.DrawFn) -> tuple[Labels, Labels, Labels, NDArray[np.float64]]:
    """Labels of two classes before and after some dabs, other labels, and an image."""
    places = st.tuples(st.integers(0, SHAPE[0] - 1), st.integers(0, SHAPE[1] - 1))
    before = disc(*draw(places), draw(st.integers(0, 20)))
    before = np.maximum(before, disc(*draw(places), draw(st.integers(0, 12)), value=2))
    shown = before.copy()
    for place in draw(st.lists(places, max_size=4)):
        shown[disc(*place, draw(st.integers(0, 4))) > 0] = draw(st.integers(0, 2))
    other = disc(*draw(places), draw(st.integers(0, 20)))
    return before, shown, other, looks(before, draw(st.integers(0, 9)))


@given(painted())
def test_strokes_stay_and_what_changes_hangs_on_to_one_of_its_class_nearby(
    case: tuple[Labels, Labels, Labels, NDArray[np.float64]],
) -> None:
    before, shown, other, image = case
    result = answered(before, shown, image, SIDE, [other])
    strokes = before != shown
    assert np.array_equal(result[strokes], shown[strokes])
    changed = result != shown
    assert set(result[changed]) <= set(shown[strokes])
    if not strokes.any():
        assert not changed.any()
        return
    assert (ndimage.distance_transform_edt(~strokes)[changed] <= REACH_MM).all()
    for value in np.unique(result[changed]):
        parts, count = ndimage.label(
            changed & (result == value) | strokes & (shown == value), EIGHT
        )
        held = np.unique(parts[strokes & (shown == value)])
        assert len(held) == count
    assert np.array_equal(result, answered(before, shown, image, SIDE, [other]))


EIGHT = np.ones((3, 3))


def test_background_painted_in_what_reaches_too_far_takes_all_out_to_the_background() -> None:
    true, before = disc(30, 30, 12), disc(30, 30, 18)
    shown = before.copy()
    shown[28:33, 44:47] = 0  # a short stroke in the rim that is too much
    result = answered(before, shown, looks(true), SIDE)
    assert (result[28:33, 44:50] == 0).all()
    assert np.array_equal(result[:, :40], before[:, :40])
    assert dice(result, true) > dice(shown, true)


def test_what_is_missing_is_filled_up_to_what_is_there() -> None:
    true, before = disc(30, 30, 16), disc(30, 30, 10)
    shown = before.copy()
    shown[29:32, 43:45] = 1
    result = answered(before, shown, looks(true), SIDE)
    assert (result[29:32, 40:45] == 1).all()
    assert dice(result, true) > dice(shown, true)


def test_edges_of_the_image_hold_a_stroke_back() -> None:
    before = disc(30, 20, 8)
    shown = before.copy()
    shown[25:36, 36:38] = 1
    beyond = np.s_[:, 39:]
    edge = np.tile(np.where(np.arange(SHAPE[1]) > 38, 100.0, 0.0), (SHAPE[0], 1))
    assert (answered(before, shown, np.zeros(SHAPE), SIDE)[beyond] == 1).sum() > 10
    assert (answered(before, shown, edge, SIDE)[beyond] == 1).sum() == 0


def test_a_stroke_goes_further_where_other_labels_bear_it_out() -> None:
    before = disc(30, 20, 8)
    shown = before.copy()
    shown[28:33, 34:36] = 1
    image = np.random.default_rng(0).normal(0, 5, SHAPE)
    alone = answered(before, shown, image, SIDE)
    borne_out = answered(before, shown, image, SIDE, [0 * before, disc(30, 30, 20)])
    assert ((borne_out == 1) | (alone == 0)).all()
    assert (borne_out == 1).sum() > 1.2 * (alone == 1).sum()


def test_a_new_structure_far_from_its_class_at_most_doubles_around_its_stroke() -> None:
    before = disc(8, 8, 5)
    shown = before.copy()
    dab = disc(45, 45, 3)
    shown[dab > 0] = 1
    result = answered(before, shown, np.zeros(SHAPE), SIDE)
    assert (result == 1).sum() > (shown == 1).sum()
    assert ((result == 1) <= ((disc(45, 45, 6) == 1) | (before == 1))).all()


def test_classes_without_a_stroke_lose_only_what_strokes_claim() -> None:
    before = np.maximum(disc(30, 20, 10), disc(30, 42, 10, value=2))
    shown = before.copy()
    shown[25:36, 34:37] = 1
    result = answered(before, shown, looks(before), SIDE)
    changed = result != shown
    assert changed.any()
    assert set(result[changed]) == {1}
    assert ((result == 2) <= (before == 2)).all()


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_reach_is_counted_in_millimetres(factor: float) -> None:
    before = np.zeros(SHAPE, np.uint8)
    before[:, :3] = 1
    shown = before.copy()
    shown[30, 20:50] = 1
    image = np.zeros(SHAPE)
    everywhere = np.ones(SHAPE, np.uint8)
    result = answered(before, shown, image, (factor, factor), [everywhere])
    rows, _ = np.nonzero(result[:, 20:50])
    assert factor * np.abs(rows - 30).max() <= REACH_MM

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from napari_mlbseg.project.records.masks import plane
from napari_mlbseg.widgets.tools.whole_volume import CLEANINGS, Cleaned, Fixed, cleaned

pytestmark = pytest.mark.one_binding

Labels = NDArray[np.uint8]
NOTHING = Fixed((), (), {})
CUBE = (1.0, 1.0, 1.0)
sides = st.tuples(*[st.integers(1, 7)] * 3)
some_labels = arrays(np.uint8, sides, elements=st.sampled_from([0, 1, 4]))


def clean_up(name: str, labels: Labels, fixed: Fixed = NOTHING, **other: Any) -> Cleaned:
    how: dict[str, Any] = {"axis": 0, "spacing_mm": CUBE, "islands_below_mm3": 4.0}
    return cleaned(labels, 1, CLEANINGS[name].change, fixed=fixed, **(how | other))


def applied(labels: Labels, found: Cleaned, axis: int = 0) -> Labels:
    after = labels.copy()
    for index, changed in found.slices.items():
        after[plane(axis, index)] = changed
    return after


def ball(radius: float, size: int = 41) -> Labels:
    away = np.indices((size,) * 3) - size // 2
    return np.where((away**2).sum(0) <= radius**2, 1, 0).astype(np.uint8)


@pytest.mark.parametrize("name", CLEANINGS)
@given(labels=some_labels, axis=st.integers(0, 2))
def test_only_slices_that_change_are_returned_and_the_box_cuts_nothing_off(
    name: str, labels: Labels, axis: int
) -> None:
    before = labels.copy()
    found = clean_up(name, labels, axis=axis)
    whole = CLEANINGS[name].change(labels, 1, CUBE, 1.0, 4.0) if (labels == 1).any() else before
    assert np.array_equal(labels, before)
    assert np.array_equal(applied(labels, found, axis), whole)
    assert found.changed == (whole != labels).sum()
    for index, changed in found.slices.items():
        assert not np.array_equal(changed, labels[plane(axis, index)])


@given(labels=some_labels, index=st.integers(0, 6), axis=st.integers(0, 2))
def test_a_person_s_slices_and_locked_classes_stay(labels: Labels, index: int, axis: int) -> None:
    index %= labels.shape[axis]
    fixed = Fixed(((axis, index),), (4,), {})
    for name in CLEANINGS:
        after = applied(labels, clean_up(name, labels, fixed))
        assert np.array_equal(after[plane(axis, index)], labels[plane(axis, index)])
        assert np.array_equal(after[labels == 4], labels[labels == 4])
        stayed = clean_up(name, labels).changed - clean_up(name, labels, fixed).changed
        assert clean_up(name, labels, fixed).stayed == stayed


def test_no_class_grows_into_slices_that_are_certified_not_to_show_it() -> None:
    outside = np.zeros(41, np.bool_)
    outside[:10] = True
    found = clean_up("grow", ball(10), Fixed((), (), {0: {1: outside}}))
    assert min(found.slices) == 10


def test_a_border_moves_by_a_pixel_of_the_slices_whatever_their_thickness() -> None:
    for name, sign in (("grow", 1), ("shrink", -1)):
        after = applied(ball(14), clean_up(name, ball(14)))
        radius = (3 * int((after == 1).sum()) / (4 * np.pi)) ** (1 / 3)
        assert radius == pytest.approx(14 + sign, abs=0.3)
    thick = applied(ball(14), clean_up("grow", ball(14), spacing_mm=(5.0, 1.0, 1.0)))
    in_plane = [ndimage.binary_dilation(one) for one in ball(14)]
    assert np.array_equal(thick == 1, in_plane)


def test_holes_and_pieces_are_those_of_the_volume_and_not_of_its_slices() -> None:
    labels = ball(14)
    labels[20, 20, 20] = 0  # a hole
    labels[:, 20, 26] = 0  # a channel, which looks like one on slices
    labels[0, :2, :2] = 1  # a piece of 4 mm³
    assert clean_up("fill_holes", labels).changed == 1
    assert clean_up("remove_islands", labels).changed == 0
    assert clean_up("remove_islands", labels, islands_below_mm3=4.1).changed == 4
    assert list(clean_up("keep_largest", labels).slices) == [0]


def test_smoothing_takes_specks_away_in_all_directions() -> None:
    labels = ball(14)
    labels[2, 20, 20] = 1
    labels[20, 20, 20] = 0
    found = clean_up("smooth", labels)
    assert not found.slices[2].any()
    assert found.slices[20][20, 20] == 1


def test_a_class_that_is_not_there_changes_nothing() -> None:
    for name in CLEANINGS:
        assert clean_up(name, np.full((3, 4, 5), 4, np.uint8)) == Cleaned({}, 0, 0)

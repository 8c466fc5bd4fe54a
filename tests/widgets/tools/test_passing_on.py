"""Corrections passed on to slices that look alike, and not beyond."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from napari_mlbseg.widgets.tools.passing_on import passed_on

pytestmark = pytest.mark.one_binding

Labels = NDArray[np.uint8]
SHAPE = 50, 50
ALL = np.ones(SHAPE, np.bool_)


def square(first: int, last: int) -> Labels:
    labels = np.zeros(SHAPE, np.uint8)
    labels[first:last, first:last] = 1
    return labels


BEFORE, AFTER = square(15, 35), square(15, 35)
AFTER[20:30, 35:41] = 1
IMAGE = 100.0 * AFTER


def passed(*following: Any) -> list[Labels]:
    return list(passed_on(BEFORE, AFTER, IMAGE, following))


def test_slices_that_look_alike_take_the_correction_as_far_as_it_was_made() -> None:
    noise = np.random.default_rng(0).normal(0, 2, (3, *SHAPE))
    found = passed(*((BEFORE, IMAGE + one, ALL) for one in noise))
    assert len(found) == 3
    for labels in found:
        assert np.array_equal(labels, AFTER)


def test_it_ends_where_the_image_no_longer_agrees() -> None:
    found = passed((BEFORE, IMAGE, ALL), (BEFORE, 100.0 * BEFORE, ALL), (BEFORE, IMAGE, ALL))
    assert len(found) == 1


def test_it_ends_where_the_border_has_moved_on() -> None:
    assert len(passed((BEFORE, IMAGE, ALL), (square(21, 29), IMAGE, ALL))) == 1


def test_a_piece_that_agrees_is_passed_on_without_one_that_does_not() -> None:
    after = AFTER.copy()
    after[5:10, 5:10] = 1
    image = 100.0 * after
    elsewhere = image.copy()
    elsewhere[5:10, 5:10] = 0
    (found,) = passed_on(BEFORE, after, image, [(BEFORE, elsewhere, ALL)])
    assert np.array_equal(found, AFTER)


def test_pixels_that_may_not_change_stay() -> None:
    free = ALL.copy()
    free[20] = False
    (found,) = passed((BEFORE, IMAGE, free))
    assert np.array_equal(found[20], BEFORE[20])
    assert np.array_equal(found[21:], AFTER[21:])


def test_without_a_correction_nothing_is_asked_for() -> None:
    def following() -> Iterator[Any]:
        raise AssertionError("asked")
        yield

    assert list(passed_on(BEFORE, BEFORE, IMAGE, following())) == []


@given(st.integers(0, 2**32 - 1))
def test_only_corrected_pixels_that_show_the_same_label_change(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def labels() -> Labels:
        smooth = ndimage.gaussian_filter(rng.normal(size=(3, *SHAPE)), (0, 6, 6))
        return np.asarray(smooth.argmax(axis=0), np.uint8)

    before, after = labels(), labels()
    following = [(np.where(rng.random(SHAPE) < 0.98, before, after), IMAGE, ALL) for _ in range(3)]
    for (shown, _, _), found in zip(
        following, passed_on(before, after, IMAGE, following), strict=False
    ):
        changed = found != shown
        assert (before != after)[changed].all()
        assert np.array_equal(shown[changed], before[changed])
        assert np.array_equal(found[changed], after[changed])

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_mlbseg.project.labels import Labels
from napari_mlbseg.project.records.masks import plane
from napari_mlbseg.widgets.case.working_labels import WorkingLabels

pytestmark = pytest.mark.one_binding

SHAPE = (4, 5, 6)


def volume(seed: int = 0) -> Labels:
    return np.random.default_rng(seed).integers(0, 5, SHAPE).astype(np.uint8)


def slices_of(voxels: Labels) -> Callable[[int, int], Labels]:
    return lambda axis, index: voxels[plane(axis, index)].copy()


def over(voxels: Labels) -> WorkingLabels:
    return WorkingLabels(SHAPE, slices_of(voxels))


def parts(size: int) -> st.SearchStrategy[int | slice]:
    numbers = st.integers(0, size - 1)
    return numbers | st.builds(slice, st.none() | numbers, st.none() | numbers)


KEYS = (
    st.tuples(*(parts(n) for n in SHAPE))
    | parts(SHAPE[0])
    | st.just(...)
    | st.integers(1, 8).flatmap(
        lambda count: st.tuples(
            *(st.lists(st.integers(0, n - 1), min_size=count, max_size=count) for n in SHAPE)
        ).map(lambda key: tuple(np.array(part) for part in key))
    )
    | st.integers(0, 99).map(lambda seed: np.random.default_rng(seed).random(SHAPE) < 0.2)
)


@given(st.lists(st.tuples(st.integers(0, 2), KEYS, st.integers(0, 9)), max_size=8), KEYS)
def test_it_reads_and_writes_like_the_array_that_it_stands_for(
    writes: list[tuple[int, object, int]], asked: object
) -> None:
    plain: NDArray[np.uint8] = volume()
    labels = over(plain.copy())
    for axis, key, value in writes:
        labels.axis = axis
        plain[key] = value  # type: ignore[call-overload]
        labels[key] = value
    np.testing.assert_array_equal(np.asarray(labels), plain)
    np.testing.assert_array_equal(labels[asked], plain[asked])  # type: ignore[call-overload]
    for axis in range(3):
        np.testing.assert_array_equal(labels.read(axis, 2), plain[plane(axis, 2)])


def test_whole_boxes_are_written_value_by_value() -> None:
    labels = over(volume())
    labels[1:3, 2:4, :] = volume(1)[1:3, 2:4]
    expected = volume()
    expected[1:3, 2:4] = volume(1)[1:3, 2:4]
    np.testing.assert_array_equal(np.asarray(labels), expected)


def test_what_is_read_can_be_written_to_without_a_trace() -> None:
    labels = over(volume())
    labels[1, 1, 1] = 7
    for key in ((1, slice(None), slice(None)), (slice(None), 1, slice(None)), (0, 0)):
        labels[key][:] = 9
    assert (np.asarray(labels) != volume()).sum() <= 1


@given(axis=st.integers(0, 2), data=st.data())
def test_exactly_the_changed_slices_are_edited(axis: int, data: st.DataObject) -> None:
    labels = over(np.zeros(SHAPE, np.uint8))
    labels.axis = axis
    chosen = data.draw(st.sets(st.integers(0, SHAPE[axis] - 1)))
    for index in chosen:
        labels[(*plane(axis, index),)] = np.eye(*labels.read(axis, index).shape, dtype=np.uint8)
    assert labels.edits() == tuple((axis, index) for index in sorted(chosen))
    for index in chosen:
        labels.lay((axis, index), labels.read(axis, index))
    assert labels.edits() == ()


def test_writing_what_is_there_already_edits_nothing() -> None:
    labels = over(volume())
    labels[:, :, :] = volume()
    assert labels.edits() == ()
    assert labels.own((0, 1)) is None


def test_machine_labels_spare_human_and_painted_slices() -> None:
    machine = np.zeros(SHAPE, np.uint8)
    labels = WorkingLabels(
        SHAPE, slices_of(machine), human=[(0, 2)], mask=lambda _: np.full(SHAPE[1:], 3, np.uint8)
    )
    labels[1, 0, 0] = 1
    machine[:] = 7
    assert labels[1].sum() == 1
    assert (labels[2] == 3).all()
    assert (labels[3] == 7).all()
    assert labels.edits() == ((0, 1),)


def test_a_slice_is_the_machine_s_again_once_it_is_released() -> None:
    machine = np.zeros(SHAPE, np.uint8)
    labels = over(machine)
    labels[2, 0, 0] = 1
    labels.lay((0, 1), np.full(SHAPE[1:], 3, np.uint8))
    assert labels.edits() == ((0, 2),)
    machine[:] = 7
    assert (labels[1] == 3).all()
    for index in (1, 2):
        labels.release(0, index)
    assert (np.asarray(labels) == 7).all()
    assert labels.edits() == ()


def test_labels_are_laid_over_those_that_cross_or_below_them_again() -> None:
    labels = over(np.zeros(SHAPE, np.uint8))
    for value, key in enumerate([(0, 1), (1, 2), (2, 3)], 1):
        labels.lay(key, np.full(labels.read(*key).shape, value, np.uint8))
    assert labels.above((0, 1)) == ((1, 2), (2, 3))
    assert labels.above((2, 3)) == ()
    before, own, above = np.asarray(labels), labels.own((0, 1)), labels.above((0, 1))
    assert own is not None
    assert (own == 1).all()
    labels.lay((0, 1), np.full(SHAPE[1:], 9, np.uint8))
    assert (labels[1] == 9).all()
    labels.lay((0, 1), own, below=above)
    np.testing.assert_array_equal(np.asarray(labels), before)


def test_a_slice_is_told_of_before_it_changes() -> None:
    seen: list[tuple[tuple[int, int], int]] = []
    labels = WorkingLabels(
        SHAPE,
        slices_of(np.zeros(SHAPE, np.uint8)),
        touched=lambda key: seen.append((key, int(labels.read(*key).max()))),
    )
    labels[1, :, :] = 0
    labels[1:3, 2, 2] = 5
    assert seen == [((0, 1), 0), ((0, 2), 0)]


@pytest.mark.parametrize("axis", [1, 2])
def test_a_human_slice_lies_over_those_that_it_crosses_until_they_are_written_to(axis: int) -> None:
    machine = np.full(SHAPE, 7, np.uint8)
    mask = np.zeros([n for k, n in enumerate(SHAPE) if k != axis], np.uint8)
    labels = WorkingLabels(SHAPE, slices_of(machine), human=[(axis, 3)], mask=lambda _: mask)
    shown = np.asarray(labels)
    assert shown[plane(axis, 3)].max() == 0
    assert (np.delete(shown, 3, axis) == 7).all()
    where = [1, 1, 1]
    where[axis] = 3
    labels[tuple(where)] = 2
    assert labels.read(axis, 3).sum() == 2  # in the slice that crosses, too
    assert [key for key in labels.edits() if key[0] == 0] == [(0, 1)]


def test_every_write_is_heard() -> None:
    heard: list[int] = []
    labels = WorkingLabels(SHAPE, slices_of(volume()), edited=lambda: heard.append(1))
    labels[1, 1, 1] = 9
    labels[np.array([1]), np.array([1]), np.array([1])] = 3
    assert len(heard) == 2


def test_a_duplicate_is_a_plain_array() -> None:
    labels = over(volume())
    copy: object = deepcopy(labels)
    assert type(copy) is np.ndarray
    np.testing.assert_array_equal(copy, volume())


ids = st.integers(0, 2).flatmap(
    lambda axis: st.tuples(st.just(axis), st.integers(0, SHAPE[axis] - 1))
)


@given(own=st.lists(ids, max_size=5), asked=ids)
def test_a_persons_pixels_are_those_of_their_slices_along_and_across(
    own: list[tuple[int, int]], asked: tuple[int, int]
) -> None:
    labels, persons = over(volume()), np.zeros(SHAPE, np.bool_)
    for key in own:
        labels.lay(key, volume()[plane(*key)])
        persons[plane(*key)] = True
    np.testing.assert_array_equal(labels.persons(*asked), persons[plane(*asked)])


@given(
    st.lists(st.tuples(st.integers(0, 2), KEYS, st.integers(0, 9)), max_size=5),
    st.frozensets(st.integers(0, 4), max_size=3),
)
def test_whatever_is_written_spares_the_pixels_of_locked_classes(
    writes: list[tuple[int, object, int]], locked: frozenset[int]
) -> None:
    expected, stayed = volume(), 0
    labels = WorkingLabels(SHAPE, slices_of(volume()), locked=lambda: locked)
    for axis, key, value in writes:
        labels.axis = axis
        wanted = expected.copy()
        wanted[key] = value  # type: ignore[call-overload]
        labels[key] = value
        spared = np.isin(expected, list(locked))
        stayed += int((spared & (wanted != expected)).sum())
        expected = np.where(spared, expected, wanted)
    np.testing.assert_array_equal(np.asarray(labels), expected)
    assert (labels.stayed > 0) == (stayed > 0)


@given(own=st.lists(ids, min_size=1, max_size=5))
def test_beneath_a_slice_is_what_shows_when_it_is_released(own: list[tuple[int, int]]) -> None:
    labels = over(volume())
    for seed, key in enumerate(own, 1):
        labels.lay(key, volume(seed)[plane(*key)])
    beneath = labels.beneath(own[0])
    labels.release(*own[0])
    np.testing.assert_array_equal(labels.read(*own[0]), beneath)

"""Tidied labels against an obvious reference that looks at the whole volume at once."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.slices import SliceState
from napari_mlbseg.project.tidying import slabs
from napari_mlbseg.project.tidying.persons import PersonsSlices
from napari_mlbseg.project.tidying.slabs import Packed
from napari_mlbseg.project.tidying.tidy import tidied_array, tidied_windows
from napari_mlbseg.project.tidying.told import ClassTidied, Tidied, summary

Labels = NDArray[np.uint8]
DRAFT, CLEAN = 1, 2
ORGAN = LabelClass(1, "organ", (230, 160, 0))
ONE, WHOLE = replace(ORGAN, most_pieces=1), replace(ORGAN, no_holes=True)
ANY = np.ones((3, 3, 3))


def reference(
    labels: Labels, classes: Mapping[int, LabelClass], persons: Labels, axis: int
) -> Labels:
    """The same in a few plain lines, with `scipy.ndimage.label`."""
    found = np.moveaxis(labels, axis, 0).copy()
    whose = np.moveaxis(persons, axis, 0)
    for value, one in classes.items():
        if one.most_pieces is None:
            continue
        ids, count = ndimage.label(found == value, ANY)
        first = {n: int(np.flatnonzero(ids.ravel() == n)[0]) for n in range(1, count + 1)}
        order = sorted(first, key=lambda n: (-int((ids == n).sum()), first[n]))
        for n in order[one.most_pieces :]:
            if not (whose[ids == n] == CLEAN).any():
                found[(ids == n) & (whose == 0)] = 0
    before = found.copy()
    ids, count = ndimage.label(before == 0)
    for n in range(1, count + 1):
        inner = innermost(before, ids == n)
        if inner is None or inner not in classes or not classes[inner].no_holes:
            continue
        if not (whose[ids == n] == CLEAN).any():
            found[(ids == n) & (whose == 0)] = inner
    return np.moveaxis(found, 0, axis)


def innermost(labels: Labels, hole: NDArray[np.bool_]) -> int | None:
    """The class that encloses a hole most closely: its space begins last."""
    found = None
    latest = -1
    for value in np.unique(labels[labels != 0]).tolist():
        ids, _ = ndimage.label(labels != value)
        space = ids == ids[hole][0]
        inside = np.zeros_like(space)
        inside[1:-1, 1:-1, 1:-1] = space[1:-1, 1:-1, 1:-1]
        begins = int(np.flatnonzero(space)[0])
        if (inside == space).all() and begins > latest:
            found, latest = value, begins
    return found


shapes = st.tuples(*[st.integers(1, 6)] * 3)
rules = st.builds(
    lambda most, whole: replace(ORGAN, most_pieces=most, no_holes=whole),
    st.none() | st.integers(1, 3),
    st.booleans(),
)


@st.composite
def volumes(draw: st.DrawFn) -> Labels:
    """Random labels: scattered, or shells within shells with gaps and scattered voxels."""
    shape = draw(shapes.filter(lambda s: min(s) >= 3) if draw(st.booleans()) else shapes)
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    if draw(st.booleans()):
        odds = draw(st.floats(0.05, 0.95))
        return np.asarray(rng.choice(3, shape, p=[odds, *[(1 - odds) / 2] * 2]), np.uint8)
    found = np.zeros(shape, np.uint8)
    for _ in range(draw(st.integers(1, 5))):
        corners = [np.sort(rng.integers(0, n + 1, 2)) for n in shape]
        found[tuple(slice(*pair) for pair in corners)] = rng.integers(0, 3)
    return found


@st.composite
def persons_slices(draw: st.DrawFn, shape: tuple[int, ...]) -> PersonsSlices:
    places = st.integers(0, 2).flatmap(
        lambda axis: st.tuples(
            st.just(axis),
            st.integers(0, shape[axis] - 1),
            st.sampled_from([SliceState.DRAFT, SliceState.CLEAN]),
        )
    )
    z, y, x = shape
    return PersonsSlices((z, y, x), draw(st.lists(places, max_size=3)))


def whole(persons: PersonsSlices) -> Labels:
    return persons[slice(None), slice(None), slice(None)]


@given(st.data())
def test_any_labels_become_what_the_reference_says(data: st.DataObject) -> None:
    labels = data.draw(volumes())
    persons = data.draw(persons_slices(labels.shape))
    classes = {1: data.draw(rules), 2: replace(data.draw(rules), value=2)}
    axis = data.draw(st.integers(0, 2))
    size = data.draw(st.sampled_from([1, 30, 10_000]))
    expected = reference(labels, classes, whole(persons), axis)
    before = labels.copy()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(slabs, "SLAB_VOXELS", size)  # one slice, some, or all in a slab
        found, told = tidied_array(labels, classes, persons=persons, axis=axis)
        packed, also_told = tidied_windows(labels, classes, persons=persons, axis=axis)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(packed[:, :, :], expected)
    np.testing.assert_array_equal(labels, before)
    assert told == also_told
    np.testing.assert_array_equal(found[whole(persons) != 0], labels[whole(persons) != 0])
    changed = np.moveaxis(found != labels, axis, 0).any(axis=(1, 2))
    assert told.slices == tuple(np.flatnonzero(changed))
    add_up(labels, found, told.classes)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("thin", range(3))
@pytest.mark.parametrize("size", [1, 30])
def test_of_pieces_of_one_size_the_first_stays_in_a_volume_one_voxel_thick(
    axis: int, thin: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slabs, "SLAB_VOXELS", size)
    flat = np.zeros((3, 5), np.uint8)
    flat[0, 4] = flat[2, 0] = flat[2, 2] = 1
    labels, classes = np.expand_dims(flat, thin), {1: ONE}
    found, _ = tidied_array(labels, classes, axis=axis)
    expected = reference(labels, classes, np.zeros_like(labels), axis)
    np.testing.assert_array_equal(found, expected)


def add_up(before: Labels, after: Labels, told: tuple[ClassTidied, ...]) -> None:
    """What is told of voxels is what changed."""
    for one in told:
        value = one.label.value
        gone = (before == value) & (after != value)
        come = (before != value) & (after == value)
        assert gone.sum() <= (one.pieces.removed_voxels if one.pieces else 0)
        assert come.sum() <= (one.holes.filled_voxels if one.holes else 0)
        if one.pieces and one.pieces.found:
            assert one.pieces.kept >= min(one.label.most_pieces or 0, one.pieces.found)


@given(
    arrays(np.uint8, shapes, elements=st.integers(0, 254)),
    st.integers(0, 2),
    st.data(),
)
def test_windows_of_packed_labels_are_those_of_the_array(
    labels: Labels, axis: int, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(slabs, "SLAB_VOXELS", data.draw(st.sampled_from([1, 20, 10_000])))
        packed = Packed(labels, axis)
    assert packed.shape == labels.shape
    for _ in range(3):
        starts = [data.draw(st.integers(0, n)) for n in labels.shape]
        sides = [data.draw(st.integers(0, n)) for n in labels.shape]
        z, y, x = (slice(a, a + b) for a, b in zip(starts, sides, strict=True))
        np.testing.assert_array_equal(packed[z, y, x], labels[z, y, x])


def tidied(
    labels: NDArray[Any], classes: Mapping[int, LabelClass], **options: Any
) -> tuple[NDArray[Any], tuple[ClassTidied, ...]]:
    found, told = tidied_array(labels, classes, **options)
    assert told.slices == tuple(np.flatnonzero((found != labels).any(axis=(1, 2))))
    return found, told.classes


def words(told: ClassTidied) -> list[str]:
    return summary({"a": Tidied((told,), ())})


def test_voxels_that_touch_by_a_corner_are_one_piece() -> None:
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = labels[3, 3, 3] = 1
    found, [told] = tidied(labels, {1: ONE}, voxel_mm3=2.5)
    assert np.argwhere(found).tolist() == [[0, 0, 0], [1, 1, 1]]
    assert told.pieces is not None
    assert (told.pieces.found, told.pieces.kept, told.pieces.removed) == (2, 1, 1)
    assert (told.pieces.removed_voxels, told.pieces.removed_mm3) == (1, 2.5)
    assert told.holes is None


def test_the_largest_pieces_stay_and_of_equal_ones_the_first() -> None:
    labels = np.zeros((1, 1, 12), np.uint8)
    labels[0, 0, [0, 2, 3, 5, 6, 8, 9, 10]] = 1  # pieces of 1, 2, 2 and 3 voxels
    for most, kept in {1: [8, 9, 10], 2: [2, 3, 8, 9, 10], 3: [2, 3, 5, 6, 8, 9, 10]}.items():
        found, _ = tidied(labels, {1: replace(ORGAN, most_pieces=most)})
        assert np.flatnonzero(found).tolist() == kept
    many = (np.random.default_rng(0).random((1, 1, 900)) < 0.4).astype(np.uint8)
    nobody = np.zeros_like(many)
    for most in (20, 70, 150):
        some = {1: replace(ORGAN, most_pieces=most)}
        found, _ = tidied(many, some)
        np.testing.assert_array_equal(found, reference(many, some, nobody, 0))


def persons_at(shape: tuple[int, int, int], state: SliceState, *indices: int) -> PersonsSlices:
    return PersonsSlices(shape, [(0, index, state) for index in indices])


def apart() -> Labels:
    """A body of 32 voxels on slices 0 and 1, and specks on slices 3, 5 to 6, and 8."""
    labels = np.zeros((9, 4, 4), np.uint8)
    labels[:2] = 1
    labels[3, 0, 0] = labels[5:7, 3, 3] = labels[8, 1, 1] = 1
    return labels


def test_what_a_clean_slice_shows_stays_beside_the_largest() -> None:
    labels = apart()
    persons = persons_at((9, 4, 4), SliceState.CLEAN, 6)
    found, [told] = tidied(labels, {1: ONE}, persons=persons)
    assert np.flatnonzero(found.any((1, 2))).tolist() == [0, 1, 5, 6]
    assert told.pieces is not None
    assert (told.pieces.found, told.pieces.kept, told.pieces.removed_voxels) == (4, 2, 2)
    assert told.too_many
    assert words(told) == [
        "a, organ: 2 of 4 pieces removed (2 voxels, 2 mm³); 2 pieces stay, because a person's "
        "slices show them."
    ]


def test_a_draft_stays_but_saves_nothing_of_its_piece() -> None:
    labels = apart()
    persons = persons_at((9, 4, 4), SliceState.DRAFT, 6)
    found, [told] = tidied(labels, {1: ONE}, persons=persons)
    assert np.flatnonzero(found.any((1, 2))).tolist() == [0, 1, 6]
    assert told.pieces is not None
    assert (told.pieces.removed, told.pieces.removed_voxels, told.pieces.on_drafts) == (3, 3, 1)
    assert told.too_many


def ball() -> Labels:
    """A cube with a hole, and within the hole a cube of another class with one of its own."""
    labels = np.zeros((13, 13, 13), np.uint8)
    labels[1:12, 1:12, 1:12] = 1
    labels[2:11, 2:11, 2:11] = 0
    labels[4:9, 4:9, 4:9] = 2
    labels[5:8, 5:8, 5:8] = 0
    return labels


@pytest.mark.parametrize("size", [1, 400, 1 << 22])
def test_a_hole_belongs_to_the_innermost_class_around_it(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slabs, "SLAB_VOXELS", size)
    labels, inner = ball(), replace(WHOLE, value=2)
    gap, core = 9**3 - 5**3, 3**3
    both, told = tidied(labels, {1: WHOLE, 2: inner})
    assert [one.holes.filled_voxels for one in told if one.holes] == [gap, core]
    assert both[3, 3, 3] == 1
    assert both[6, 6, 6] == 2
    outer, [told_outer] = tidied(labels, {1: WHOLE})
    assert told_outer.holes is not None
    assert told_outer.holes.filled == 1
    assert (outer[3, 3, 3], outer[6, 6, 6]) == (1, 0)  # the inner one may have its hole
    swapped = np.array([0, 2, 1], np.uint8)
    again, _ = tidied(swapped[labels], {1: WHOLE, 2: inner})
    np.testing.assert_array_equal(again, swapped[both])


@pytest.mark.parametrize("size", [1, 400, 1 << 22])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [slice(None, 2), slice(-2, None)])
@pytest.mark.parametrize("rod", [0, 3])
def test_what_reaches_the_border_is_no_hole(
    size: int, axis: int, end: slice, rod: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be open, or another structure may lead out of it."""
    monkeypatch.setattr(slabs, "SLAB_VOXELS", size)
    labels = ball()
    np.moveaxis(labels, axis, 0)[end, 6, 6] = rod
    whole_box = labels[1:12, 1:12, 1:12]  # whose wall lies at the border of the case
    for case in (labels, whole_box):
        found, [told] = tidied(case, {1: WHOLE})
        np.testing.assert_array_equal(found, case)
        assert told.holes is not None
        assert (told.holes.filled, told.holes.filled_voxels) == (0, 0)
    closed = ball()[1:12, 1:12, 1:12]
    assert tidied(closed, {1: WHOLE})[0][2, 2, 2] == 1


def test_a_hole_on_a_clean_slice_stays_and_one_on_a_draft_stays_there() -> None:
    labels = ball()
    seen, [told] = tidied(labels, {1: WHOLE}, persons=persons_at((13, 13, 13), SliceState.CLEAN, 3))
    np.testing.assert_array_equal(seen, labels)
    assert told.holes is not None
    assert (told.holes.filled, told.holes.kept) == (0, 1)
    assert "1 hole kept" in words(told)[0]
    drafted, [told] = tidied(
        labels, {1: WHOLE}, persons=persons_at((13, 13, 13), SliceState.DRAFT, 3)
    )
    assert drafted[2, 3, 3] == drafted[4, 3, 3] == 1
    np.testing.assert_array_equal(drafted[3], labels[3])
    assert told.holes is not None
    assert (told.holes.filled, told.holes.on_drafts) == (1, 9 * 9)


def test_a_removed_piece_in_a_hole_is_part_of_the_hole() -> None:
    labels = ball()
    labels[labels == 2] = 1
    found, [told] = tidied(labels, {1: replace(ONE, no_holes=True)})
    assert (found[1:12, 1:12, 1:12] == 1).all()
    assert told.pieces is not None
    assert told.holes is not None
    assert (told.pieces.removed, told.holes.filled, told.holes.filled_voxels) == (1, 1, 9**3)


def test_a_person_decides_where_slices_cross_by_the_later_one() -> None:
    persons = PersonsSlices((2, 2, 2), [(0, 1, SliceState.CLEAN), (1, 0, SliceState.DRAFT)])
    assert whole(persons).tolist() == [[[1, 1], [0, 0]], [[1, 1], [2, 2]]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_arrays_of_any_integers_are_tidied(dtype: Any) -> None:
    labels = apart().astype(dtype)
    found, _ = tidied(labels, {1: ONE})
    assert found.dtype == dtype
    assert int(found.sum()) == 32


def test_nothing_is_found_in_nothing() -> None:
    empty = np.zeros((3, 4, 5), np.uint8)
    found, [told] = tidied(empty, {1: replace(ONE, no_holes=True)})
    assert not found.any()
    assert told.pieces is not None
    assert told.holes is not None
    assert (told.pieces.found, told.holes.filled) == (0, 0)
    assert words(told) == []


def test_classes_that_ask_for_nothing_are_left_alone() -> None:
    found, told = tidied(apart(), {1: ORGAN})
    np.testing.assert_array_equal(found, apart())
    assert told == ()


def test_each_voxel_is_read_once_and_never_more_than_a_slab(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slabs, "SLAB_VOXELS", 3 * 13 * 13)
    labels, read = ball(), np.zeros((13, 13, 13), int)

    class Counted:
        shape = labels.shape

        def __getitem__(self, window: tuple[slice, slice, slice]) -> Labels:
            read[window] += 1
            assert labels[window].size <= 3 * 13 * 13
            return labels[window]

    both = {1: replace(ONE, no_holes=True), 2: replace(ONE, value=2, no_holes=True)}
    packed, _ = tidied_windows(Counted(), both)
    assert (read == 1).all()
    assert packed[2:3, 2:3, 2:3] == 1

"""Extents as plain data: what lies outside, what widens them, and which ends nobody knows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.extents import (
    UNMARKED,
    End,
    Extent,
    clear_excluded,
    effective,
    empty_by,
    excluded,
    from_file,
    in_file,
    unknown_ends,
)
from napari_mlbseg.volume import Geometry

COUNT = 9
ends = st.none() | st.integers(0, COUNT - 1)
indices = st.integers(0, COUNT - 1)
masks = st.frozensets(st.integers(0, 3))
clean_slices = st.lists(st.tuples(indices, masks), max_size=5)


@st.composite
def extents(draw: st.DrawFn) -> Extent:
    first, last = draw(ends), draw(ends)
    if first is not None and last is not None and first > last:
        first, last = last, first
    return Extent(first, last)


@given(extents())
def test_outside_is_before_the_first_and_after_the_last(extent: Extent) -> None:
    first = -1 if extent.first is None else extent.first
    last = COUNT if extent.last is None else extent.last
    outside = [index < first or index > last for index in range(COUNT)]
    assert extent.excluded(COUNT).tolist() == outside
    assert [not extent.holds(index) for index in range(COUNT)] == outside


def test_what_ends_before_it_begins_is_refused_in_words() -> None:
    with pytest.raises(UserError, match="begin at slice 7 and end before it, at 3"):
        Extent(7, 3)


@given(extents(), clean_slices)
def test_clean_slices_that_show_a_class_widen_its_extent(
    extent: Extent, clean: list[tuple[int, frozenset[int]]]
) -> None:
    found = effective({1: extent}, clean)
    outside = np.zeros(COUNT, bool) if extent == UNMARKED else found[1].excluded(COUNT)
    for index, values in clean:
        assert not (1 in values and outside[index])
    assert not (outside & ~extent.excluded(COUNT)).any()  # never narrower than marked
    assert effective({1: extent}, [(i, v - {1}) for i, v in clean]) == (
        {} if extent == UNMARKED else {1: extent}
    )


def test_an_end_that_nobody_marked_is_not_made_by_a_clean_slice() -> None:
    assert effective({1: Extent(last=4)}, [(8, frozenset({1}))]) == {1: Extent(last=8)}
    assert effective({1: UNMARKED}, [(8, frozenset({1}))]) == {}


@given(extents(), extents())
def test_certified_empty_is_what_every_class_is_excluded_from(a: Extent, b: Extent) -> None:
    found = excluded({1: a, 2: b}, COUNT)
    assert empty_by(found, [1], COUNT).tolist() == a.excluded(COUNT).tolist()
    both = (a.excluded(COUNT) & b.excluded(COUNT)).tolist()
    assert empty_by(found, [1, 2], COUNT).tolist() == both
    assert not empty_by(found, [1, 2, 3], COUNT).any()  # nothing is known of 3
    assert not empty_by(found, [], COUNT).any()


@given(extents(), extents(), st.integers(0, 2), st.tuples(*[indices] * 6))
def test_excluded_classes_become_background_in_any_window(
    a: Extent, b: Extent, axis: int, bounds: tuple[int, ...]
) -> None:
    whole = np.random.default_rng(0).integers(0, 4, (COUNT,) * 3).astype(np.uint8)
    along = {axis: excluded({1: a}, COUNT), (axis + 1) % 3: excluded({1: b, 2: a}, COUNT)}
    expected = whole.copy()
    for place in np.ndindex(*whole.shape):
        for k, found in along.items():
            if whole[place] in found and found[int(whole[place])][place[k]]:
                expected[place] = 0
    low, high = np.minimum(bounds[:3], bounds[3:]), np.maximum(bounds[:3], bounds[3:])
    z, y, x = (slice(int(i), int(j) + 1) for i, j in zip(low, high, strict=True))
    labels = whole[z, y, x].copy()
    clear_excluded(labels, (z, y, x), along)
    np.testing.assert_array_equal(labels, expected[z, y, x])


@given(extents(), clean_slices)
def test_an_end_is_known_by_a_mark_or_by_a_slice_without_the_class_beyond(
    extent: Extent, clean: list[tuple[int, frozenset[int]]]
) -> None:
    found = unknown_ends([1], {1: extent}, clean)
    shown = [index for index, values in clean if 1 in values]
    blank = [index for index, values in clean if 1 not in values]
    below = bool(shown) and any(index < min(shown) for index in blank)
    above = bool(shown) and any(index > max(shown) for index in blank)
    assert found[End.FIRST] == (() if extent.first is not None or below else (1,))
    assert found[End.LAST] == (() if extent.last is not None or above else (1,))


@given(extents(), st.integers(0, 2))
def test_the_way_to_the_file_and_back(extent: Extent, axis: int) -> None:
    """RAS runs against the display along y and x, and with it along z."""
    geometry = Geometry.from_affine((COUNT,) * 3, np.diag([1.0, 1.0, 1.0, 1.0]))
    there = in_file(geometry, axis, extent)
    assert from_file(geometry, geometry.file_axes[axis], there) == extent
    inside = {geometry.file_index(axis, i) for i in range(COUNT) if extent.holds(i)}
    assert {i for i in range(COUNT) if there.holds(i)} == inside

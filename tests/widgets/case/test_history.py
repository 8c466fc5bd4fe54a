"""Steps back and forth, and what is forgotten."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.widgets.case.history import Change, Histories, History, Look, Packed, Step
from napari_mlbseg.widgets.case.working_layer import nearest

pytestmark = pytest.mark.one_binding

UNTOUCHED, DRAFT = Look(SliceState.UNTOUCHED), SliceState.DRAFT


def step(number: int, size: int = 8) -> Step:
    """A step that zlib cannot make small."""
    labels = np.random.default_rng(number).integers(0, 255, (size, size)).astype(np.uint8)
    key = SliceKey("case", 0, number)
    return Step(
        f"paint on slice {number}", key, (Change(key, UNTOUCHED, Look.human(DRAFT, labels)),)
    )


def names(history: History) -> list[str]:
    """What undo would take back, one after the other."""
    found = []
    while (last := history.last) is not None:
        found.append(last.name)
        history.went(back=True)
    return found


def test_labels_come_back_as_they_were_packed() -> None:
    labels = np.random.default_rng(0).integers(0, 255, (7, 5)).astype(np.uint8)
    unpacked = Packed.pack(labels.T).unpack()
    np.testing.assert_array_equal(unpacked, labels.T)
    unpacked[0] = 0  # its own memory
    np.testing.assert_array_equal(Packed.pack(labels.T).unpack(), labels.T)


def test_what_is_done_anew_takes_the_place_of_what_was_undone() -> None:
    history = History()
    assert (history.last, history.next) == (None, None)
    first, second, third = (step(n) for n in range(3))
    history.add(first)
    history.add(second)
    history.went(back=True)
    assert (history.last, history.next) == (first, second)
    history.went(back=False)
    assert (history.last, history.next) == (second, None)
    history.went(back=True)
    history.add(third)
    assert (history.last, history.next) == (third, None)
    assert history.size == first.size + third.size
    assert names(history) == [third.name, first.name]


def test_the_oldest_steps_are_forgotten_where_they_take_too_much() -> None:
    one = step(0, 64).size
    history = History(limit_bytes=3 * one + 500)
    for number in range(10):
        history.add(step(number, 64))
    assert history.size <= 3 * one + 500
    assert names(history) == [f"paint on slice {number}" for number in (9, 8, 7)]


def test_the_last_step_is_kept_however_large_it_is() -> None:
    history = History(limit_bytes=1)
    history.add(step(0, 64))
    history.add(step(1, 64))
    assert names(history) == ["paint on slice 1"]


def test_cases_that_nobody_looked_at_for_longest_are_forgotten_first() -> None:
    one = step(0, 64).size
    histories = Histories(limit_bytes=2 * one + 500)
    for case in ("a", "b", "c"):
        histories.of(case).add(step(0, 64))
    assert histories.of("b").last is not None  # the one of c and b fit, that of a does not
    assert histories.of("c").last is not None
    assert histories.of("a").last is None


@pytest.mark.parametrize(
    ("value", "current", "found"),
    [(3, 2, 9), (8, 9, 2), (10, 9, 9), (-1, 0, 0), (1, 0, 1), (200, 2, 2), (5, 9, 2), (0, 9, 0)],
)
def test_the_brush_goes_to_the_next_class(value: int, current: int, found: int) -> None:
    assert nearest(value, current, (0, 1, 2, 9)) == found


@given(st.sets(st.integers(1, 254)), st.integers(-300, 300), st.data())
def test_the_brush_never_leaves_the_classes(
    classes: set[int], value: int, data: st.DataObject
) -> None:
    values = sorted({0, *classes})
    current = data.draw(st.sampled_from(values))
    found = nearest(value, current, values)
    assert found in values
    assert found == value or value not in values

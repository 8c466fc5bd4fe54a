"""Ends are asked for first, wherever nothing says where a class begins or ends."""

import numpy as np
import pytest
from small_study import SHAPE, Phantoms

from napari_mlbseg.engine.predictions.ends_to_mark import MOST_CLASSES, ends_to_mark
from napari_mlbseg.engine.predictions.suggestions import (
    MOST_ENDS,
    Suggestion,
    slices_to_correct,
    suggest,
)
from napari_mlbseg.engine.wording import of_end_to_mark
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.extents import End, Extent
from napari_mlbseg.project.records.slices import SliceKey, SliceState

LENGTH = SHAPE[0]
BOTH = (1, 7)


def predict(phantoms: Phantoms, *case_ids: str) -> None:
    """A prediction that is the truth."""
    for case_id in case_ids:
        phantoms.study.arrays.create(case_id, ArrayName.PREDICTION)
        truth = phantoms.truth[case_id]
        phantoms.study.arrays.write(case_id, ArrayName.PREDICTION, 0, 0, truth)


def span(phantoms: Phantoms, case_id: str, value: int) -> tuple[int, int]:
    shown = np.flatnonzero((phantoms.truth[case_id] == value).any(axis=(1, 2)))
    return int(shown[0]), int(shown[-1])


def asked(found: list[Suggestion]) -> list[tuple[str, End, int]]:
    return [(s.key.case_id, s.asks_for, s.key.index) for s in found if s.asks_for is not None]


def test_they_point_to_where_the_labels_end(phantoms: Phantoms) -> None:
    predict(phantoms, "phantom0", "phantom1")
    expected = []
    for case_id in ("phantom0", "phantom1"):
        first, last = span(phantoms, case_id, 1)
        expected += [(case_id, End.FIRST, first), (case_id, End.LAST, last)]
    found = suggest(phantoms.study, 8)
    assert asked(found) == expected
    assert [one.asks_for for one in found[4:]] == [None] * 4  # and slices to correct after them
    assert {one.classes for one in found[:4]} == {BOTH}
    keys = [one.key for one in found]
    assert len(set(keys)) == len(keys)


def test_without_any_labels_they_lie_in_the_first_and_the_last_third(phantoms: Phantoms) -> None:
    phantoms.accept("phantom1", LENGTH - 2)  # further up than the middle of the last third
    first = (LENGTH - 1) // 6
    last = LENGTH - 1 - first
    assert asked(suggest(phantoms.study, 4)) == [
        ("phantom1", End.FIRST, first),  # cases that somebody works on come first
        ("phantom1", End.LAST, last),
        ("phantom0", End.FIRST, first),
        ("phantom0", End.LAST, last),
    ]


def test_a_clean_slice_beyond_the_middle_of_a_third_moves_them_outwards(
    phantoms: Phantoms,
) -> None:
    phantoms.study.set_classes([LabelClass(1, "organ", (1, 2, 3))])
    mask = (phantoms.truth["phantom0"][LENGTH // 2] == 1).astype(np.uint8)
    phantoms.study.save_slice(SliceKey("phantom0", 0, 0), mask, SliceState.CLEAN)
    (found,) = ends_to_mark(phantoms.study, 1)
    assert (found.key.index, found.end) == (0, End.FIRST)


def test_what_is_marked_is_not_asked_for_again(phantoms: Phantoms) -> None:
    predict(phantoms, "phantom0", "phantom1")
    study = phantoms.study
    study.extents.mark("phantom0", 0, 1, Extent(first=1))
    found = ends_to_mark(study, 9)
    assert [(one.key.case_id, one.end, one.classes) for one in found] == [
        ("phantom0", End.FIRST, (7,)),
        ("phantom0", End.LAST, BOTH),
        ("phantom1", End.FIRST, BOTH),
        ("phantom1", End.LAST, BOTH),
    ]
    assert found[0].key.index == span(phantoms, "phantom0", 7)[0]
    for case in study.cases:
        for value in BOTH:
            study.extents.mark(case.id, 0, value, Extent(0, LENGTH - 1))
    assert asked(suggest(study, 9)) == []
    assert [one.asks_for for one in suggest(study, 9)] == [None] * 9


def test_an_empty_clean_slice_beyond_says_where_a_class_ends(phantoms: Phantoms) -> None:
    predict(phantoms, "phantom0")
    first, last = span(phantoms, "phantom0", 1)
    assert last < LENGTH - 1
    phantoms.accept("phantom0", LENGTH // 2, last + 1)
    assert asked(suggest(phantoms.study, 2))[0] == ("phantom0", End.FIRST, first)
    assert ("phantom0", End.LAST) not in [one[:2] for one in asked(suggest(phantoms.study, 9))]


def test_a_class_that_a_case_does_not_show_is_not_asked_for(phantoms: Phantoms) -> None:
    truth = phantoms.truth["phantom0"]
    truth[truth == 7] = 1
    predict(phantoms, "phantom0")
    assert {one.classes for one in ends_to_mark(phantoms.study, 2)} == {(1,)}


def test_many_classes_and_many_cases_do_not_flood(phantoms: Phantoms) -> None:
    study, truth = phantoms.study, phantoms.truth["phantom0"]
    study.set_classes([LabelClass(n, f"part {n}", (n, n, n)) for n in range(1, 21)])
    truth[:] = np.random.default_rng(0).integers(0, 21, SHAPE)
    predict(phantoms, "phantom0")
    found = ends_to_mark(study, 99)
    assert [one.end for one in found if one.key.case_id == "phantom0"] == list(End)
    assert all(len(one.classes) <= MOST_CLASSES for one in found)
    assert len(asked(suggest(study, 50))) <= MOST_ENDS
    assert ends_to_mark(study, 0) == []


def test_slices_that_are_certified_empty_are_not_suggested(phantoms: Phantoms) -> None:
    study = phantoms.study
    for case in study.cases:
        for value in BOTH:
            study.extents.mark(case.id, 0, value, Extent(3, 8))
    inside = {(case.id, i) for case in study.cases for i in range(3, 9)}
    for _ in ("before a run", "after it"):
        found = slices_to_correct(study, 99)
        assert {(one.key.case_id, one.key.index) for one in found} == inside
        if not study.arrays.has("phantom0", ArrayName.PREDICTION):
            predict(phantoms, "phantom0", "phantom1")


@pytest.mark.parametrize(
    ("end", "names", "words"),
    [
        (End.LAST, ["atrium"], "mark where 'atrium' ends"),
        (End.FIRST, ["a", "b"], "mark where 'a' and 'b' begin"),
        (End.LAST, ["a", "b", "c"], "mark where 'a', 'b' and 'c' end"),
    ],
)
def test_what_they_ask_for_in_words(end: End, names: list[str], words: str) -> None:
    assert of_end_to_mark(end, names) == words

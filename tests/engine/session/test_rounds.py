"""A run learns and labels in turn: what a labelling writes, and what the next round learns from."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from small_study import QUICK, Phantoms, checkpoint, same

from napari_mlbseg.engine.data.reader import Reader
from napari_mlbseg.engine.events import (
    Event,
    Finished,
    Inbox,
    SlicesPublished,
    Stage,
    StageStarted,
    StepDone,
    Stop,
)
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.extents import Extent
from napari_mlbseg.project.records.slices import SliceKey

BASE, LABELLING, LOOP = Stage.BASE_MODEL, Stage.LABELLING, Stage.BOOTSTRAPPING
IN_ROUNDS = replace(QUICK, base_steps=12, steps=10, dimensions="2d")


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_mlbseg.engine.training.course.QUICK_STEPS", 8)
    monkeypatch.setattr("napari_mlbseg.engine.training.course.ROUND_STEPS", 4)


def labels(phantoms: Phantoms, name: ArrayName, case_id: str = "phantom1") -> NDArray[np.uint8]:
    return np.asarray(phantoms.study.arrays.open(case_id, name)[:])


def events_of(phantoms: Phantoms, inbox: Inbox | None = None, **changes: Any) -> Iterator[Event]:
    return Bootstrapper(phantoms.study, replace(IN_ROUNDS, **changes)).events(inbox or Inbox())


def until(
    phantoms: Phantoms, stage: Stage, then: Callable[[int], None], **changes: Any
) -> tuple[list[Event], list[Stage]]:
    """Run to the end; `then` is called with the number of each round of a stage as it starts."""
    events, stages = [], []
    for event in events_of(phantoms, **changes):
        events.append(event)
        if isinstance(event, StageStarted):
            stages.append(event.stage)
            if event.stage is stage:
                then(stages.count(stage))
    assert isinstance(events[-1], Finished), events[-1]
    return events, stages


def test_the_cohort_is_labelled_after_every_round_but_the_last(phantoms: Phantoms) -> None:
    phantoms.accept("phantom0", 3, 5, 8)
    events, stages = until(phantoms, LOOP, lambda number: None)
    rounds = [BASE, LABELLING, BASE, LABELLING, LOOP, LABELLING, LOOP, LABELLING, LOOP]
    assert stages == [Stage.LOADING, *rounds, Stage.PUBLISHING]
    steps = [e.steps for e in events if isinstance(e, StageStarted) and e.stage in (BASE, LOOP)]
    assert steps == [8, 4, 4, 4, 2]
    assert isinstance(events[-1], Finished)
    assert events[-1].step == 22


def test_predictions_are_there_after_the_first_quick_round(phantoms: Phantoms) -> None:
    phantoms.accept("phantom0", 3, 5, 8)
    shown: set[tuple[str, int]] = set()
    for event in events_of(phantoms):
        if isinstance(event, StageStarted) and event.stage is BASE and shown:
            break
        if isinstance(event, SlicesPublished) and ArrayName.PREDICTION.value in event.arrays:
            shown |= {(event.case_id, i) for i in range(event.start, event.stop)}
    assert shown == {(case.id, i) for case in phantoms.study.cases for i in range(12)}


def test_a_round_learns_from_the_labels_of_the_labelling_before_it(phantoms: Phantoms) -> None:
    phantoms.accept("phantom0", 3, 5, 8)

    def compared(number: int) -> None:
        predicted = labels(phantoms, ArrayName.PREDICTION)
        np.testing.assert_array_equal(labels(phantoms, ArrayName.PSEUDO_LABELS), predicted)

    def emptied(number: int) -> None:
        for case in phantoms.study.cases:
            phantoms.study.arrays.create(case.id, ArrayName.PSEUDO_LABELS)

    until(phantoms, LOOP, compared)
    as_labelled = checkpoint(phantoms)["network"]
    phantoms.study.checkpoint_path.unlink()
    until(phantoms, LOOP, emptied)
    assert not same(as_labelled, checkpoint(phantoms)["network"])


def test_a_round_learns_from_labels_as_tidy_as_their_classes(phantoms: Phantoms) -> None:
    phantoms.accept("phantom0", 3, 5, 8)
    pieces = 0

    def counted(number: int) -> None:
        nonlocal pieces
        shown = labels(phantoms, ArrayName.PSEUDO_LABELS) == 1
        pieces = ndimage.label(shown, np.ones((3, 3, 3)))[1]

    until(phantoms, LOOP, counted)
    assert pieces > 1
    in_one = [replace(one, most_pieces=1) for one in phantoms.study.classes]
    phantoms.study.set_classes(in_one)
    phantoms.study.checkpoint_path.unlink()
    until(phantoms, LOOP, counted)
    assert pieces == 1


def test_a_round_learns_no_class_outside_its_extent(phantoms: Phantoms) -> None:
    phantoms.accept("phantom0", 3, 5, 8)
    phantoms.study.extents.mark("phantom1", 0, 1, Extent(last=6))
    phantoms.study.extents.mark("phantom1", 1, 1, Extent(first=15))

    def looked_at(number: int) -> None:
        shown = labels(phantoms, ArrayName.PSEUDO_LABELS) == 1
        assert shown[:7, 15:].any()
        assert not shown[7:].any()
        assert not shown[:, :15].any()

    until(phantoms, LOOP, looked_at)


def test_initial_labels_are_those_of_the_base_model(phantoms: Phantoms) -> None:
    phantoms.accept("phantom0", 3, 5, 8)
    seen: list[NDArray[np.uint8]] = []
    until(phantoms, LOOP, lambda number: seen.append(labels(phantoms, ArrayName.INITIAL_LABELS)))
    assert len(seen) == 3
    assert all((one == seen[0]).all() for one in seen)
    assert (labels(phantoms, ArrayName.INITIAL_LABELS) == seen[0]).all()


def test_imported_labels_where_nobody_looked_are_shown_but_not_learnt(
    rough_phantoms: Phantoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    rough_phantoms.accept("phantom0", 4, 6, 8)
    rough_phantoms.accept("phantom1", 5)
    looked_at, drawn = range(4, 9), set[SliceKey]()
    labels_of = Reader.labels

    def noted(reader: Reader, name: ArrayName, key: SliceKey) -> object:
        if name is ArrayName.PSEUDO_LABELS:
            drawn.add(key)
        return labels_of(reader, name, key)

    monkeypatch.setattr(Reader, "labels", noted)

    def compared(number: int) -> None:
        imported = labels(rough_phantoms, ArrayName.INITIAL_LABELS)
        shown = labels(rough_phantoms, ArrayName.PREDICTION)
        learnt = labels(rough_phantoms, ArrayName.PSEUDO_LABELS)
        outside = [i for i in range(12) if i not in looked_at]
        np.testing.assert_array_equal(shown[outside], imported[outside])
        assert (learnt[outside] != imported[outside]).any()

    until(rough_phantoms, LOOP, compared, label_input=False)
    assert drawn
    assert {key.index for key in drawn} <= set(looked_at)


def test_imported_labels_are_never_replaced(rough_phantoms: Phantoms) -> None:
    before = labels(rough_phantoms, ArrayName.INITIAL_LABELS)
    rough_phantoms.accept("phantom0", 3, 5, 8)
    until(rough_phantoms, LOOP, lambda number: None)
    np.testing.assert_array_equal(labels(rough_phantoms, ArrayName.INITIAL_LABELS), before)


def test_of_a_large_cohort_each_labelling_takes_the_next_cases(
    phantoms: Phantoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_mlbseg.engine.training.labelling.SLICES_A_ROUND", 12)
    monkeypatch.setattr("napari_mlbseg.engine.training.labelling.FEWEST_CASES", 1)
    phantoms.accept("phantom0", 3, 5, 8)
    labelled = []
    for event in events_of(phantoms):
        if isinstance(event, StageStarted) and event.stage is LABELLING:
            labelled.append(set[str]())
        if isinstance(event, StageStarted) and event.stage is Stage.PUBLISHING:
            break
        if isinstance(event, SlicesPublished) and ArrayName.PSEUDO_LABELS.value in event.arrays:
            labelled[-1].add(event.case_id)
    both = {"phantom0", "phantom1"}
    assert labelled == [set(), both, {"phantom0"}, {"phantom1"}]  # the first is for looking only


def test_a_case_with_no_open_slice_is_not_labelled(phantoms: Phantoms) -> None:
    phantoms.accept("phantom0", *range(12))
    trainer = Trainer(phantoms.study, IN_ROUNDS)
    trainer.read_clean_slices()
    assert [case.id for case in trainer.labelling.cases()] == ["phantom1"]


@pytest.mark.parametrize("stop_after", [9, 14, 20])
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(
    phantoms: Phantoms, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    monkeypatch.setattr("napari_mlbseg.engine.session.pace.REPORT_EVERY_S", 0.0)
    phantoms.accept("phantom0", 3, 5, 8)
    phantoms.accept("phantom1", 4, 6)
    list(events_of(phantoms))
    at_once = checkpoint(phantoms)
    phantoms.study.checkpoint_path.unlink()
    inbox, done = Inbox(), 0
    for event in events_of(phantoms, inbox):
        done += isinstance(event, StepDone) and event.stage in (BASE, LOOP)
        if done == stop_after:
            inbox.put(Stop())
    list(events_of(phantoms))
    again = checkpoint(phantoms)
    for part in ("network", "teacher", "total", "round"):
        assert same(at_once[part], again[part])


def test_a_later_run_begins_with_a_labelling(phantoms: Phantoms) -> None:
    phantoms.accept("phantom0", 3, 5, 8)
    list(events_of(phantoms))
    _, stages = until(phantoms, LOOP, lambda number: None)
    assert stages[:3] == [Stage.LOADING, LABELLING, LOOP]
    assert BASE not in stages

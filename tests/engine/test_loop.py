"""The whole loop on a small study: what it writes, what it tells, how it stops and goes on."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_study import QUICK, Phantoms, checkpoint, make_phantoms, same

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import (
    BatchShrunk,
    CheckpointSaved,
    CleanSlicesChanged,
    CoverageChanged,
    Event,
    ExtentMarked,
    Failed,
    Finished,
    Focus,
    Heartbeat,
    Inbox,
    Pause,
    Paused,
    Resume,
    Resumed,
    RunStarted,
    SliceAccepted,
    SliceReopened,
    SlicesPublished,
    Stage,
    StageStarted,
    StepDone,
    Stop,
    ValidationScored,
)
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.training import objective
from napari_mlbseg.engine.training import trainer as training
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.extents import Extent
from napari_mlbseg.project.records.slices import SliceKey, SliceState

ALL_MAPS = {"prediction", "meta_weights_initial", "meta_weights_pseudo", "trust", "proposed_labels"}


def run(
    phantoms: Phantoms,
    config: Config = QUICK,
    *,
    on_event: Callable[[Event, Inbox], None] = lambda event, inbox: None,
) -> list[Event]:
    inbox = Inbox()
    events: list[Event] = []
    for event in Bootstrapper(phantoms.study, config).events(inbox):
        events.append(event)
        on_event(event, inbox)
    return events


def of_kind(events: list[Event], kind: type) -> Iterator[Event]:
    return (e for e in events if isinstance(e, kind))


def test_a_run_improves_every_case_and_publishes_every_slice(phantoms: Phantoms) -> None:
    phantoms.accept("phantom0", 1, 4, 5, 6, 7, 10)
    phantoms.accept("phantom1", 4, 5, 7, 11)
    events = run(phantoms, replace(QUICK, base_steps=120, steps=40, validation_share=0.3))
    assert isinstance(events[-1], Finished), events[-1]
    assert not events[-1].stopped
    stages = [e.stage for e in events if isinstance(e, StageStarted)]
    assert stages == list(Stage)
    final = {
        (e.case_id, i)
        for e in events
        if isinstance(e, SlicesPublished) and e.step > 160 and set(e.arrays) == ALL_MAPS
        for i in range(e.start, e.stop)
    }
    assert final == {(f"phantom{c}", i) for c in range(2) for i in range(12)}
    for case in phantoms.study.cases:
        prediction = np.asarray(phantoms.study.arrays.open(case.id, ArrayName.PREDICTION)[:])
        assert phantoms.dice(case.id, prediction, 1) > 0.7
        assert phantoms.dice(case.id, prediction, 7) > 0.5
        weights = np.asarray(phantoms.study.arrays.open(case.id, ArrayName.META_WEIGHTS_INITIAL)[:])
        assert weights.min() >= 0
        assert weights.max() > 0
        # both maps of a slice together average to the uniform weight
        pseudo = np.asarray(phantoms.study.arrays.open(case.id, ArrayName.META_WEIGHTS_PSEUDO)[:])
        means = (weights.astype(float) + pseudo.astype(float)).mean(axis=(1, 2)) / 2
        np.testing.assert_allclose(means, 1, atol=0.05)
        trust = np.asarray(phantoms.study.arrays.open(case.id, ArrayName.TRUST)[:]).astype(float)
        votes = np.asarray(phantoms.study.arrays.open(case.id, ArrayName.PROPOSED_LABELS)[:])
        assert 0 <= trust.min() < trust.max() <= 1
        wrong = prediction != phantoms.truth[case.id]
        assert trust[wrong].mean() < trust[~wrong].mean()
        assert set(np.unique(votes)) <= {0, 1, 7}
        assert (trust[votes == prediction] >= 1 / 3 - 0.01).all()
    scored = [e for e in events if isinstance(e, ValidationScored)]
    assert set(scored[-1].dice_per_class) == {1, 7}
    assert scored[-1].dice > 0.6
    started = next(e for e in events if isinstance(e, RunStarted))
    assert (started.training_slices, started.validation_slices) == (7, 3)
    (record,) = phantoms.study.runs.all()
    assert record.outcome == "finished"


def test_imported_initial_labels_are_kept_and_improved_on(rough_phantoms: Phantoms) -> None:
    before = np.asarray(rough_phantoms.study.arrays.open("phantom1", ArrayName.INITIAL_LABELS)[:])
    rough_phantoms.accept("phantom0", 3, 5, 6, 8)
    rough_phantoms.accept("phantom1", 4, 7)
    run(rough_phantoms)
    after = np.asarray(rough_phantoms.study.arrays.open("phantom1", ArrayName.INITIAL_LABELS)[:])
    np.testing.assert_array_equal(after, before)
    prediction = np.asarray(rough_phantoms.study.arrays.open("phantom1", ArrayName.PREDICTION)[:])
    assert rough_phantoms.dice("phantom1", prediction) > rough_phantoms.dice("phantom1", before)


def test_initial_labels_of_the_base_model_are_announced(phantoms: Phantoms) -> None:
    phantoms.accept("phantom0", 3, 5, 8)
    name = ArrayName.INITIAL_LABELS.value
    told = {
        (e.case_id, i)
        for e in run(phantoms, replace(QUICK, base_steps=2, steps=1))
        if isinstance(e, SlicesPublished) and name in e.arrays
        for i in range(e.start, e.stop)
    }
    assert told == {(case.id, i) for case in phantoms.study.cases for i in range(12)}


def test_a_prediction_is_never_half_empty(rough_phantoms: Phantoms) -> None:
    rough_phantoms.accept("phantom0", 3, 5, 8)
    study = rough_phantoms.study

    def look_then_stop(event: Event, inbox: Inbox) -> None:
        if isinstance(event, StageStarted) and event.stage is Stage.BOOTSTRAPPING:
            inbox.put(Focus(SliceKey("phantom1", 0, 9)))
        if isinstance(event, SlicesPublished):
            inbox.put(Stop())

    events = run(rough_phantoms, replace(QUICK, base_steps=2, steps=50), on_event=look_then_stop)
    published = {
        (e.case_id, i)
        for e in events
        if isinstance(e, SlicesPublished)
        for i in range(e.start, e.stop)
    }
    assert ("phantom1", 0) not in published
    for case_id in ("phantom0", "phantom1"):
        if study.arrays.has(case_id, ArrayName.PREDICTION):
            for index in range(12):
                if (case_id, index) not in published:
                    np.testing.assert_array_equal(
                        study.arrays.read(case_id, ArrayName.PREDICTION, 0, index),
                        study.arrays.read(case_id, ArrayName.INITIAL_LABELS, 0, index),
                    )


def test_rough_labels_stay_on_view_while_the_base_model_learns(rough_phantoms: Phantoms) -> None:
    (key, *_) = rough_phantoms.accept("phantom0", 3, 5, 8)

    def look(event: Event, inbox: Inbox) -> None:
        if isinstance(event, StageStarted) and event.stage is Stage.BASE_MODEL:
            inbox.put(Focus(key))

    events = run(rough_phantoms, replace(QUICK, base_steps=4, steps=2), on_event=look)
    stage, order = None, []
    for event in events:
        if isinstance(event, StageStarted):
            stage = event.stage
        if isinstance(event, SlicesPublished):
            order.append(stage)
    assert Stage.BASE_MODEL not in order
    assert Stage.BOOTSTRAPPING in order


def test_orthogonal_slices_of_a_case_teach_together(phantoms: Phantoms) -> None:
    phantoms.accept("phantom0", 5, 7)
    phantoms.accept("phantom0", 18, 22, axis=1)
    phantoms.accept("phantom1", 18, axis=2)
    events = run(phantoms, replace(QUICK, base_steps=3, steps=3))
    assert isinstance(events[-1], Finished), events[-1]


def test_the_same_seed_gives_the_same_run_bit_for_bit(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        phantoms = make_phantoms(tmp_path / f"{name}.mlbseg")
        phantoms.accept("phantom0", 3, 5, 8)
        run(phantoms, replace(QUICK, base_steps=5, steps=5))
        found.append(checkpoint(phantoms))
    assert same(*found)


@pytest.mark.parametrize("stop_at", [(Stage.BASE_MODEL, 3), (Stage.BOOTSTRAPPING, 4)])
def test_stopping_and_resuming_changes_nothing(
    tmp_path: Path, stop_at: tuple[Stage, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_mlbseg.engine.session.pace.REPORT_EVERY_S", 0.0)
    config = replace(QUICK, base_steps=6, steps=8)
    straight = make_phantoms(tmp_path / "straight.mlbseg")
    broken = make_phantoms(tmp_path / "broken.mlbseg")
    for phantoms in (straight, broken):
        phantoms.accept("phantom0", 3, 5, 8)
    run(straight, config)

    def stop(event: Event, inbox: Inbox) -> None:
        if isinstance(event, StepDone) and (event.stage, event.step) == stop_at:
            inbox.put(Stop())

    events = run(broken, config, on_event=stop)
    assert isinstance(events[-1], Finished)
    assert events[-1].stopped
    assert broken.study.runs.all()[-1].outcome == "stopped"
    state = checkpoint(broken)
    assert (state["stage"], state["step"]) == (stop_at[0].value, stop_at[1])
    resumed = run(broken, config)
    started = next(e for e in resumed if isinstance(e, RunStarted))
    assert started.resumed_step == events[-1].step > 0
    assert same(checkpoint(straight), checkpoint(broken))


def test_a_finished_run_goes_on_with_new_slices(phantoms: Phantoms) -> None:
    config = replace(QUICK, base_steps=4, steps=4)
    phantoms.accept("phantom0", 3, 5, 8)
    run(phantoms, config)
    phantoms.accept("phantom1", 5)
    events = run(phantoms, config)
    stages = [e.stage for e in events if isinstance(e, StageStarted)]
    assert Stage.BASE_MODEL not in stages
    assert isinstance(events[-1], Finished)
    assert events[-1].step == 12


def test_a_fresh_run_ignores_the_checkpoint(phantoms: Phantoms) -> None:
    config = replace(QUICK, base_steps=3, steps=2)
    phantoms.accept("phantom0", 3, 5, 8)
    run(phantoms, config)
    events = run(phantoms, replace(config, resume=False))
    assert Stage.BASE_MODEL in [e.stage for e in events if isinstance(e, StageStarted)]
    assert next(e for e in events if isinstance(e, RunStarted)).resumed_step == 0


def test_slices_accepted_and_reopened_while_it_runs_count_at_the_next_step(
    phantoms: Phantoms,
) -> None:
    phantoms.accept("phantom0", 3, 5, 8)
    asked: list[str] = []

    def correct(event: Event, inbox: Inbox) -> None:
        if isinstance(event, StageStarted) and event.stage is Stage.BASE_MODEL:
            asked.append("accept")
            (key,) = phantoms.accept("phantom1", 6)
            inbox.put(SliceAccepted(key))
        if isinstance(event, StageStarted) and event.stage is Stage.BOOTSTRAPPING:
            asked.append("reopen")
            key = SliceKey("phantom1", 0, 6)
            phantoms.study.slices.set_state(key, SliceState.DRAFT)
            inbox.put(SliceReopened(key))

    events = run(phantoms, replace(QUICK, base_steps=3, steps=3), on_event=correct)
    assert asked == ["accept", "reopen"]
    assert [e.training_slices for e in events if isinstance(e, CleanSlicesChanged)] == [4, 3]
    order = [type(e) for e in events if isinstance(e, (StageStarted, CleanSlicesChanged, StepDone))]
    assert order[order.index(CleanSlicesChanged) - 1] is StageStarted


def test_an_extent_marked_while_it_runs_counts_at_the_next_step(phantoms: Phantoms) -> None:
    phantoms.accept("phantom0", 2, 3, 4, 5, 6, 7)
    case = phantoms.study.cases[0]

    def mark(event: Event, inbox: Inbox) -> None:
        if isinstance(event, StageStarted) and event.stage is Stage.BOOTSTRAPPING:
            for value in (1, 7):
                phantoms.study.extents.mark(case.id, 0, value, Extent(1, 9))
            inbox.put(ExtentMarked(case.id))

    events = run(phantoms, replace(QUICK, base_steps=3, steps=3), on_event=mark)
    assert any(isinstance(e, CleanSlicesChanged) for e in events)
    before, after = (e for e in events if isinstance(e, CoverageChanged))
    assert next(e for e in before.reach if e.case_id == case.id).ends == (2, 7)
    assert next(e for e in after.reach if e.case_id == case.id).ends == (0, 11)
    assert after.never_looked_at < before.never_looked_at


def test_reopening_the_last_clean_slice_does_not_end_the_run(phantoms: Phantoms) -> None:
    (key,) = phantoms.accept("phantom0", 5)

    def reopen(event: Event, inbox: Inbox) -> None:
        if isinstance(event, StageStarted) and event.stage is Stage.BOOTSTRAPPING:
            phantoms.study.slices.set_state(key, SliceState.DRAFT)
            inbox.put(SliceReopened(key))

    events = run(phantoms, replace(QUICK, base_steps=2, steps=3), on_event=reopen)
    assert isinstance(events[-1], Finished)


def test_the_slice_on_view_is_served_first(phantoms: Phantoms) -> None:
    phantoms.accept("phantom0", 3, 5, 8)

    def look(event: Event, inbox: Inbox) -> None:
        if isinstance(event, StageStarted) and event.stage is Stage.BOOTSTRAPPING:
            inbox.put(Focus(SliceKey("phantom1", 0, 9)))

    events = run(phantoms, replace(QUICK, base_steps=3, steps=5), on_event=look)
    began = next(
        i
        for i, e in enumerate(events)
        if isinstance(e, StageStarted) and e.stage is Stage.BOOTSTRAPPING
    )
    first = next(e for e in events[began:] if isinstance(e, SlicesPublished))
    assert (first.case_id, first.start, first.stop) == ("phantom1", 9, 10)
    assert set(first.arrays) == ALL_MAPS


def test_an_accepted_slice_is_answered_before_the_next_step(
    phantoms: Phantoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_mlbseg.engine.session.pace.REPORT_EVERY_S", 0.0)
    monkeypatch.setattr("napari_mlbseg.engine.session.showing.FOCUS_EVERY_S", 1e9)
    phantoms.accept("phantom0", 3, 5, 8)
    key = SliceKey("phantom1", 0, 9)
    asked: list[SliceKey] = []

    def accept(event: Event, inbox: Inbox) -> None:
        if isinstance(event, StageStarted) and event.stage is Stage.BOOTSTRAPPING:
            inbox.put(Focus(key))
        if isinstance(event, StepDone) and event.stage is Stage.BOOTSTRAPPING and event.step == 2:
            asked.extend(phantoms.accept("phantom1", 9))
            inbox.put(SliceAccepted(key))

    events = run(phantoms, replace(QUICK, base_steps=3, steps=5), on_event=accept)
    assert asked == [key]
    changed = next(i for i, e in enumerate(events) if isinstance(e, CleanSlicesChanged))
    assert isinstance(events[changed + 1], CoverageChanged)
    answer = events[changed + 2]
    assert isinstance(answer, SlicesPublished)
    assert (answer.case_id, answer.start, answer.stop) == ("phantom1", 9, 10)
    assert set(answer.arrays) == ALL_MAPS


def test_pausing_holds_training_and_keeps_talking(phantoms: Phantoms) -> None:
    phantoms.accept("phantom0", 3, 5, 8)
    beats = 0

    def pause(event: Event, inbox: Inbox) -> None:
        nonlocal beats
        if isinstance(event, StageStarted) and event.stage is Stage.BOOTSTRAPPING:
            inbox.put(Pause())
        if isinstance(event, Heartbeat):
            beats += 1
            if beats == 3:
                inbox.put(Resume())

    events = run(phantoms, replace(QUICK, base_steps=2, steps=2), on_event=pause)
    held = events[
        next(i for i, e in enumerate(events) if isinstance(e, Paused)) : next(
            i for i, e in enumerate(events) if isinstance(e, Resumed)
        )
    ]
    assert {type(e) for e in held[1:]} == {Heartbeat}
    assert isinstance(events[-1], Finished)


@pytest.mark.parametrize("minutes", [None, 60.0])
def test_a_run_is_stopped_as_it_begins_to_publish(
    rough_phantoms: Phantoms, minutes: float | None
) -> None:
    rough_phantoms.accept("phantom0", *range(1, 11))
    run(rough_phantoms, replace(QUICK, base_steps=2, steps=2))

    def stop(event: Event, inbox: Inbox) -> None:
        if isinstance(event, StageStarted) and event.stage is Stage.PUBLISHING:
            inbox.put(Stop())

    # Nothing is left to learn: whether imported labels are kept is found out while publishing.
    config = replace(QUICK, base_steps=2, steps=0, minutes=minutes)
    events = run(rough_phantoms, config, on_event=stop)
    assert isinstance(events[-1], Finished), events[-1]
    assert events[-1].stopped


def test_a_paused_run_can_be_stopped(phantoms: Phantoms) -> None:
    phantoms.accept("phantom0", 3, 5, 8)

    def pause_then_stop(event: Event, inbox: Inbox) -> None:
        if isinstance(event, StageStarted) and event.stage is Stage.BOOTSTRAPPING:
            inbox.put(Pause())
        if isinstance(event, Heartbeat):
            inbox.put(Stop())

    events = run(phantoms, replace(QUICK, base_steps=2, steps=2), on_event=pause_then_stop)
    assert isinstance(events[-1], Finished)
    assert events[-1].stopped
    assert any(of_kind(events, CheckpointSaved))


def test_out_of_memory_shrinks_the_batch_and_says_so(
    phantoms: Phantoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantoms.accept("phantom0", 3, 5, 8)
    step = training.Trainer.bootstrap_step

    def hungry(self: training.Trainer, *, learning_rate: float) -> object:
        if self.state.batch > 1:
            raise torch.OutOfMemoryError("out of memory")
        return step(self, learning_rate=learning_rate)

    monkeypatch.setattr(training.Trainer, "bootstrap_step", hungry)
    events = run(phantoms, replace(QUICK, base_steps=2, steps=2, batch=4))
    shrunk = [e.batch_size for e in events if isinstance(e, BatchShrunk)]
    assert shrunk == [2, 1]
    assert isinstance(events[-1], Finished)


def test_the_base_model_shrinks_its_batch_too(
    phantoms: Phantoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantoms.accept("phantom0", 3, 5, 8)
    gradient: Any = vars(objective)["clean_gradient"]

    def hungry(model: object, parameters: object, images: torch.Tensor, labels: object) -> object:
        if len(images) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return gradient(model, parameters, images, labels)

    monkeypatch.setattr(objective, "clean_gradient", hungry)
    config = replace(QUICK, base_steps=2, steps=2, batch=4, clean_batch=8)
    events = run(phantoms, config)
    assert [e.batch_size for e in events if isinstance(e, BatchShrunk)] == [2, 1]
    assert isinstance(events[-1], Finished), events[-1]


def test_memory_that_does_not_suffice_for_one_slice_ends_the_run_in_words(
    phantoms: Phantoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantoms.accept("phantom0", 3, 5, 8)

    def starving(self: training.Trainer, *, learning_rate: float) -> object:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(training.Trainer, "bootstrap_step", starving)
    events = run(phantoms, replace(QUICK, base_steps=2, steps=2))
    assert isinstance(events[-1], Failed)
    assert "smaller" in events[-1].message
    assert events[-1].details == ""


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_an_unexpected_error_is_the_last_event(
    phantoms: Phantoms, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    phantoms.accept("phantom0", 3, 5, 8)

    def broken(self: training.Trainer, *, learning_rate: float) -> object:
        raise kind("a torch error")

    monkeypatch.setattr(training.Trainer, "base_step", broken)
    events = run(phantoms)
    assert isinstance(events[-1], Failed)
    assert "a torch error" in events[-1].message
    assert "Traceback" in events[-1].details
    assert phantoms.study.runs.all()[-1].outcome == "failed"


def test_a_loss_that_is_no_number_ends_the_run_in_words(
    phantoms: Phantoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantoms.accept("phantom0", 3, 5, 8)
    nothing = {"clean": torch.tensor(float("nan"))}

    def diverged(self: training.Trainer, *, learning_rate: float) -> object:
        self.state.step += 1
        return nothing

    monkeypatch.setattr(training.Trainer, "base_step", diverged)
    events = run(phantoms, replace(QUICK, base_steps=2))
    assert isinstance(events[-1], Failed)
    assert "unstable" in events[-1].message


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda p: None, "No slice has been accepted"),
        (lambda p: p.accept("phantom0", 0), "'organ' or 'core'"),
        (lambda p: (p.accept("phantom0", 5), p.study.set_classes([])), "no class"),
    ],
)
def test_too_little_to_learn_from_is_said_in_one_sentence(
    phantoms: Phantoms, prepare: Callable[[Phantoms], object], words: str
) -> None:
    prepare(phantoms)
    events = run(phantoms)
    assert isinstance(events[-1], Failed)
    assert words in events[-1].message
    assert events[-1].details == ""


@pytest.mark.parametrize(
    "change",
    [
        {"weights": "published"},
        {"weights": "uniform"},
        {"weights": "none"},
        {"teacher": False},
        {"clean_step": False},
        {"views": ("identity",)},
        {"views_per_step": 7},
        {"dimensions": "2d"},
        {"objective": "self-training"},
        {"objective": "initial labels"},
    ],
    ids=str,
)
def test_every_part_can_be_switched(phantoms: Phantoms, change: dict[str, object]) -> None:
    phantoms.accept("phantom0", 3, 5, 8)
    usual = replace(QUICK, base_steps=2, steps=2, objective="meta-weights", resume=False)
    events = run(phantoms, Config.from_dict(usual.to_dict() | change))
    assert isinstance(events[-1], Finished), events[-1]
    reference = checkpoint(phantoms)
    run(phantoms, usual)
    assert not same(reference["network"], checkpoint(phantoms)["network"])


def test_without_meta_weights_no_weight_map_is_published(phantoms: Phantoms) -> None:
    phantoms.accept("phantom0", 3, 5, 8)
    run(phantoms, replace(QUICK, base_steps=2, steps=2, weights="uniform"))
    assert not phantoms.study.arrays.has("phantom0", ArrayName.META_WEIGHTS_INITIAL)


def test_a_time_limit_ends_the_bootstrapping(phantoms: Phantoms) -> None:
    phantoms.accept("phantom0", 3, 5, 8)
    events = run(phantoms, replace(QUICK, base_steps=2, steps=10**6, minutes=0.02))
    assert isinstance(events[-1], Finished)
    assert not events[-1].stopped
    assert events[-1].step < 10**6


def test_events_are_plain_data(phantoms: Phantoms) -> None:
    phantoms.accept("phantom0", 3, 5, 8)
    events = run(phantoms, replace(QUICK, base_steps=2, steps=2))
    for event in events:
        told = json.loads(json.dumps(asdict(event)))
        assert set(told) == {field.name for field in fields(event)}
    assert {type(event) for event in events} >= {RunStarted, StepDone, SlicesPublished, Finished}

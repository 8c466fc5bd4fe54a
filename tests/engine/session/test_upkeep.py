"""What is noted of a run, and when something is due again."""

from dataclasses import replace

import pytest
from small_study import QUICK, Phantoms

from napari_mlbseg.engine.events import Finished, Inbox, RunStarted, ValidationScored
from napari_mlbseg.engine.forecast import TRAINING_SLICES, VALIDATION_SLICES
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.session.journal import Journal
from napari_mlbseg.engine.session.timer import LONGEST_SHARE, Timer


def test_each_score_is_noted_once(phantoms: Phantoms, monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[tuple[int, float]] = []
    log = phantoms.study.runs.log

    def counted(run_id: int, step: int, values: dict[str, float]) -> None:
        noted.extend((step, value) for name, value in values.items() if name == "validation dice")
        log(run_id, step, values)

    monkeypatch.setattr(phantoms.study.runs, "log", counted)
    phantoms.accept("phantom0", *range(2, 10))
    config = replace(QUICK, base_steps=30, steps=2, dimensions="2d", validation_share=0.4)
    events = list(Bootstrapper(phantoms.study, config).events(Inbox()))
    assert isinstance(events[-1], Finished), events[-1]
    told = [event.dice for event in events if isinstance(event, ValidationScored)]
    assert len(told) >= 2
    assert [dice for _, dice in noted] == told
    steps = [step for step, _ in noted]
    assert steps == sorted(set(steps))
    run = next(event.run_id for event in events if isinstance(event, RunStarted))
    assert phantoms.study.runs.metrics(run, "validation dice") == noted
    training = phantoms.study.runs.metrics(run, TRAINING_SLICES)
    validation = phantoms.study.runs.metrics(run, VALIDATION_SLICES)
    counts = {(a, b) for (_, a), (_, b) in zip(training, validation, strict=True)}
    assert [step for step, _ in training] == steps
    assert all(a + b <= 8 and a > b for a, b in counts)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_was_never_done_is_due_and_then_again_after_its_time() -> None:
    clock = Clock()
    timer = Timer(clock)
    assert timer.due("log", 2.0)
    clock.now = 1.9
    assert not timer.due("log", 2.0)
    assert timer.due("score", 2.0)
    clock.now = 2.0
    assert timer.due("log", 2.0)
    timer.at_once("log")
    assert timer.due("log", 2.0)
    timer.begin("checkpoint")
    assert not timer.due("checkpoint", 60.0)
    clock.now = 62.0
    assert timer.due("checkpoint", 60.0)


def test_what_takes_long_waits_for_longer() -> None:
    clock = Clock()
    timer = Timer(clock)
    assert timer.due("focus", 1.0)
    clock.now = 3.0
    timer.ended("focus")
    clock.now = 3.0 / LONGEST_SHARE - 0.1
    assert not timer.due("focus", 1.0)
    clock.now = 3.0 / LONGEST_SHARE
    assert timer.due("focus", 1.0)


def test_a_journal_opens_and_closes_one_entry(phantoms: Phantoms) -> None:
    journal = Journal(phantoms.study)
    number = journal.open(QUICK, "cpu")
    journal.note(3, {"clean": 0.5})
    journal.close("stopped")
    (run,) = phantoms.study.runs.all()
    assert (run.id, run.outcome) == (number, "stopped")
    assert [tuple(pair) for pair in phantoms.study.runs.metrics(number, "clean")] == [(3, 0.5)]
    with pytest.raises(AssertionError, match="no entry is open"):
        journal.note(4, {"clean": 0.4})

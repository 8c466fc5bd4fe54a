"""The minutes of a run bound all of it; told by a clock that only the work moves."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from small_study import QUICK, Phantoms, make_phantoms

from napari_mlbseg.engine.data.source import Span
from napari_mlbseg.engine.events import (
    Event,
    Finished,
    Focus,
    Inbox,
    OutOfTime,
    SlicesPublished,
    Stage,
    StageStarted,
    StepDone,
)
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.predictions.publisher import Publisher
from napari_mlbseg.engine.session.budget import (
    BASE_SHARE,
    LARGEST_SHARE,
    SAFETY,
    UNKNOWN_SHARE,
    Budget,
)
from napari_mlbseg.engine.session.run import Run
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.slices import SliceKey

MINUTES = 10.0


class Clock:
    """Stands still but for what is added."""

    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s

    def costs(self, seconds: float, work: Callable[..., object]) -> Callable[..., object]:
        """The same work; a call takes so long by this clock, for each slice of a span."""

        def done(this: object, *given: object, **named: object) -> object:
            spans = [one for one in given if isinstance(one, Span)]
            self.s += seconds * sum(span.stop - span.start for span in spans) if spans else seconds
            return work(this, *given, **named)

        return done


@pytest.fixture
def clock() -> Clock:
    return Clock()


def run(
    phantoms: Phantoms, clock: Clock, *, inbox: Inbox | None = None, **changes: object
) -> list[Event]:
    asked = {"base_steps": 10**6, "steps": 10**6, "minutes": MINUTES, "dimensions": "2d"}
    config = QUICK.from_dict(QUICK.to_dict() | asked | changes)
    budget = Budget(config.minutes, clock)
    return list(Run(phantoms.study, config, inbox or Inbox(), budget).events())


@pytest.fixture
def slow(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says how long a step, and publishing a slice, take by the clock."""
    monkeypatch.setattr("napari_mlbseg.engine.session.pace.REPORT_EVERY_S", 0.0)
    works: dict[type, tuple[Callable[..., object], ...]] = {
        Trainer: (Trainer.base_step, Trainer.bootstrap_step),
        Publisher: (Publisher.publish, Publisher.label),
    }

    def take(*, step_s: float, slice_s: float) -> None:
        for of, seconds in ((Trainer, step_s), (Publisher, slice_s)):
            for work in works[of]:
                monkeypatch.setattr(of, work.__name__, clock.costs(seconds, work))

    return take


def stages(events: list[Event]) -> list[Stage]:
    return [e.stage for e in events if isinstance(e, StageStarted)]


def steps(events: list[Event], stage: Stage) -> int:
    return max((e.step for e in events if isinstance(e, StepDone) and e.stage is stage), default=0)


@pytest.mark.parametrize("rough", [True, False])
def test_the_minutes_are_shared_and_everything_is_published(
    tmp_path: Path, clock: Clock, slow: Callable[..., None], rough: bool
) -> None:
    phantoms = make_phantoms(tmp_path / "some.mlbseg", rough=rough)
    phantoms.accept("phantom0", 3, 5, 8)
    slow(step_s=10, slice_s=2)
    events = run(phantoms, clock)
    last = events[-1]
    assert isinstance(last, Finished), last
    assert last.seconds <= 60 * MINUTES
    assert not any(isinstance(e, OutOfTime) for e in events)
    training_s = (1 - UNKNOWN_SHARE) * 60 * MINUTES
    assert steps(events, Stage.BASE_MODEL) == pytest.approx(BASE_SHARE * training_s / 10, abs=1)
    assert steps(events, Stage.BOOTSTRAPPING) > 1
    final = {
        (e.case_id, i)
        for e in events
        if isinstance(e, SlicesPublished) and e.step > last.step
        for i in range(e.start, e.stop)
    }
    assert len(final) == 24
    for event in events:
        if isinstance(event, StepDone) and event.remaining_s is not None:
            assert event.remaining_s <= 60 * MINUTES


def test_a_base_model_alone_has_all_the_time_for_training(
    tmp_path: Path, clock: Clock, slow: Callable[..., None]
) -> None:
    phantoms = make_phantoms(tmp_path / "some.mlbseg", rough=True)
    phantoms.accept("phantom0", 3, 5, 8)
    slow(step_s=10, slice_s=2)
    events = run(phantoms, clock, steps=0)
    assert isinstance(events[-1], Finished), events[-1]
    training_s = (1 - UNKNOWN_SHARE) * 60 * MINUTES
    assert steps(events, Stage.BASE_MODEL) == pytest.approx(training_s / 10, abs=1)


def test_the_clock_of_a_run_can_be_another(
    tmp_path: Path, clock: Clock, slow: Callable[..., None]
) -> None:
    phantoms = make_phantoms(tmp_path / "some.mlbseg", rough=True)
    phantoms.accept("phantom0", 3, 5, 8)
    slow(step_s=10, slice_s=2)
    config = replace(QUICK, base_steps=10**6, steps=10**6, minutes=MINUTES, dimensions="2d")
    *_, last = Bootstrapper(phantoms.study, config, clock=clock).events(Inbox())
    assert isinstance(last, Finished), last
    assert 0.8 * 60 * MINUTES < last.seconds <= 60 * MINUTES


def test_what_is_not_reached_stays_what_it_was_and_is_listed(
    tmp_path: Path, clock: Clock, slow: Callable[..., None]
) -> None:
    phantoms = make_phantoms(tmp_path / "rough.mlbseg", cases=3, rough=True)
    phantoms.accept("phantom0", 4, 6, 8)
    slow(step_s=20, slice_s=8)
    inbox = Inbox()
    inbox.put(Focus(SliceKey("phantom2", 0, 5)))
    events = run(phantoms, clock, inbox=inbox, label_input=False)
    last = events[-1]
    assert isinstance(last, Finished), last
    assert not last.stopped
    assert last.seconds <= 60 * MINUTES
    (left,) = (e for e in events if isinstance(e, OutOfTime))
    final = [
        e
        for e in events
        if isinstance(e, SlicesPublished) and e.step > last.step and len(e.arrays) > 1
    ]
    seen = {SliceKey(e.case_id, e.axis, i) for e in final for i in range(e.start, e.stop)}
    assert seen
    assert not seen & set(left.slices)
    assert seen | set(left.slices) == {
        SliceKey(case.id, 0, i) for case in phantoms.study.cases for i in range(12)
    }
    assert {e.case_id for e in final[:1]} == {"phantom2"}  # the case on view comes first
    for key in left.slices:
        if phantoms.study.arrays.has(key.case_id, ArrayName.PREDICTION):
            at = key.axis, key.index
            shown = phantoms.study.arrays.read(key.case_id, ArrayName.PREDICTION, *at)
            imported = phantoms.study.arrays.read(key.case_id, ArrayName.INITIAL_LABELS, *at)
            assert (shown == imported).all()


def test_initial_labels_that_the_time_does_not_suffice_for_are_made_by_the_next_run(
    phantoms: Phantoms, clock: Clock, slow: Callable[..., None]
) -> None:
    phantoms.accept("phantom0", 3, 5, 8)
    slow(step_s=20, slice_s=30)
    events = run(phantoms, clock)
    assert isinstance(events[-1], Finished), events[-1]
    assert Stage.BOOTSTRAPPING not in stages(events)
    (left,) = (e for e in events if isinstance(e, OutOfTime))
    made = {
        SliceKey(e.case_id, e.axis, i)
        for e in events
        if isinstance(e, SlicesPublished)
        for i in range(e.start, e.stop)
    }
    assert made
    assert made | set(left.slices) == {
        SliceKey(case.id, 0, i) for case in phantoms.study.cases for i in range(12)
    }
    assert not made & set(left.slices)
    slow(step_s=0, slice_s=0)
    again = run(phantoms, clock, steps=2)
    assert isinstance(again[-1], Finished), again[-1]
    assert stages(again) == [Stage.LABELLING, Stage.BOOTSTRAPPING, Stage.PUBLISHING]
    assert not any(isinstance(e, OutOfTime) for e in again)


def test_without_minutes_no_clock_ends_anything(
    phantoms: Phantoms, clock: Clock, slow: Callable[..., None]
) -> None:
    phantoms.accept("phantom0", 3, 5, 8)
    slow(step_s=10**6, slice_s=10**6)
    events = run(phantoms, clock, minutes=None, base_steps=2, steps=3)
    assert isinstance(events[-1], Finished), events[-1]
    assert events[-1].step == 5
    assert not any(isinstance(e, OutOfTime) for e in events)


# --- the shares -----------------------------------------------------------------------------------


def budget(clock: Clock, *, minutes: float | None = MINUTES, slices: int = 100) -> Budget:
    made = Budget(minutes, clock)
    made.share_among(slices)
    made.begin_round()
    return made


def share_at(clock: Clock, made: Budget, stage: Stage) -> Iterator[float]:
    for _ in range(13):
        yield made.share_of(stage)
        clock.s += 60


def test_the_share_that_is_over_only_grows_from_0_to_1(clock: Clock) -> None:
    shares = list(share_at(clock, budget(clock), Stage.BOOTSTRAPPING))
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert set(share_at(clock, budget(clock, minutes=None), Stage.BOOTSTRAPPING)) == {0.0}


def test_what_was_measured_is_kept_for_the_end(clock: Clock) -> None:
    made = budget(clock)
    made.published(10, 5.0)
    clock.s += 60 * MINUTES - SAFETY * 100 * 0.5 - 1
    assert made.share_of(Stage.BOOTSTRAPPING) < 1
    clock.s += 2
    assert made.share_of(Stage.BOOTSTRAPPING) == 1
    assert made.suffices_for(90)
    clock.s += 20
    assert not made.suffices_for(90)


def test_one_slow_slice_does_not_end_the_training_early(clock: Clock) -> None:
    steady, disturbed = budget(clock), budget(clock)
    for made in (steady, disturbed):
        for _ in range(4):
            made.published(10, 5.0)
    disturbed.published(10, 50.0)
    clock.s += 60
    assert disturbed.share_of(Stage.BOOTSTRAPPING) == steady.share_of(Stage.BOOTSTRAPPING) > 0


def test_a_look_at_part_of_it_is_scaled_up(clock: Clock) -> None:
    whole, part = budget(clock), budget(clock)
    whole.published(10, 9.0)
    part.published(10, 3.0, share=1 / 3)
    clock.s += 200
    assert whole.share_of(Stage.BOOTSTRAPPING) == part.share_of(Stage.BOOTSTRAPPING)


def test_slow_publishing_leaves_half_of_the_time_to_the_training(clock: Clock) -> None:
    made = budget(clock)
    made.published(1, 10**6)
    clock.s += (1 - LARGEST_SHARE) * 60 * MINUTES - 1
    assert made.share_of(Stage.BOOTSTRAPPING) < 1
    assert not made.suffices_for(1)


def test_what_remains_counts_labellings_and_publishing(clock: Clock) -> None:
    made = budget(clock, minutes=None, slices=10)
    step = StepDone(Stage.BASE_MODEL, 1, 9, {}, 1.0, 40.0)
    assert made.within(step, labellings=2).remaining_s == 40
    made.labelled(7.0)
    made.published(5, 10.0)
    assert made.within(step, labellings=2).remaining_s == 40 + 2 * 7 + 10 * 2
    published = replace(step, stage=Stage.PUBLISHING)
    assert made.within(published).remaining_s == 40
    limited = budget(clock, minutes=1, slices=10)
    limited.labelled(7.0)
    assert limited.within(step, labellings=9).remaining_s == 60


def test_a_run_measures_its_labellings(
    phantoms: Phantoms,
    clock: Clock,
    slow: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("napari_mlbseg.engine.training.course.QUICK_STEPS", 2)
    phantoms.accept("phantom0", 3, 5, 8)
    slow(step_s=1, slice_s=2)
    events = run(phantoms, clock, minutes=None, base_steps=4, steps=2)
    *_, after = (e for e in events if isinstance(e, StepDone) and e.stage is Stage.BASE_MODEL)
    assert after.remaining_s == pytest.approx(2 * 1 + 24 * 2, rel=0.1)  # steps, one labelling

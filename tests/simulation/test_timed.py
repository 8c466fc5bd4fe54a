"""Runs of limited time, measured at marks; told by clocks that only the test moves."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_study import QUICK, Phantoms

from napari_mlbseg.cli.simulations import timing
from napari_mlbseg.engine.events import (
    Event,
    Finished,
    SlicesPublished,
    Stage,
    StageStarted,
    StepDone,
    ValidationScored,
)
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.extents import Extent
from napari_mlbseg.simulation.annotator import Truth, mark_ends
from napari_mlbseg.simulation.clocks import Clock, StopWatch, Timing
from napari_mlbseg.simulation.moments import Observer
from napari_mlbseg.simulation.policies import Policy
from napari_mlbseg.simulation.records import END, Record, read_records, summarise, write_records
from napari_mlbseg.simulation.simulate import Plan, Simulation
from napari_mlbseg.simulation.tables import markdown

AT_ONCE, NEVER = 1e-9, 600.0
PLAN = Plan(
    budgets=(3,),
    policies=(Policy.EVEN,),
    methods=("supervised",),
    seeds=(0,),
    holdout=("phantom2",),
    config=replace(QUICK, base_steps=2, steps=1, slice_size=32),
    timing=Timing((AT_ONCE, NEVER)),
)


@dataclass
class Told:
    """A study of one case whose labels are a number; copying them takes an hour."""

    number: int = 0
    now_s: float = 0.0
    cases: list[Any] = field(default_factory=lambda: [SimpleNamespace(id="a")])


def copied(study: Told, case_id: str) -> Any:
    study.now_s += 3600
    return np.full((1, 2, 2), study.number, dtype=np.uint8)


def step(stage: Stage, number: int) -> StepDone:
    return StepDone(stage, number, 9, {}, 1.0, None)


def test_labels_are_kept_when_a_mark_has_passed_and_copying_takes_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_mlbseg.simulation.moments.exported", copied)
    study: Any = Told()
    happened: list[tuple[float, int, Event]] = [
        (30, 0, step(Stage.BASE_MODEL, 7)),
        (20, 0, ValidationScored(Stage.BASE_MODEL, 7, 0.5, {1: 0.5})),  # 50 s
        (20, 1, SlicesPublished("a", 0, 0, 1, (), 7)),  # 70 s
        (0, 1, StageStarted(Stage.LABELLING, 2)),
        (0, 1, step(Stage.LABELLING, 2)),  # no steps of the network
        (0, 1, StageStarted(Stage.BOOTSTRAPPING, 9)),
        (50, 2, step(Stage.BOOTSTRAPPING, 1)),  # 120 s
        (300, 3, ValidationScored(Stage.BOOTSTRAPPING, 8, 0.7, {1: 0.7})),  # 420 s
        (0, 3, StageStarted(Stage.BOOTSTRAPPING, 9)),  # another round
        (0, 3, step(Stage.BOOTSTRAPPING, 3)),
        (10, 4, Finished(1, 11, False, 430.0)),  # 430 s
    ]

    def events() -> Iterator[Event]:
        for seconds, number, event in happened:
            study.now_s += seconds
            study.number = number
            yield event

    watch = StopWatch(lambda: study.now_s)
    observer = Observer(study, Timing((1.0, 4.0, 5.0, 30.0)), watch, tmp_path / "moments")
    assert list(observer.heard(events())) == [event for _, _, event in happened]
    told = [
        (m.mark_min, round(60 * m.minutes), m.labels()[0].max(), m.steps, m.estimated_dice)
        for m in observer.moments
    ]
    assert told == [
        (1.0, 70, 1, 7, {1: 0.5}),
        (4.0, 420, 3, 8, {1: 0.7}),
        (5.0, 420, 3, 8, {1: 0.7}),
        (30.0, 430, 4, 11, {1: 0.7}),
        (None, 430, 4, 11, {1: 0.7}),
    ]
    assert {m.published_min for m in observer.moments} == {70 / 60}


def test_processor_minutes_are_those_of_all_threads_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "process_time", lambda: 10.0)
    monkeypatch.setattr(time, "perf_counter", lambda: 70.0)
    assert Clock.PROCESSOR.reading(4)() == 2.5
    assert Clock.WALL.reading(4)() == 70.0


@pytest.mark.parametrize("marks", [(), (4.0, 1.0), (1.0, 1.0), (0.0, 1.0), (float("nan"),)])
def test_marks_grow(marks: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match="increasing numbers of minutes"):
        Timing(marks)


@pytest.mark.parametrize("clock", Clock)
def test_a_run_is_measured_at_marks_and_at_its_end(
    cohort: Phantoms, truth_folder: Path, tmp_path: Path, clock: Clock
) -> None:
    plan = replace(PLAN, timing=Timing((AT_ONCE, NEVER), clock))
    made = Simulation(cohort.study, truth_folder, plan, folder=tmp_path / "work", watch=list)
    (records,) = made.records()
    organ = [r for r in records if r.class_name == "organ"]
    assert [(r.mark, r.where) for r in organ] == [
        (AT_ONCE, "exported"),
        (NEVER, "exported"),
        (END, "exported"),
        (END, "held_out"),
    ]
    first, last, end, _ = organ
    assert first.published_min is None
    assert first.steps == 0
    assert last.steps == end.steps == 3
    assert last.published_min is not None
    assert last.published_min <= last.seconds / 60
    assert last.dice == end.dice
    assert last.dice != first.dice
    # At once there are the imported labels with the corrected slices on top.
    imported = [cohort.study.labels.machine(case) for case in ("phantom0", "phantom1")]
    before = [
        cohort.dice(case, labels)
        for case, labels in zip(("phantom0", "phantom1"), imported, strict=True)
    ]
    assert first.dice > np.mean(before)
    assert {r.limit for r in records} == {f"1e-09, 600 min ({clock})"}
    assert not list((tmp_path / "work" / "runs").rglob("*.moments"))
    done = frozenset(r.job for r in records)
    assert list(made.records(done)) == []
    other = replace(plan, timing=Timing((NEVER,), clock))
    again = Simulation(cohort.study, truth_folder, other, folder=tmp_path / "work", watch=list)
    assert len(list(again.records(done))) == 1


def test_ends_are_marked_where_the_truth_has_them(
    cohort: Phantoms, truth_folder: Path, tmp_path: Path
) -> None:
    study = cohort.study
    mark_ends(study, Truth(truth_folder, study))
    for case in study.cases:
        for value, extent in study.extents.effective(case.id, case.axis).items():
            shown = np.flatnonzero((cohort.truth[case.id] == value).any(axis=(1, 2)))
            assert extent == Extent(shown[0], shown[-1])
    plan = replace(PLAN, ends=True)
    made = Simulation(study, truth_folder, plan, folder=tmp_path / "work", watch=list)
    assert all(one.ends_marked for records in made.records() for one in records)


def test_moments_have_rows_of_their_own(tmp_path: Path) -> None:
    one = Record("m", "even", 0, 4, "exported", "organ", 0.5, 0.4, 3.0, 1.0, 1, 9, 60.0, "cpu")
    timed = replace(one, limit="1, 2 min (wall)", mark_min=1.0, dice_in_one_piece=0.6)
    ended = replace(timed, mark_min=None, dice=0.7, estimated_dice=0.9, published_min=0.5)
    others = [replace(r, seed=1, dice=r.dice + 0.1) for r in (timed, ended)]
    write_records(tmp_path / "records.json", [one, timed, ended, *others])
    records = read_records(tmp_path / "records.json")
    rows = summarise(records)
    assert [(row["mark"], row["seeds"]) for row in rows] == [(None, 1), (1.0, 2), (END, 2)]
    assert rows[1]["dice"][0] == pytest.approx(0.55)
    assert rows[1]["published_min"] is None
    assert rows[2]["estimated_dice"][0] == pytest.approx(0.9)
    head, _, *lines = markdown(rows[1:]).splitlines()
    assert "in one piece" in head
    assert "| end | 1, 2 min (wall) | 0.750 ± 0.071 |" in lines[1]
    assert "mark" not in markdown(rows[:1]).splitlines()[0]


def test_clocks_have_names() -> None:
    assert timing("1, 4.5", "processor") == Timing((1.0, 4.5), Clock.PROCESSOR)
    with pytest.raises(UserError, match="no clock 'sand'; choose from wall, processor"):
        timing("1,4", "sand")

"""The loop of a simulation: correct some slices, train, measure, repeat.

Every budget is a fresh run with all slices corrected so far, measured at its end or, if its time is
limited, at marks in time. A user's study would resume from its last checkpoint instead, which is at
least as good in the same time; fresh runs make the budgets independent of each other and comparable
with methods that know no loop, and let all methods of so many steps share one base model.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from napari_mlbseg.engine.config import Config
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study
from napari_mlbseg.simulation.annotator import Truth, take
from napari_mlbseg.simulation.clocks import Timing
from napari_mlbseg.simulation.copies import copy_cases, remove
from napari_mlbseg.simulation.effort import Effort, contours_to_draw_mm, ends_to_click
from napari_mlbseg.simulation.measuring import Measuring
from napari_mlbseg.simulation.methods import method_named
from napari_mlbseg.simulation.policies import Policy, proposals
from napari_mlbseg.simulation.records import Job, Record, of_steps
from napari_mlbseg.simulation.timed import TimedRun, forget_moments, train_for
from napari_mlbseg.simulation.training import Bench, Ran, Watch, train

COHORT, HELD_OUT = "cohort.mlbseg", "held_out.mlbseg"


@dataclass(frozen=True)
class Plan:
    """What is simulated: every combination of these.

    Attributes
    ----------
    budgets
        Numbers of corrected slices, increasing; with suggestions each increase is one batch.
    holdout
        Cases that are kept out of the cohort; the last network predicts them.
    config
        Settings of every run; the method changes some of them, and the seed is added.
    timing
        When each run is measured; None to measure it at its end, after so many steps.
    ends
        Whether the annotator also marks the first and last slice of every class in every case.
    """

    budgets: tuple[int, ...]
    policies: tuple[Policy, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    holdout: tuple[str, ...]
    config: Config
    timing: Timing | None = None
    ends: bool = False

    def __post_init__(self) -> None:
        if not self.budgets or min(self.budgets) < 1 or list(self.budgets) != sorted(self.budgets):
            raise UserError(
                f"The budgets are {self.budgets}; write increasing numbers of slices: 4,8,16."
            )
        for name in self.methods:
            method_named(name)

    @property
    def limit(self) -> str:
        """How long each run is: its timing, or its number of steps."""
        if self.timing is not None:
            return self.timing.in_words
        return of_steps(self.config.base_steps + self.config.steps)


class Simulation:
    """Carries out a plan on a study, which is only read.

    Parameters
    ----------
    truth
        Folder with true labels of all cases, named like their images.
    folder
        Where working copies are kept. A simulation that was stopped resumes from there.
    watch
        Receives the events of every run.
    """

    def __init__(
        self, study: Study, truth: Path, plan: Plan, *, folder: Path, watch: Watch
    ) -> None:
        self._plan, self._folder = plan, folder
        self._cases = [case for case in study.cases if case.id not in plan.holdout]
        others = [study.case(name) for name in plan.holdout]
        if not self._cases:
            raise UserError("No case is left for the cohort. Hold out fewer cases.")
        self._truth = Truth(truth, study)
        self._classes = study.classes
        self._claim(study)
        for path, cases in ((folder / COHORT, self._cases), (folder / HELD_OUT, others)):
            if cases and not (path / "copied").exists():
                remove([path])
                copy_cases(study, cases, path, labels=cases is self._cases)
                (path / "copied").touch()
        self._measuring = Measuring(
            self._truth, study.classes, folder / HELD_OUT if others else None
        )
        self._bench = Bench(folder / COHORT, self._truth, folder, plan.config, watch, plan.ends)

    def records(self, done: frozenset[Job] = frozenset()) -> Iterator[list[Record]]:
        """The records of each run that is not `done`, as soon as it ends."""
        plan = self._plan
        for seed in plan.seeds:
            for policy in plan.policies:
                for name in plan.methods:
                    yield from self._chain(name, policy, seed, done)

    def _chain(
        self, name: str, policy: Policy, seed: int, done: frozenset[Job]
    ) -> Iterator[list[Record]]:
        """One method from the smallest budget to the largest."""
        plan, budgets = self._plan, self._plan.budgets
        folder = self._folder / "runs" / f"{policy}-{seed}-{name}-{_fingerprint(plan)}"
        picked = Picked()
        last: Path | None = None
        for number, budget in enumerate(budgets, start=1):
            # Suggestions depend on the earlier budgets.
            at = folder / f"{'-'.join(map(str, budgets[:number]))}.mlbseg"
            needs_last = policy is Policy.SUGGESTED and picked.keys
            job = Job(name, policy.value, seed, budget, plan.limit, plan.ends)
            known = _read_picks(at)
            if known is None:
                if needs_last and last is not None and not last.exists():
                    self._train(job, picked.keys, last)
                more = self._more(policy, picked.keys, budget, seed, last)
                known = self._corrected(picked, more, last)
                _write_picks(at, known)
            picked, before, last = known, last, at
            if job in done:
                continue
            ran = self._train(job, picked.keys, at)
            yield self._measured(job, ran, at, Effort(picked.contour_mm, budget + self._end_clicks))
            if before is not None:
                remove([before])
        if policy is not Policy.SUGGESTED:
            remove(
                folder.glob("*.mlbseg")
            )  # a larger budget would need suggestions of the last run

    def _more(
        self, policy: Policy, picks: Sequence[SliceKey], budget: int, seed: int, last: Path | None
    ) -> list[SliceKey]:
        """The slices to correct in addition to reach the budget."""
        count = budget - len(picks)
        missing = frozenset(c.value for c in self._classes) if not picks else frozenset()
        trained = Study.open(last, writable=False) if last and last.exists() else None
        try:
            proposed = proposals(
                policy, self._cases, clean=picks, count=count, seed=seed, trained=trained
            )
        finally:
            if trained is not None:
                trained.close()
        return take(proposed, count, truth=self._truth, missing=missing)

    def _corrected(self, picked: "Picked", more: Sequence[SliceKey], last: Path | None) -> "Picked":
        """The slices so far and those to correct now, with the contours that are drawn on these.

        The annotator sees the labels of the `last` run, or those that the cohort came with.
        """
        keys = (*picked.keys, *more)
        shown = self._folder / COHORT if last is None else last
        if picked.contour_mm is None or not shown.exists():
            return Picked(keys, None)
        with Study.open(shown, writable=False) as study:
            drawn_mm = contours_to_draw_mm(study, self._truth, more)
        return Picked(keys, round(picked.contour_mm + drawn_mm, 1))

    @cached_property
    def _end_clicks(self) -> int:
        """The clicks that mark where structures begin and end, if the annotator does so."""
        return ends_to_click(self._cases, self._classes, self._truth) if self._plan.ends else 0

    def _train(self, job: Job, picks: Sequence[SliceKey], at: Path) -> Ran | TimedRun:
        method, timing = method_named(job.method), self._plan.timing
        if timing is None:
            return train(self._bench, method, picks, job.seed, at)
        return train_for(self._bench, method, picks, job.seed, at, timing)

    def _measured(self, job: Job, ran: Ran | TimedRun, at: Path, effort: Effort) -> list[Record]:
        if isinstance(ran, TimedRun):
            records = self._measuring.over_time(job, ran, at, effort)
            forget_moments(at)
            return records
        steps = self._plan.config.base_steps + self._plan.config.steps
        return self._measuring.after_steps(job, ran, steps, at, effort)

    def _claim(self, study: Study) -> None:
        """Claim the folder for this simulation; raises UserError if it belongs to another."""
        about = {
            "study": str(study.path),
            "cohort": [case.id for case in self._cases],
            "held_out": list(self._plan.holdout),
            "classes": [_known_by(c) for c in self._classes],
        }
        path = self._folder / "simulation.json"
        self._folder.mkdir(parents=True, exist_ok=True)
        if path.exists() and json.loads(path.read_text(encoding="utf-8")) != about:
            raise UserError(
                f"{self._folder} belongs to a simulation with another study or other cases. "
                "Delete it, or write the records to another file."
            )
        path.write_text(json.dumps(about), encoding="utf-8")


@dataclass(frozen=True)
class Picked:
    """The slices corrected so far, and the length of the contours drawn; None if unknown."""

    keys: tuple[SliceKey, ...] = ()
    contour_mm: float | None = 0.0


def _known_by(one: LabelClass) -> int | list[int | bool | None]:
    """The value of a class, and what is said of it where something is."""
    return [one.value, one.most_pieces, one.no_holes] if one.is_tidied else one.value


def _fingerprint(plan: Plan) -> str:
    """A few letters that identify the settings."""
    told = json.dumps([plan.config.to_dict(), plan.limit, plan.ends])
    return hashlib.sha256(told.encode()).hexdigest()[:8]


def _picks_path(at: Path) -> Path:
    return at.with_suffix(".json")


def _read_picks(at: Path) -> Picked | None:
    try:
        found = json.loads(_picks_path(at).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    if isinstance(found, list):  # written before contours were measured
        found = {"slices": found, "contour_mm": None}
    keys = tuple(SliceKey(case_id, axis, index) for case_id, axis, index in found["slices"])
    return Picked(keys, found["contour_mm"])


def _write_picks(at: Path, picked: Picked) -> None:
    at.parent.mkdir(parents=True, exist_ok=True)
    slices = [[k.case_id, k.axis, k.index] for k in picked.keys]
    text = json.dumps({"slices": slices, "contour_mm": picked.contour_mm})
    _picks_path(at).write_text(text, encoding="utf-8")

"""The runs of a simulation: the unchanged engine on working copies."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import (
    Event,
    Failed,
    Inbox,
    RunStarted,
    Stage,
    StageStarted,
    Stop,
    ValidationScored,
)
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study
from napari_mlbseg.simulation.annotator import Truth, correct, mark_ends
from napari_mlbseg.simulation.copies import AUTHOR, copy_study
from napari_mlbseg.simulation.methods import Method

Watch = Callable[[Iterable[Event]], object]
"""Consumes all events of a run and shows them to the user."""

DONE = "done.json"
STUDY = "cohort.mlbseg"


@dataclass(frozen=True)
class Ran:
    """The outcome of a run; `estimated_dice` by class value, empty without validation slices."""

    seconds: float
    device: str
    estimated_dice: dict[int, float]


@dataclass(frozen=True)
class Bench:
    """What all runs share: the cohort without human work, its truth, and a folder to work in.

    `ends` says whether the annotator also marks the first and last slice of every class.
    """

    cohort: Path
    truth: Truth
    folder: Path
    config: Config
    watch: Watch
    ends: bool = False


def train(bench: Bench, method: Method, picks: Sequence[SliceKey], seed: int, at: Path) -> Ran:
    """Train a method on corrected slices in a fresh copy of the cohort at `at`, and predict it.

    Methods that start from the base model share one for the same slices and seed: it is trained
    once, and its time counts for each of them.
    """
    settings = replace(bench.config, seed=seed, publish_share=0.01)  # the end publishes all
    if method.from_base:
        base, before_s = _base_model(bench, picks, settings)
        copy_study(base, at)
    else:
        before_s = 0.0
        copy_study(bench.cohort, at)
    with Study.open(at, author=AUTHOR) as study:
        if not method.from_base:
            prepare(bench, study, picks)
        ran = _run(study, replace(method.config(settings), resume=method.from_base), bench.watch)
    return replace(ran, seconds=ran.seconds + before_s)


def prepare(bench: Bench, study: Study, picks: Sequence[SliceKey]) -> None:
    """Do in a fresh study what the annotator does before the run."""
    correct(study, bench.truth, picks)
    if bench.ends:
        mark_ends(study, bench.truth)


def _base_model(bench: Bench, picks: Sequence[SliceKey], settings: Config) -> tuple[Path, float]:
    """A study with its base model and initial labels, and how many seconds they took."""
    told: list[object] = [
        bench.config.to_dict(),
        settings.seed,
        [[k.case_id, k.axis, k.index] for k in picks],
    ]
    if bench.ends:
        told.append("ends marked")
    folder = bench.folder / "base" / hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
    done = folder / DONE
    if not done.exists():
        copy_study(bench.cohort, folder / STUDY)
        with Study.open(folder / STUDY, author=AUTHOR) as study:
            prepare(bench, study, picks)
            config = replace(settings, steps=0, resume=False)
            ran = _run(study, config, bench.watch, until=Stage.BOOTSTRAPPING)
        done.write_text(json.dumps({"seconds": ran.seconds}), encoding="utf-8")
    return folder / STUDY, float(json.loads(done.read_text(encoding="utf-8"))["seconds"])


def _run(study: Study, config: Config, watch: Watch, *, until: Stage | None = None) -> Ran:
    """Drive the engine to its end, or stop it when a stage begins; its state is saved."""
    inbox, listener = Inbox(), Listener()
    began = time.perf_counter()
    watch(listener.heard(Bootstrapper(study, config).events(inbox), inbox, until))
    return Ran(time.perf_counter() - began, listener.device, listener.estimated)


class Listener:
    """Collects facts about a run from its events; raises if the run fails."""

    def __init__(self) -> None:
        self.device, self.estimated = "", dict[int, float]()

    def heard(self, events: Iterable[Event], inbox: Inbox, until: Stage | None) -> Iterator[Event]:
        """The same events; the run is stopped when the stage `until` begins."""
        for event in events:
            if isinstance(event, Failed):
                raise event.error()
            if isinstance(event, RunStarted):
                self.device = event.device
            elif isinstance(event, ValidationScored):
                self.estimated = dict(event.dice_per_class)
            elif isinstance(event, StageStarted) and event.stage is until:
                inbox.put(Stop())
            yield event

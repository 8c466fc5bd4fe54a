"""Runs of limited time, measured at some moments."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import Inbox
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study
from napari_mlbseg.simulation.clocks import StopWatch, Timing
from napari_mlbseg.simulation.copies import AUTHOR, copy_study
from napari_mlbseg.simulation.methods import Method
from napari_mlbseg.simulation.moments import Moment, Observer
from napari_mlbseg.simulation.training import Bench, Listener, Watch, prepare


@dataclass(frozen=True)
class TimedRun:
    """The device of a run, and what there was at its marks and at its end."""

    device: str
    moments: tuple[Moment, ...]

    @property
    def end(self) -> Moment:
        """The end of the run."""
        return self.moments[-1]


def train_for(
    bench: Bench, method: Method, picks: Sequence[SliceKey], seed: int, at: Path, timing: Timing
) -> TimedRun:
    """Train a method on corrected slices in a fresh copy of the cohort at `at`, for some time.

    Nothing is shared with other methods: each run starts with the images.
    """
    copy_study(bench.cohort, at)
    with Study.open(at, author=AUTHOR) as study:
        prepare(bench, study, picks)
        config = method.config(replace(bench.config, seed=seed))
        return timed_run(study, config, timing, moments_of(at), bench.watch)


def timed_run(study: Study, config: Config, timing: Timing, folder: Path, watch: Watch) -> TimedRun:
    """Drive the engine until its time is over; keep the labels of each moment in `folder`."""
    threads = config.threads or os.cpu_count() or 1
    clock = StopWatch(timing.clock.reading(threads))
    listener, observer = Listener(), Observer(study, timing, clock, folder)
    config = replace(config, minutes=timing.limit_min, resume=False)
    inbox = Inbox()
    events = Bootstrapper(study, config, clock=clock.now).events(inbox)
    watch(observer.heard(listener.heard(events, inbox, None)))
    return TimedRun(listener.device, tuple(observer.moments))


def forget_moments(at: Path) -> None:
    """Delete the labels that were kept of a run."""
    shutil.rmtree(moments_of(at), ignore_errors=True)


def moments_of(at: Path) -> Path:
    """Where the labels of a run are kept, beside its study."""
    return at.with_suffix(".moments")

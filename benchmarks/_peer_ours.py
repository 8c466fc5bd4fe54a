"""Our arms of `peers.py`: the engine as the window runs it, and plain supervision."""

from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

import torch
from _peer_data import Row, Setting, scored

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.data.source import spans_of
from napari_mlbseg.engine.events import Event
from napari_mlbseg.engine.predictions.publisher import Publisher
from napari_mlbseg.engine.session.learning import cosine
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.study import Study
from napari_mlbseg.simulation.annotator import Truth, correct
from napari_mlbseg.simulation.clocks import Clock, Timing
from napari_mlbseg.simulation.copies import copy_study
from napari_mlbseg.simulation.scoring import exported
from napari_mlbseg.simulation.timed import timed_run


def of_ours(arm: str, setting: Setting, folder: Path) -> list[Row]:
    """One run with all marks; plain supervision has a training of its own for each."""
    torch.set_num_threads(setting.threads)
    if arm == "supervised":
        return [row for m in setting.marks_min for row in supervised(setting, m, folder)]
    return run(setting, Timing(setting.marks_min, Clock(setting.clock)), folder)


def supervised(setting: Setting, mark: float, folder: Path) -> list[Row]:
    """Train the network of the base model on all clean slices until a mark, then predict."""
    changes = {"seed": setting.seed, "weights": "none", "validation_share": 0.0}
    config = Config.from_dict(setting.config.to_dict() | changes)
    at = copy_study(setting.study, folder / "study.mlbseg")
    with Study.open(at, author="benchmark") as study:
        correct(study, Truth(setting.truth, study), setting.picks)
        now = Clock(setting.clock).reading(setting.threads)
        began, steps = now(), 0
        trainer = Trainer(study, config)
        trainer.read_clean_slices()
        while (share := (now() - began) / 60 / mark) < 1:
            trainer.base_step(learning_rate=config.learning_rate * cosine(share))
            steps += 1
        trained = now()
        if steps:
            publish_everything(study, trainer)
        about = {"steps": steps, "trained_min": (trained - began) / 60}
        about |= {"mark_min": mark, "labels_min": (now() - began) / 60}
        found = {case.id: exported(study, case.id) for case in study.cases}
    return scored(setting, found, about)


def publish_everything(study: Study, trainer: Trainer) -> None:
    """Write the predictions of all slices, as the engine does at the end of a run."""
    views = trainer.prediction_views
    publisher = Publisher(study, trainer.source, trainer.model, views=views, weigh=None)
    for case in study.cases:
        study.arrays.create(case.id, ArrayName.PREDICTION)
        for span in spans_of(trainer.source, case):
            publisher.publish(span, parameters=trainer.parameters, direction=None, step=1)


def run(setting: Setting, timing: Timing, folder: Path) -> list[Row]:
    """Run the engine on a fresh copy of the cohort, and measure it at its marks."""
    at = copy_study(setting.study, folder / "study.mlbseg")
    config = Config.from_dict(setting.config.to_dict() | {"seed": setting.seed})
    with Study.open(at, author="benchmark") as study:
        correct(study, Truth(setting.truth, study), setting.picks)
        ran = timed_run(study, config, timing, folder / "moments", consume)
        names = [case.id for case in study.cases]
    rows = []
    for moment in ran.moments:
        if moment.mark_min is not None:
            found = dict(zip(names, moment.labels(), strict=True))
            about: Row = {"mark_min": moment.mark_min, "steps": moment.steps}
            about |= {"labels_min": moment.minutes, "first_shown_min": moment.published_min}
            told = moment.estimated_dice
            rows += scored(setting, found, about | {"told": fmean(told.values()) if told else None})
    return rows


def consume(events: Iterable[Event]) -> None:
    """Do nothing with the events of a run."""
    for _ in events:
        pass

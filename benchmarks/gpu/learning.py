"""Minutes of real training on left atria, with the Dice of held-out scans over time.

Two settings, side by side on one device: the field's protocol with eight labelled scans (every
slice of them clean, the other scans of the cohort without labels), and sixteen even slices of
twelve scans. Held out are the last ten of the list `train`. Both run for the same time with the
default settings; the predictions for the held-out scans are measured whenever a checkpoint is
saved, and at the end. Nothing is filtered and nothing selected: the final network counts.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import _part
import _shared
import numpy as np

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import (
    CheckpointSaved,
    Failed,
    Finished,
    Inbox,
    StageStarted,
    StepDone,
)
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.predictions.other_cases import predict_other_cases
from napari_mlbseg.engine.predictions.suggestions import evenly_spread_slices
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.importing.cohort import import_images
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study
from napari_mlbseg.simulation.annotator import Truth, cohort_slices, correct

SETTINGS = ("eight scans", "sixteen slices")
HELD_OUT = 10
FINISHING_S = 60.0
"""Seconds of a part for importing the scans before training and predicting them after it."""


def main() -> None:
    options = _part.options(__doc__)
    work = [(setting, options) for setting in SETTINGS]
    if options.tiny:
        found = [learn(*each) for each in work]
    else:
        with multiprocessing.get_context("spawn").Pool(len(SETTINGS)) as pool:
            found = pool.starmap(learn, work)
    for setting, content in zip(SETTINGS, found, strict=True):
        _shared.show(f"Held-out Dice: {setting}", content["rows"])
        print({k: v for k, v in content.items() if k != "rows"})


def learn(setting: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train, and measure at every checkpoint."""
    at = options.json.with_name(f"{options.json.stem}_{setting.split()[0]}.json")
    content: dict[str, Any] = {"setting": setting, "rows": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        cohort, held_out = names(setting, options)
        with (
            study_of(path / "cohort.mlbseg", cohort, options) as study,
            study_of(path / "others.mlbseg", held_out, options) as others,
        ):
            truth = options.data / "la" / "labels"
            picks = list(picked(setting, study, options))
            correct(study, Truth(truth, study), picks)
            config = settings(options)
            content |= {"cohort": len(cohort), "held_out": len(held_out), "clean": len(picks)}
            for row in trained(study, others, Truth(truth, others), config):
                content["rows"].append(row)
                _part.write(at, content)
            exported = dice(study, Truth(truth, study))
            content["exported_dice"] = fmean(exported.values())
    dices = [row["held_out_dice"] for row in content["rows"] if "held_out_dice" in row]
    if dices:
        content |= {"final": dices[-1], "best_on_test": max(dices)}
    _part.write(at, content)
    return content


def settings(options: argparse.Namespace) -> Config:
    if options.tiny:
        return Config(
            device=options.device, base_steps=2, steps=1, slice_size=32, dimensions="2d", threads=1
        )
    minutes = max(0.2, (options.seconds - FINISHING_S) / 60)
    return Config(device=options.device, minutes=minutes, steps=10**6, validation_share=0.0)


def names(setting: str, options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The available scans: those of the cohort, and the held-out ones."""
    folder = options.data / "la"
    splits = json.loads((folder / "splits.json").read_text(encoding="utf-8"))
    there = [n for n in splits["train"] if (folder / "images" / f"{n}.nii.gz").exists()]
    if options.tiny:
        return there[:1], there[-1:]
    held_out = [n for n in there if n in splits["train"][-HELD_OUT:]]
    cohort = [n for n in there if n not in held_out]
    return cohort if setting == "eight scans" else cohort[:12], held_out


def study_of(path: Path, names: Sequence[str], options: argparse.Namespace) -> Study:
    study = Study.create(path, author="truth")
    study.set_classes([LabelClass(1, "left atrium", (230, 159, 0))])
    import_images(study, [options.data / "la" / "images" / f"{n}.nii.gz" for n in names], {})
    return study


def picked(setting: str, study: Study, options: argparse.Namespace) -> Iterator[SliceKey]:
    if setting == "eight scans":
        yield from cohort_slices(study.cases[: 1 if options.tiny else 8])
    else:
        spread = evenly_spread_slices(study.cases, seed=0)
        yield from (key for key, _ in zip(spread, range(16), strict=False))


def trained(study: Study, others: Study, truth: Truth, config: Config) -> Iterator[dict[str, Any]]:
    """A row for every checkpoint; the time spent measuring does not count."""
    began, measuring_s = time.perf_counter(), 0.0
    step, stages = "", dict[str, float]()
    for event in Bootstrapper(study, config).events(Inbox()):
        if isinstance(event, Failed):
            yield {"error": event.message + event.details}
        elif isinstance(event, StepDone):
            step = f"{event.stage.value}, {event.step}"
        elif isinstance(event, StageStarted):
            first = time.perf_counter() - began - measuring_s
            stages.setdefault(f"{event.stage.value}_began_s", first)
        elif isinstance(event, (CheckpointSaved, Finished)):
            since = time.perf_counter()
            found = held_out(study, others, truth)
            yield {
                "seconds": since - began - measuring_s,
                "after": "the end" if isinstance(event, Finished) else step,
                "held_out_dice": fmean(found.values()),
                "lowest": min(found.values()),
                **stages,
            }
            measuring_s += time.perf_counter() - since


def held_out(study: Study, others: Study, truth: Truth) -> dict[str, float]:
    for _ in predict_other_cases(study, others):
        pass
    return {
        case.id: overlap(
            others.arrays.open(case.id, ArrayName.PREDICTION)[:], truth.volume(case.id)
        )
        for case in others.cases
    }


def dice(study: Study, truth: Truth) -> dict[str, float]:
    """Dice of the labels that would be exported."""
    return {c.id: overlap(study.labels.working(c.id), truth.volume(c.id)) for c in study.cases}


def overlap(found: Any, truth: Any) -> float:
    a, b = np.asarray(found) == 1, truth == 1
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


if __name__ == "__main__":
    main()

"""How long an annotator waits: from accepting a slice to its new prediction and weight maps.

    python benchmarks/latency.py --json docs/latency.json

A study with some clean slices is trained with the default network. Meanwhile slices are put on view
one after the other, saved with their true masks and accepted at random moments. Time is measured
from before the mask is saved to the event that all three arrays of the slice on view are new; only
arrays count that were made after the engine took the slice into account.

The slices are of the 2018 Left Atrium challenge (the folder `la` of MLBSEG_DATA, by default
../shared/data) or, where that is absent, of phantoms.
"""

import argparse
import json
import math
import queue
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import _shared
import numpy as np
import torch
from _shared import LA as LA
from numpy.typing import NDArray

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import (
    CleanSlicesChanged,
    Event,
    Failed,
    Finished,
    Focus,
    Inbox,
    RunStarted,
    SliceAccepted,
    SlicesPublished,
    Stage,
    StageStarted,
    StepDone,
    Stop,
)
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.formats.registry import read_labels
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.importing.cohort import import_folder, import_images
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.samples import make_phantom_cohort

WANTED = {
    ArrayName.PREDICTION,
    ArrayName.META_WEIGHTS_INITIAL,
    ArrayName.META_WEIGHTS_PSEUDO,
}
PATIENCE_S = 300.0
GOAL_S = {"cpu": 2.0, "cuda": 0.3}

Truth = Mapping[str, NDArray[np.uint8]]


def main() -> None:
    options = parse()
    config = Config(
        base_steps=options.base_steps,
        steps=10**6,
        device=options.device,
        slice_size=options.slice_size,
        threads=options.threads,
    )
    with tempfile.TemporaryDirectory() as folder:
        study, truth, data = make_study(Path(folder), options)
        with study:
            clean, later = choose(study, truth, options.clean, options.accepts)
            for key in clean:
                accept(study, key, truth)
            about, accepts = measure(study, config, truth, later)
    summary = summarise([a["seconds"] for a in accepts], about["device"].split(":")[0])
    about |= _shared.about(torch=torch.__version__, data=data) | {"config": config.to_dict()}
    _shared.show("From accepting a slice to its new prediction and weights, s", [summary])
    print(f"{data}; {about['network']} on {about['device']}, {about['steps_per_s']:.1f} steps/s")
    if options.json:
        record = {"about": about, "summary": summary, "accepts": accepts}
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    parser.add_argument("--accepts", type=int, default=24, help="slices to accept while training")
    parser.add_argument("--clean", type=int, default=16, help="clean slices at the start")
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--base-steps", type=int, default=60)
    parser.add_argument("--slice-size", type=int, help="by default that of the engine")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--phantoms", action="store_true", help="even where the scans are there")
    parser.add_argument("--quick", action="store_true", help="tiny, to try it out")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.quick:
        tiny = {"accepts": 3, "clean": 4, "cases": 2, "base_steps": 2, "slice_size": 32}
        vars(options).update(tiny, phantoms=True)
    return options


# --- the study ------------------------------------------------------------------------------------


def make_study(folder: Path, options: argparse.Namespace) -> tuple[Study, Truth, str]:
    """Left atria without labels, or phantoms with rough ones; the true masks; a description."""
    study = Study.create(folder / "latency.mlbseg", author="truth")
    if LA.is_dir() and not options.phantoms:
        names = json.loads((LA / "splits.json").read_text())["labelled_8"][: options.cases]
        study.set_classes([LabelClass(1, "left atrium", (230, 159, 0))])
        import_images(study, [LA / "images" / f"{n}.nii.gz" for n in names], {})
        truth, data = LA / "labels", f"{len(names)} left atria"
    else:
        cohort = make_phantom_cohort(folder / "phantoms", cases=options.cases)
        import_folder(study, cohort.images, cohort.labels)
        truth, data = cohort.truth, f"{options.cases} phantoms"
    masks = {case.id: read_labels(truth / f"{case.id}.nii.gz")[0].voxels for case in study.cases}
    return study, masks, data


def choose(
    study: Study, truth: Truth, clean: int, accepts: int
) -> tuple[list[SliceKey], list[SliceKey]]:
    """Slices that are clean from the start, and others to accept; both show every class."""
    classes = len(study.classes)
    keys = [
        SliceKey(case.id, case.axis, index)
        for case in study.cases
        for index in range(case.geometry.shape[case.axis])
        if len(np.unique(np.take(truth[case.id], index, case.axis))) == classes + 1
    ]
    random.Random(0).shuffle(keys)
    if len(keys) < clean + accepts:
        raise SystemExit(f"Only {len(keys)} slices show every class; ask for fewer.")
    return keys[:clean], keys[clean : clean + accepts]


def accept(study: Study, key: SliceKey, truth: Truth) -> None:
    mask = np.ascontiguousarray(np.take(truth[key.case_id], key.index, key.axis))
    study.save_slice(key, mask.astype(np.uint8), SliceState.CLEAN)


# --- the clock ------------------------------------------------------------------------------------


class Engine:
    """The loop in a thread of its own; events arrive with their time stamps."""

    def __init__(self, study: Study, config: Config) -> None:
        self.inbox = Inbox()
        self._events: queue.SimpleQueue[tuple[float, Event]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(study, config), daemon=True)
        self._thread.start()
        self.steps: list[tuple[float, int]] = []

    def wait_for(self, wanted: Callable[[Event], bool]) -> tuple[float, Event]:
        """The first event from now on that is `wanted`."""
        while True:
            at, event = self._events.get(timeout=PATIENCE_S)
            if isinstance(event, StepDone) and event.stage is Stage.BOOTSTRAPPING:
                self.steps.append((at, event.step))
            if isinstance(event, Failed):
                raise SystemExit(event.message + event.details)
            if wanted(event):
                return at, event

    def stop(self) -> None:
        self.inbox.put(Stop())
        self.wait_for(lambda e: isinstance(e, Finished))
        self._thread.join()

    def _run(self, study: Study, config: Config) -> None:
        for event in Bootstrapper(study, config).events(self.inbox):
            self._events.put((time.perf_counter(), event))


def measure(
    study: Study, config: Config, truth: Truth, later: list[SliceKey]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What was trained, and one record for each accepted slice."""
    engine, rng = Engine(study, config), random.Random(1)
    _, started = engine.wait_for(lambda e: isinstance(e, RunStarted))
    assert isinstance(started, RunStarted)
    engine.wait_for(lambda e: isinstance(e, StageStarted) and e.stage is Stage.BOOTSTRAPPING)
    records = []
    for key in later:
        engine.inbox.put(Focus(key))
        engine.wait_for(partial(is_new, key=key))
        time.sleep(rng.uniform(0.0, 1.5))
        records.append(accept_and_wait(engine, study, key, truth))
    engine.stop()
    (first, start), (last, stop) = engine.steps[0], engine.steps[-1]
    about = {
        "device": started.device,
        "network": started.network,
        "parameters": started.parameters,
        "steps_per_s": (stop - start) / max(last - first, 1e-9),
    }
    return about, records


def accept_and_wait(engine: Engine, study: Study, key: SliceKey, truth: Truth) -> dict[str, Any]:
    began = time.perf_counter()
    accept(study, key, truth)
    saved = time.perf_counter()
    engine.inbox.put(SliceAccepted(key))
    noticed, _ = engine.wait_for(lambda e: isinstance(e, CleanSlicesChanged))
    at, _ = engine.wait_for(lambda e: is_new(e, key))
    return {
        "case": key.case_id,
        "index": key.index,
        "seconds": at - began,
        "saving_s": saved - began,
        "noticing_s": noticed - saved,
    }


def is_new(event: Event, key: SliceKey) -> bool:
    """Whether all three arrays of a slice are new."""
    return (
        isinstance(event, SlicesPublished)
        and (event.case_id, event.axis) == (key.case_id, key.axis)
        and event.start <= key.index < event.stop
        and {a.value for a in WANTED} <= set(event.arrays)
    )


def summarise(seconds: list[float], device: str) -> dict[str, Any]:
    ordered = sorted(seconds)
    return {
        "accepts": len(seconds),
        "median": statistics.median(seconds),
        "p95": ordered[math.ceil(0.95 * len(ordered)) - 1],
        "max": ordered[-1],
        "goal": GOAL_S.get(device),
    }


if __name__ == "__main__":
    main()

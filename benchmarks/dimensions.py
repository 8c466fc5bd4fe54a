"""Slices, slices with neighbours, or volumes: results for the same processor time.

    python benchmarks/dimensions.py --json docs/dimensions.json

Left atria (isotropic, the folder `la` of MLBSEG_DATA, by default ../shared/data) or phantoms. The
true masks of two slices a volume are clean, spread over the heights. With each kind of input a base
model is trained for a given processor time, labels every volume, and is bootstrapped for the same
time again; the learning rate follows the same cosine over its share of the time. Dice is measured
over whole volumes, on the final network and without filtering of components.
"""

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _shared
import latency
import numpy as np
import torch

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.data.source import spans_of
from napari_mlbseg.engine.nets.network import count_parameters
from napari_mlbseg.engine.predictions.publisher import Publisher
from napari_mlbseg.engine.session.learning import cosine
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study

Row = dict[str, Any]


def main() -> None:
    options = parse()
    rows = []
    for dimensions in options.dimensions:
        # In a process of its own, so that leftovers of one do not count as memory of the next.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            data, row = pool.apply(in_process, (dimensions, options))
        rows.append(row)
        _shared.show(f"{data}, {options.seconds} s + {options.seconds} s", rows)
        if options.json:
            about = _shared.about(torch=torch.__version__, data=data)
            record = {"about": about | {"seconds": options.seconds}, "rows": rows}
            options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--dimensions", nargs="+", default=["2d", "2.5d", "3d"])
    parser.add_argument("--seconds", type=float, default=75.0, help="processor time of a stage")
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--clean", type=int, default=8, help="clean slices over all cases")
    parser.add_argument("--slice-size", type=int, help="by default that of the engine")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda", "mps"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--phantoms", action="store_true", help="even where the scans are there")
    parser.add_argument("--quick", action="store_true", help="tiny, to try it out")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.quick:
        vars(options).update(seconds=0.5, cases=2, clean=4, slice_size=48, phantoms=True)
    return options


def in_process(dimensions: str, options: argparse.Namespace) -> tuple[str, Row]:
    """The data of the study, and the measurements."""
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        study, truth, data = latency.make_study(Path(folder), options)
        with study:
            for key in spread(study, options.clean):
                latency.accept(study, key, truth)
            return data, measure(study, truth, dimensions, options)


def spread(study: Study, count: int) -> list[SliceKey]:
    """Slices at `count` heights between 20 and 80 percent, dealt to the cases in turn."""
    heights = np.random.default_rng(0).permutation(np.linspace(0.2, 0.8, count))
    keys = []
    for number, height in enumerate(heights):
        case = study.cases[number % len(study.cases)]
        index = round(float(height) * (case.geometry.shape[case.axis] - 1))
        keys.append(SliceKey(case.id, case.axis, index))
    return keys


def measure(
    study: Study, truth: latency.Truth, dimensions: str, options: argparse.Namespace
) -> Row:
    """A base model, its labels, the bootstrapping after it, and predictions of all volumes."""
    config = Config.from_dict(
        {
            "dimensions": dimensions,
            "device": options.device,
            "slice_size": options.slice_size,
            "seed": options.seed,
            "validation_share": 0,
        }
    )
    trainer = Trainer(study, config)
    trainer.read_clean_slices()
    publisher = Publisher(
        study,
        trainer.source,
        trainer.model,
        views=trainer.prediction_views,
        weigh=trainer.weighting.scores,
    )
    spans = [span for case in study.cases for span in spans_of(trainer.source, case)]
    _shared.forget_peak()
    base_steps = train(trainer.base_step, options.seconds)
    for span in spans:
        publisher.label(
            span, parameters=trainer.parameters, step=0, arrays=[ArrayName.INITIAL_LABELS]
        )
    initial = dice(study, truth, ArrayName.INITIAL_LABELS)
    steps = train(trainer.bootstrap_step, options.seconds)
    peak = _shared.peak_mb()
    began = time.process_time()
    for span in spans:
        publisher.publish(span, parameters=trainer.parameters, direction=None, step=1)
    predicting = (time.process_time() - began) / len(study.cases)
    return {
        "dimensions": dimensions,
        "sample": trainer.source.unit,
        "parameters": count_parameters(trainer.state.network),
        "base steps": base_steps,
        "s/base step": options.seconds / base_steps,
        "steps": steps,
        "s/step": options.seconds / steps,
        "peak MB": peak,
        "s/volume predicted": predicting,
        "Dice initial": initial,
        "Dice final": dice(study, truth, ArrayName.PREDICTION),
    }


def train(step: Callable[..., object], seconds: float) -> int:
    """Take steps until the processor time is over; returns how many."""
    began, steps, used = time.process_time(), 0, 0.0
    while used < seconds:
        step(learning_rate=Config().learning_rate * cosine(used / seconds))
        steps += 1
        used = time.process_time() - began
    return steps


def dice(study: Study, truth: latency.Truth, name: ArrayName) -> float:
    """Mean over cases and classes; an empty prediction scores 0."""
    found = []
    for case in study.cases:
        voxels, true = np.asarray(study.arrays.open(case.id, name)[:]), truth[case.id]
        for c in study.classes:
            ours, theirs = voxels == c.value, true == c.value
            found.append(2 * int((ours & theirs).sum()) / max(1, int(ours.sum() + theirs.sum())))
    return statistics.mean(found)


if __name__ == "__main__":
    main()

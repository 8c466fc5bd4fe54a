"""How long an annotator waits: for the first overlay, and after accepting a slice.

The study is that of benchmarks/latency.py: four left atria with sixteen clean slices.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import _part
import _shared
import latency

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import (
    Event,
    Failed,
    Focus,
    Inbox,
    SlicesPublished,
    StageStarted,
    Stop,
)
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study

DIMENSIONS = ("2.5d", "3d")
ACCEPTS = 12
SHOWN = {ArrayName.PREDICTION.value, ArrayName.INITIAL_LABELS.value}


def main() -> None:
    options = _part.options(__doc__)
    began = time.perf_counter()
    rows: list[dict[str, Any]] = []
    for dimensions in DIMENSIONS[:1] if options.tiny else DIMENSIONS:
        for measure in (first_overlay, after_accepting):
            if time.perf_counter() - began < options.seconds:
                rows.append(measured(measure, dimensions, options))
                _part.write(options.json, {"rows": rows})
    _shared.show("Waits, s", rows)


def measured(
    measure: Callable[[Study, latency.Truth, Config, list[SliceKey]], dict[str, Any]],
    dimensions: str,
    options: argparse.Namespace,
) -> dict[str, Any]:
    tiny = options.tiny
    setting = argparse.Namespace(cases=1 if tiny else 4, phantoms=tiny)
    config = Config.from_dict({"device": options.device, "dimensions": dimensions})
    if tiny:
        config = replace(config, base_steps=2, slice_size=32, threads=1)
    latency.LA = options.data / "la"
    with tempfile.TemporaryDirectory() as folder:
        study, truth, _ = latency.make_study(Path(folder), setting)
        with study:
            clean, later = latency.choose(study, truth, *((4, 2) if tiny else (16, ACCEPTS)))
            for key in clean:
                latency.accept(study, key, truth)
            return {"dimensions": dimensions, **measure(study, truth, config, later)}


def first_overlay(
    study: Study, truth: latency.Truth, config: Config, later: list[SliceKey]
) -> dict[str, Any]:
    """From Start to the first labels of the slice on view, with the default settings."""
    inbox, key = Inbox(), later[0]
    inbox.put(Focus(key))
    began = time.perf_counter()
    shown_s, stages = None, {}
    for event in Bootstrapper(study, config).events(inbox):
        if isinstance(event, Failed):
            return {"wait": "first overlay", "error": event.message}
        if isinstance(event, StageStarted):
            stages[f"{event.stage.value}_began_s"] = time.perf_counter() - began
        if shown_s is None and shows(event, key):
            shown_s = time.perf_counter() - began
            inbox.put(Stop())
    return {"wait": "first overlay", "seconds": shown_s, "goal": 20.0, **stages}


def shows(event: Event, key: SliceKey) -> bool:
    return (
        isinstance(event, SlicesPublished)
        and (event.case_id, event.axis) == (key.case_id, key.axis)
        and event.start <= key.index < event.stop
        and not SHOWN.isdisjoint(event.arrays)
    )


def after_accepting(
    study: Study, truth: latency.Truth, config: Config, later: list[SliceKey]
) -> dict[str, Any]:
    """From accepting a slice to its new prediction and weight maps, while training."""
    short = replace(config, base_steps=min(config.base_steps, 60), steps=10**6)
    about, accepts = latency.measure(study, short, truth, later)
    device = about["device"].split(":")[0]
    summary = latency.summarise([a["seconds"] for a in accepts], device)
    return {
        "wait": "accept to overlay",
        "seconds": summary["median"],
        "goal": summary["goal"],
        "largest": summary["max"],
        "saving_s": sum(a["saving_s"] for a in accepts) / len(accepts),
        "noticing_s": sum(a["noticing_s"] for a in accepts) / len(accepts),
        "steps_per_s": about["steps_per_s"],
    }


if __name__ == "__main__":
    main()

"""Whether a study of hundreds of CTs needs more memory than a study of a few.

    python benchmarks/memory.py --json docs/memory.json

Two studies, of 3 and of 300 cases, each case an int16 image of 300 x 512 x 512 with initial labels.
The cases of a study share their files on disk (hard links), which the engine cannot know. On each
study the engine takes some steps in a process of its own, with cases drawn at random, and publishes
blocks of predictions and weights; the kernel reports the peak memory of the process.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeGuard

import _shared
import numpy as np

from napari_mlbseg.engine.config import Config, Device
from napari_mlbseg.engine.events import (
    Event,
    Failed,
    Focus,
    Inbox,
    SlicesPublished,
    Stage,
    StepDone,
    Stop,
)
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.project.arrays.store import ARRAYS_NAME
from napari_mlbseg.project.catalogue.catalogue import Catalogue
from napari_mlbseg.project.catalogue.database import Database
from napari_mlbseg.project.folder.place import Place
from napari_mlbseg.project.records.cases import LabelClass, NewCase
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import CATALOGUE_NAME, Study
from napari_mlbseg.volume import Geometry, Volume

CLEAN_SLICES = 8
BYTES_A_VOXEL = 3  # int16 image and uint8 labels


def main() -> None:
    options = parse()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        first = make_first(Path(folder) / "first.mlbseg", tuple(options.shape))
        for cases in options.cases:
            path = Path(folder) / f"{cases}.mlbseg"
            multiply(first, path, cases)
            found = in_process(path, options)
            logical = BYTES_A_VOXEL * cases * int(np.prod(options.shape)) / 1e6
            rows.append({"cases": cases, "logical_mb": logical, **found})
            shutil.rmtree(path)
    _shared.show(f"{' x '.join(map(str, options.shape))} voxels a case", rows)
    machine = _shared.machine_memory_mb()
    ratio = rows[-1]["peak_mb"] / rows[0]["peak_mb"]
    print(
        f"Peak memory of {rows[-1]['cases']} cases is {ratio:.3f} times that of "
        f"{rows[0]['cases']}; the machine has {machine:.0f} MB."
    )
    if rows[-1]["logical_mb"] <= machine:
        print("The larger study would fit into this machine's memory: ask for more --cases.")
    if options.json:
        about = _shared.about() | {"shape": options.shape, "machine_mb": machine}
        record = {"about": about, "rows": rows, "ratio": ratio}
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cases", type=int, nargs=2, default=[3, 300])
    parser.add_argument("--shape", type=int, nargs=3, default=[300, 512, 512], help="z y x")
    parser.add_argument("--steps", type=int, default=40, help="bootstrapping steps")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda", "mps"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--quick", action="store_true", help="tiny, to try it out")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.quick:
        vars(options).update(cases=[2, 6], shape=[12, 64, 64], steps=2)
    return options


# --- the studies ----------------------------------------------------------------------------------


def make_first(path: Path, shape: tuple[int, int, int]) -> Path:
    """A study of one case: a noisy ball of tissue, labelled too far to one side."""
    z, y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    ball = z[:, None, None] ** 2 + y[None, :, None] ** 2 + x**2 < 0.5
    image = np.random.default_rng(0).integers(-40, 40, shape, dtype=np.int16)
    image[ball] += 100
    geometry = Geometry.from_affine(shape[::-1], np.diag([-0.7, -0.7, 1.5, 1.0]))
    rough = Volume(np.roll(ball, shape[2] // 16, axis=2).astype(np.uint8), geometry)
    with Study.create(path) as study:
        study.set_classes([LabelClass(1, "ball", (230, 159, 0))])
        image_path, labels_path = path / "ct.nii", path / "rough.nii"
        volume, source = Volume(image, geometry), SourceInfo("nifti", b"")
        case = study.add_cases([NewCase("ct", image_path, volume, source, labels_path, rough)])[0]
        depth = shape[case.axis]
        for index in np.linspace(0.25 * depth, 0.75 * depth, CLEAN_SLICES).astype(int):
            mask = np.take(ball, int(index), case.axis).astype(np.uint8)
            study.save_slice(SliceKey("ct", case.axis, int(index)), mask, SliceState.CLEAN)
    return path


def multiply(first: Path, path: Path, cases: int) -> None:
    """The same study with that many cases, whose arrays are links to those of the first."""
    shutil.copytree(first, path, copy_function=os.link)
    (path / CATALOGUE_NAME).unlink()
    shutil.copy(first / CATALOGUE_NAME, path)
    names = [f"ct{number:03d}" for number in range(1, cases)]
    for name in names:
        arrays = path / ARRAYS_NAME
        shutil.copytree(arrays / "ct", arrays / name, copy_function=os.link)
    database = Database(path / CATALOGUE_NAME, Place(path), writable=True, author="benchmark")
    catalogue = Catalogue(database)
    catalogue.add_cases([replace(catalogue.case("ct"), id=name) for name in names])
    database.close()


# --- the run --------------------------------------------------------------------------------------


def in_process(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The memory that a fresh process needed."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    arguments = (path, options.steps, options.device, options.threads, sender)
    process = context.Process(target=measure, args=arguments)
    process.start()
    sender.close()
    try:
        found: dict[str, Any] = receiver.recv()
    except EOFError:
        raise SystemExit(f"The run on {path.name} died (exit code {process.exitcode}).") from None
    process.join()
    return found


def measure(
    path: Path, steps: int, device: Device, threads: int | None, sender: Connection
) -> None:
    """Train for some steps and publish meanwhile; send the peak and what was done."""
    config = Config(base_steps=2, steps=10**6, device=device, threads=threads, seed=1)
    began, inbox, published, done = time.perf_counter(), Inbox(), 0, 0
    with Study.open(path) as study:
        case = study.cases[-1]
        inbox.put(Focus(SliceKey(case.id, case.axis, case.geometry.shape[case.axis] // 2)))
        opened = _shared.resident_mb()
        for event in Bootstrapper(study, config).events(inbox):
            if isinstance(event, Failed):
                raise SystemExit(event.message + event.details)
            published += isinstance(event, SlicesPublished)
            if is_step(event) and published:
                done = event.step
                if done >= steps:
                    inbox.put(Stop())
    sender.send(
        {
            "opened_mb": opened,
            "peak_mb": _shared.peak_mb(),
            "steps": done,
            "published": published,
            "seconds": time.perf_counter() - began,
        }
    )


def is_step(event: Event) -> TypeGuard[StepDone]:
    return isinstance(event, StepDone) and event.stage is Stage.BOOTSTRAPPING


if __name__ == "__main__":
    main()

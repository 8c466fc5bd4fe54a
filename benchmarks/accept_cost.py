"""Whether one more accepted slice costs more, the more slices are clean already.

    python benchmarks/accept_cost.py --json docs/accept_cost.json

A study of imported labels is trained while slices of it are accepted, with 10, 100 and 1,000 clean
slices before. Of each the clock measures three parts, in milliseconds that passed and that were
computed; where others use the machine, the time on an idle one lies between the two:

saving
    the mask is checked, packed and brought down to the disk;
showing
    what the panels of the window ask the study for: counts of the case, slices that nobody looked
    at, the state of the slice (painting them is the same, however many slices are clean);
taking up
    from the end of a step until the training goes on with the new clean slices: reading, choosing
    validation slices, judging imported labels.

The medians are compared with those of the fewest clean slices in the same run.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import _shared
import numpy as np
import torch
from _shared import timed
from numpy.typing import NDArray

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import (
    CleanSlicesChanged,
    Event,
    Failed,
    Inbox,
    Pause,
    Paused,
    Resume,
    Resumed,
    SliceAccepted,
    StepDone,
    Stop,
)
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.project.records.cases import LabelClass, NewCase
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Geometry, Volume
from napari_mlbseg.widgets.case.unseen import Unseen
from napari_mlbseg.widgets.requests import CaseRow

DEPTH = 80
PARTS = ("saving", "showing", "taking up")

Times = dict[str, tuple[float, float]]


def main() -> None:
    options = parse()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for side in options.sides:
            rows += measured(Path(folder) / f"{side}.mlbseg", side, options)
    _shared.show("One more accepted slice, ms (medians)", rows)
    if options.json:
        about = _shared.about(torch=torch.__version__) | {"accepts": options.accepts}
        record = {"about": about, "rows": rows}
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sides", type=int, nargs="+", default=[320, 512], help="of a slice")
    parser.add_argument("--clean", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--accepts", type=int, default=9, help="slices to accept with so many")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="tiny, to try it out")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.quick:
        vars(options).update(sides=[64], clean=[10, 40], accepts=3)
    return options


# --- the study ------------------------------------------------------------------------------------


def mask_of(index: int, side: int) -> NDArray[np.uint8]:
    """An organ with a lesion and a ragged outline, another one in every slice."""
    rng = np.random.default_rng(index)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    angle = np.arctan2(y, x)
    waves = [a * np.sin(k * angle + p) for k, (a, p) in enumerate(rng.normal(size=(24, 2)), 1)]
    radius = side * (0.25 + 0.008 * np.sum(waves, axis=0))
    inside = np.hypot(y, x)
    found: NDArray[np.uint8] = (inside < radius).astype(np.uint8)
    found += inside < radius / 3
    return found


def make_study(path: Path, side: int, slices: int) -> Study:
    """Cases with at least so many slices and rough labels; every slice shows every class."""
    study = Study.create(path, author="benchmark")
    study.set_classes(
        [LabelClass(1, "organ", (230, 159, 0)), LabelClass(2, "lesion", (0, 120, 180))]
    )
    geometry = Geometry.from_affine((side, side, DEPTH), np.diag([-1.0, -1.0, 3.0, 1.0]))
    truth = np.stack([mask_of(index, side) for index in range(DEPTH)])
    image = Volume((300 + 150 * truth.astype(np.int16)), geometry)
    rough = Volume(np.roll(truth, side // 16, axis=2), geometry)
    info = SourceInfo("nifti", b"")
    study.add_cases(
        NewCase(f"case_{n:02}", path / f"{n}.nii", image, info, path / f"{n}_labels.nii", rough)
        for n in range(-(-slices // DEPTH))
    )
    return study


def accept(study: Study, key: SliceKey, mask: NDArray[np.uint8]) -> None:
    study.save_slice(key, mask, SliceState.CLEAN)


# --- the clock ------------------------------------------------------------------------------------


class Loop:
    """The engine's events, asked for one by one; it rests in between."""

    def __init__(self, study: Study, config: Config) -> None:
        self._inbox = Inbox()
        self._events = Bootstrapper(study, config).events(self._inbox)

    def until(self, kind: type[Event]) -> None:
        """Go on to the next event of a kind."""
        for event in self._events:
            if isinstance(event, Failed):
                raise SystemExit(event.message + event.details)
            if isinstance(event, kind):
                return

    def come_between_steps(self, key: SliceKey) -> None:
        """Stand where a step has ended and an accepted slice is taken up next."""
        self._inbox.put(Pause())
        self.until(Paused)
        self._inbox.put(SliceAccepted(key))
        self._inbox.put(Resume())
        self.until(Resumed)

    def stop(self) -> None:
        self._inbox.put(Stop())
        for _ in self._events:
            pass


def measured(path: Path, side: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each number of clean slices."""
    most = max(options.clean)
    rows: list[dict[str, Any]] = []
    with make_study(path, side, most + len(options.clean) * (options.accepts + 1)) as study:
        keys = (SliceKey(c.id, c.axis, i) for i in range(DEPTH) for c in study.cases)
        for count in sorted(options.clean):
            while len(study.slices.clean()) < count:
                key = next(keys)
                accept(study, key, mask_of(key.index, side))
            times = some_accepts(study, keys, side, options)
            rows.append(row_of(side, count, times, rows[0] if rows else None))
    return rows


def some_accepts(
    study: Study, keys: Iterator[SliceKey], side: int, options: argparse.Namespace
) -> list[Times]:
    """Accept some slices while the study is trained; the first is a warm-up."""
    config = Config(
        base_steps=10**6,
        device="cpu",
        dimensions="2d",
        slice_size=32,
        threads=options.threads,
        resume=False,
    )
    loop, unseen, times = Loop(study, config), Unseen(), []
    loop.until(StepDone)
    for key in (next(keys) for _ in range(options.accepts + 1)):
        mask = mask_of(key.index, side)
        found = {"saving": timed(partial(accept, study, key, mask))}
        found["showing"] = timed(partial(show, study, unseen, key))
        loop.come_between_steps(key)
        found["taking up"] = timed(lambda: loop.until(CleanSlicesChanged))
        times.append(found)
    loop.stop()
    return times[1:]


def show(study: Study, unseen: Unseen, key: SliceKey) -> None:
    """What the panels ask for once a slice was accepted."""
    unseen.forget()
    CaseRow.of(study, key.case_id)
    unseen.slices_of(study, key.case_id, key.axis)
    study.slices.record(key)


def row_of(
    side: int, count: int, times: list[Times], smallest: dict[str, Any] | None
) -> dict[str, Any]:
    row: dict[str, Any] = {"side": side, "clean slices": count}
    for part in PARTS:
        passed, computed = zip(*(found[part] for found in times), strict=True)
        row[part] = statistics.median(passed)
        row[f"{part}, cpu"] = statistics.median(computed)
    row["all"] = sum(row[part] for part in PARTS)
    row["all, cpu"] = sum(row[f"{part}, cpu"] for part in PARTS)
    for name in ("all", "all, cpu"):
        row[f"{name}: ratio"] = row[name] / (smallest or row)[name]
    return row


if __name__ == "__main__":
    main()

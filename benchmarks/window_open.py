"""How long the window takes to show a 512 x 512 x 800 CT, and to step through it.

    LIBGL_ALWAYS_SOFTWARE=1 QT_API=pyqt6 xvfb-run -a -s "-screen 0 1600x1000x24" \\
        python benchmarks/window_open.py --json docs/window_open.json

First a study of that size is made (with initial labels, prediction, weights and trust), in a
temporary folder or, to measure again, in ``--study``. "First slice" runs from asking for the
case to the pixels on the screen: the window is open, the case has never been read by this process.
"cpu" is the CPU time of all threads of the process: on a busy machine, the time that an idle one
would take lies between the two. Memory is that of the process with the window, minus what
it had before the case.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import napari
import numpy as np
from _shared import about, forget_peak, peak_mb, resident_mb, show, timed
from numpy.typing import NDArray
from qtpy.QtWidgets import QApplication

from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.cases import LabelClass, NewCase
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Geometry
from napari_mlbseg.widgets.case.annotation import Annotation
from napari_mlbseg.widgets.dock import MLBSegDock, open_dock

SHAPE = (800, 512, 512)
GEOMETRY = Geometry.from_affine(SHAPE[::-1], np.diag([-0.7, -0.7, 1.0, 1.0]))
PLANES = ("axial", "coronal", "sagittal")


class Source:
    """A synthetic volume that is generated sixteen slices at a time."""

    geometry = GEOMETRY

    def __init__(self, dtype: str, slice_of: Callable[[int], NDArray[Any]]) -> None:
        self.dtype, self._slice_of = np.dtype(dtype), slice_of

    def slabs(self) -> Iterator[tuple[int, int, NDArray[Any]]]:
        for start in range(0, SHAPE[0], 16):
            stack = [self._slice_of(z) for z in range(start, start + 16)]
            yield 0, start, np.stack(stack).astype(self.dtype)


def make(path: Path) -> None:
    """Noise on a smooth body, about as compressible as a CT, and round organs."""
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 12, SHAPE[1:]) for _ in range(5)]
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    body = 40 * np.sin(y / 60) * np.cos(x / 70)

    def organs(z: int) -> NDArray[Any]:
        radius = 60 + 50 * np.sin(z / 100)
        first = (y - 200) ** 2 + (x - 200) ** 2 < radius**2
        second: NDArray[np.bool_] = (y - 370) ** 2 + (x - 370) ** 2 < radius**2 / 2
        return np.asarray(first + 2 * second)

    image = Source("i2", lambda z: body + z / 8 + noise[z % 5])
    labels = Source("u1", organs)
    trust = Source("f2", lambda z: np.clip(0.8 + noise[z % 5] / 24, 0, 1))
    with Study.create(path) as study:
        study.set_classes(
            [LabelClass(1, "one", (230, 160, 0)), LabelClass(2, "two", (0, 120, 180))]
        )
        info = SourceInfo("nifti", b"")
        study.add_cases([NewCase("ct", path / "ct.nii", image, info, path / "l.nii", labels)])
        for name, source in (
            (ArrayName.PREDICTION, labels),
            (ArrayName.PROPOSED_LABELS, labels),
            (ArrayName.TRUST, trust),
            (ArrayName.META_WEIGHTS_INITIAL, trust),
        ):
            study.arrays.create("ct", name)
            for _, start, slab in source.slabs():
                study.arrays.write("ct", name, 0, start, slab)


def painted() -> None:
    """Let the window finish drawing."""
    for _ in range(3):
        QApplication.processEvents()


def told(what: str, *times: tuple[float, float]) -> dict[str, object]:
    passed, computed = zip(*times, strict=True)
    if len(times) == 1:
        return {f"{what}: ms": passed[0], f"{what}: cpu ms": computed[0]}
    return {
        f"{what}: ms (median)": statistics.median(passed),
        f"{what}: ms (95 %)": sorted(passed)[int(0.95 * len(passed))],
        f"{what}: cpu ms (median)": statistics.median(computed),
        f"{what}: cpu ms (95 %)": sorted(computed)[int(0.95 * len(computed))],
    }


def measure(study: Path) -> dict[str, object]:
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1400, 900)
    dock = open_dock(viewer)
    painted()
    before = resident_mb()
    forget_peak()

    def first() -> None:
        dock.workbench.open_study(study)
        viewer.screenshot(canvas_only=True, flash=False)

    row = told("first slice", timed(first))
    for axis, name in enumerate(PLANES):
        row |= browse(dock, axis, name)
    row |= paint(dock)
    row["memory MB"] = resident_mb() - before
    row["peak MB"] = peak_mb() - before
    dock.workbench.shut_down()
    viewer.close()
    return row


def browse(dock: MLBSegDock, axis: int, name: str) -> dict[str, object]:
    """Turn to a plane, and step through forty of its slices as if scrolling."""
    annotation = dock.workbench.annotation
    assert annotation is not None

    def turn() -> None:
        annotation.show_axis(axis)
        while annotation.key.axis != axis:
            QApplication.processEvents()
        painted()

    turned = told(f"{name}, turn", timed(turn)) if axis else {}
    steps = []
    for index in range(200, 280):
        steps.append(timed(partial(shown, annotation, index)))
        time.sleep(0.02)
    jumps = [timed(partial(shown, annotation, index)) for index in (20, 400, 90, 300)]
    return turned | told(f"{name}, step", *steps) | told(f"{name}, jump", *jumps)


def shown(annotation: Annotation, index: int) -> None:
    annotation.go_to(index)
    painted()


def paint(dock: MLBSegDock) -> dict[str, object]:
    """Dabs of the brush on an axial slice, and what saving the draft costs."""
    annotation = dock.workbench.annotation
    assert annotation is not None
    annotation.show_axis(0)
    while annotation.key.axis != 0:
        QApplication.processEvents()
    annotation.go_to(300)
    layer = annotation.layers.working
    label = 0 if layer.data[300, 256, 100] else 2  # a study that is measured again is painted on
    dabs = [timed(partial(layer.paint, (300, 256, x), label)) for x in range(100, 140)]
    saved, accepted = timed(annotation.flush), timed(annotation.commands.accept)
    return told("dab", *dabs) | told("save", saved) | told("accept and go on", accepted)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--study", type=Path, help="made there once, and kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = options.study or Path(folder) / "ct.mlbseg"
        if not study.exists():
            make(study)
        found = measure(study)
    show("512 x 512 x 800 in the window", [{"what": k, "value": v} for k, v in found.items()])
    if options.json is not None:
        head = about(napari=napari.__version__) | {"shape": SHAPE, "load": os.getloadavg()[0]}
        options.json.write_text(json.dumps({**head, "window": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()

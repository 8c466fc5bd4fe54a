"""How quickly the window answers, beside bare napari in the same process.

    LIBGL_ALWAYS_SOFTWARE=1 QT_API=pyqt6 xvfb-run -a -s "-screen 0 1600x1000x24" \\
        python benchmarks/window.py --json docs/window.json

A study of seven left atria with imported labels, and the same volumes as plain layers of a bare
viewer. "wall" is what passed until the canvas was drawn; "main" is the CPU time of the main thread
meanwhile, which a busy machine hardly changes. Ticks are those of a timer of 5 ms: a window that
computes for long lets it wait. Training takes two threads, on a machine with two cores all of it.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import napari
import nibabel as nib
import numpy as np
from _shared import LA, about, show
from qtpy import QtTest
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtWidgets import QApplication, QWidget

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import Event, StepDone, Stop
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.importing.classes import named
from napari_mlbseg.project.importing.cohort import import_images
from napari_mlbseg.project.study import Study
from napari_mlbseg.samples import make_phantom_cohort
from napari_mlbseg.widgets.dock import MLBSegDock, open_dock

QTest: Any = QtTest.QTest  # the stubs of PyQt6 take its functions for methods
Row = dict[str, Any]
MAPS = (ArrayName.TRUST, ArrayName.META_WEIGHTS_INITIAL, ArrayName.META_WEIGHTS_PSEUDO)
CASES = 7
ACCEPTS = 8
TICK_MS = 5
LEFT, NO_KEY = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
TRAINING = Config(minutes=30, device="cpu", threads=2)


@dataclass(frozen=True)
class Cohort:
    """Images and labels of each case, as files."""

    images: Sequence[Path]
    labels: dict[str, Path]
    classes: str


def main() -> None:
    options = parse()
    seconds = 1.0 if options.quick else 20.0
    with tempfile.TemporaryDirectory() as folder:
        cohort = phantoms(Path(folder)) if options.quick else atria()
        path = Path(folder) / "study.mlbseg"
        make(path, cohort)
        rows = [*bare(cohort, seconds), *ours(path, seconds)]
    show("The window: milliseconds", rows)
    if options.json is not None:
        head = about(napari=napari.__version__) | {"load": os.getloadavg()[0]}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"about": head, "rows": rows}, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--quick", action="store_true", help="phantoms, and a second of each")
    return parser.parse_args()


# --- what is shown --------------------------------------------------------------------------------


def atria() -> Cohort:
    names = json.loads((LA / "splits.json").read_text())["train"][:CASES]
    images = [LA / "images" / f"{name}.nii.gz" for name in names]
    labels = {name: LA / "labels" / f"{name}.nii.gz" for name in names}
    return Cohort(images, labels, "left atrium")


def phantoms(folder: Path) -> Cohort:
    made = make_phantom_cohort(folder / "phantoms", cases=3)
    labels = {path.name.removesuffix(".nii.gz"): path for path in made.labels.iterdir()}
    return Cohort(sorted(made.images.iterdir()), labels, "organ, lesion")


def make(path: Path, cohort: Cohort) -> None:
    """A study with imported labels, blank maps and a prediction."""
    with Study.create(path, author="benchmark") as study:
        study.set_classes(named(cohort.classes))
        import_images(study, cohort.images, cohort.labels)
        for case in study.cases:
            for name in (*MAPS, ArrayName.PREDICTION):
                study.arrays.create(case.id, name)


# --- bare napari ----------------------------------------------------------------------------------


def bare(cohort: Cohort, seconds: float) -> Iterator[Row]:
    """The same layers, from memory, without the plugin."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1400, 900)
    names = list(cohort.labels)
    volumes = [
        tuple(np.asarray(nib.load(p).dataobj).T for p in (image, cohort.labels[name]))  # type: ignore[attr-defined]
        for image, name in zip(cohort.images, names, strict=True)
    ]

    def change(place: int) -> None:
        viewer.layers.clear()
        image, labels = volumes[place]
        viewer.add_image(image)
        for name in MAPS:
            viewer.add_image(np.zeros(image.shape, np.float16), name=name, visible=False)
        for contour in (1, 2):
            viewer.add_labels(labels, visible=contour == 2).contour = contour
        viewer.add_labels(labels.astype(np.uint8)).mode = "paint"

    change(0)
    yield timed(
        "bare napari", "change of case", [partial(change, place) for place in places(volumes)]
    )
    yield from ticks("bare napari", viewer, seconds)
    viewer.close()


# --- the plugin -----------------------------------------------------------------------------------


def ours(path: Path, seconds: float) -> Iterator[Row]:
    """The dock, without training and during one."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1400, 900)
    started, computed = time.perf_counter(), time.thread_time()
    dock = open_dock(viewer)
    drawn()
    opened = time.perf_counter() - started, time.thread_time() - computed
    yield row("the dock opens", "ours", [opened])
    bench = dock.workbench
    bench.open_study(path)
    drawn()
    assert bench.study is not None
    cases = [case.id for case in bench.study.cases]

    def changes() -> list[Callable[[], object]]:
        return [partial(bench.view.choose, cases[place]) for place in places(cases)]

    yield timed("ours", "change of case", changes())
    yield timed("ours", "accept by key", [partial(accept, dock)] * ACCEPTS)
    yield from ticks("ours", viewer, seconds)
    with training(dock):
        yield timed("ours, training", "change of case", changes())
        yield timed("ours, training", "accept by key", [partial(accept, dock)] * ACCEPTS)
        yield from ticks("ours, training", viewer, seconds)
        started = time.perf_counter()
        bench.send(Stop())
        until(lambda: not bench.bridge.running)
        yield row("stop", "ours, training", [(time.perf_counter() - started, 0.0)])
    bench.shut_down()
    viewer.close()


def accept(dock: MLBSegDock) -> None:
    """The key, over the canvas."""
    window = dock.window()
    assert window is not None
    QTest.keyClick(canvas_of(window), Qt.Key.Key_A, Qt.KeyboardModifier.ShiftModifier)


@contextmanager
def training(dock: MLBSegDock) -> Iterator[None]:
    """A training that has taken its first steps."""
    steps: list[Event] = []
    dock.workbench.engine_event.connect(
        lambda event: steps.append(event) if isinstance(event, StepDone) else None
    )
    assert dock.workbench.train(TRAINING)
    until(lambda: bool(steps))
    yield
    dock.workbench.bridge.stop(60)


# --- measuring ------------------------------------------------------------------------------------


def places(cases: Sequence[object]) -> list[int]:
    """Each case once, beginning with the second."""
    return [*range(1, len(cases)), 0]


def timed(
    who: str,
    what: str,
    actions: Sequence[Callable[[], object]],
) -> Row:
    """Each action until the canvas is drawn."""
    found = []
    for action in actions:
        started, computed = time.perf_counter(), time.thread_time()
        action()
        drawn()
        found.append((time.perf_counter() - started, time.thread_time() - computed))
        wait(0.05)
    return row(what, who, found)


def row(what: str, who: str, found: Sequence[tuple[float, float]]) -> Row:
    """Milliseconds of wall time and of the main thread's CPU time."""
    passed, computed = 1e3 * np.array(found).T
    return {
        "what": what,
        "who": who,
        "wall, median": float(np.median(passed)),
        "wall, 99 %": float(np.percentile(passed, 99)),
        "wall, max": float(passed.max()),
        "main, median": float(np.median(computed)),
        "main, 99 %": float(np.percentile(computed, 99)),
        "main, max": float(computed.max()),
    }


def ticks(who: str, viewer: napari.Viewer, seconds: float) -> Iterator[Row]:
    """How far ticks lie apart with the hands off, and while painting."""
    canvas = canvas_of(viewer.window._qt_window)
    yield apart("ticks, hands off", who, seconds, lambda: None)
    middle, moved = canvas.rect().center(), [0]
    QTest.mousePress(canvas, LEFT, NO_KEY, middle)

    def paint() -> None:
        moved[0] += 1
        angle = moved[0] / 9
        reach = 20 + moved[0] % 90
        by = QPoint(round(reach * np.cos(angle)), round(reach * np.sin(angle)))
        QTest.mouseMove(canvas, middle + by)

    yield apart("ticks, painting", who, seconds, paint)
    QTest.mouseRelease(canvas, LEFT, NO_KEY, middle)


def apart(what: str, who: str, seconds: float, act: Callable[[], object]) -> Row:
    """The gaps between ticks, of wall time and of the main thread's own CPU time."""
    seen: list[tuple[float, float]] = []
    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.setInterval(TICK_MS)

    def tick() -> None:
        seen.append((time.perf_counter(), time.thread_time()))
        if len(seen) % 4 == 0:
            act()

    timer.timeout.connect(tick)
    timer.start()
    wait(seconds)
    timer.stop()
    return row(what, who, list(np.diff(np.array(seen), axis=0)))


def canvas_of(window: QWidget) -> QWidget:
    return next(c for c in window.findChildren(QWidget) if "CanvasBackend" in str(type(c)))


def drawn() -> None:
    """Let the window finish drawing."""
    for _ in range(3):
        QApplication.processEvents()


def wait(seconds: float) -> None:
    end = time.perf_counter() + seconds
    until(lambda: time.perf_counter() > end)


def until(done: Callable[[], bool]) -> None:
    """Run the event loop until something is done."""
    while not done():
        QApplication.processEvents()
        time.sleep(0.001)


if __name__ == "__main__":
    main()

"""Takes pictures of the window in each of its states, to be looked at one by one.

    python scripts/screens.py [--out build/screens] [--size 1366 768] [--theme light]

The phantom cohort takes the place of a study; what an engine would tell is told at once, and its
predictions, trust and meta-weights are made from the true masks: trust is low, and labels count
less, where the rough labels are wrong. Without options all states are taken in both themes, on a
small screen and, in a process of its own, with everything twice as large.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import napari
import numpy as np
from qtpy.QtWidgets import QApplication
from scipy import ndimage
from screenshot import settle

from napari_mlbseg.engine import events as ev
from napari_mlbseg.engine.config import Config
from napari_mlbseg.formats.registry import read_labels
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.importing.cohort import make_study
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.samples import PhantomCohort, make_phantom_cohort
from napari_mlbseg.widgets.background.bridge import EventSource
from napari_mlbseg.widgets.dock import MLBSegDock, open_dock

ROOT: Final = Path(__file__).parents[1]
SIZES: Final = ((1920, 1080), (1366, 768))
THEMES: Final = ("dark", "light")
CASES: Final = 3
ACCEPTED: Final = (8, 14, 20)
STEPS: Final = 400


def main() -> None:
    """Take all pictures, or those of one size and theme."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "screens")
    parser.add_argument("--size", nargs=2, type=int)
    parser.add_argument("--theme", choices=THEMES)
    given = parser.parse_args()
    if given.size is not None and given.theme is not None:
        take(given.out, (given.size[0], given.size[1]), given.theme)
        return
    for size in SIZES:
        for theme in THEMES:
            _in_a_process_of_its_own(given.out, size, theme, scale="1")
    _in_a_process_of_its_own(given.out / "doubled", SIZES[0], THEMES[0], scale="2")


def _in_a_process_of_its_own(out: Path, size: tuple[int, int], theme: str, scale: str) -> None:
    arguments = ["--out", str(out), "--size", *map(str, size), "--theme", theme]
    environment = os.environ | {"QT_SCALE_FACTOR": scale}
    subprocess.run([sys.executable, __file__, *arguments], env=environment, check=True)


def take(out: Path, size: tuple[int, int], theme: str) -> None:
    """Go through all states in one window."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        path = prepared(Path(folder))
        viewer = napari.Viewer(show=True)
        viewer.theme = theme
        scale = float(os.environ.get("QT_SCALE_FACTOR", "1"))
        viewer.window.resize(*(round(side / scale) for side in size))
        try:
            camera = Camera(viewer, open_dock(viewer), out, f"{size[0]}-{theme}")
            go_through(camera, path)
        finally:
            viewer.close()


# --- the study ------------------------------------------------------------------------------------


def prepared(folder: Path) -> Path:
    """A study of phantoms with rough labels, a few accepted slices, and what a training leaves."""
    cohort = make_phantom_cohort(folder / "phantoms", cases=CASES)
    path = folder / "Phantoms.mlbseg"
    study, _ = make_study(path, cohort.images, cohort.labels, "organ, lesion")
    with study:
        for case in study.cases:
            _publish(study, case.id, cohort)
    return path


def _publish(study: Study, case_id: str, cohort: PhantomCohort) -> None:
    truth = read_labels(cohort.truth / f"{case_id}.nii.gz")[0].voxels.astype(np.uint8)
    for index in ACCEPTED:
        key = SliceKey(case_id, 0, index)
        study.save_slice(key, np.ascontiguousarray(truth[index]), SliceState.CLEAN)
    rough = np.asarray(study.arrays.open(case_id, ArrayName.INITIAL_LABELS)[:])
    wrong = ndimage.gaussian_filter((rough != truth).astype(np.float32), (0, 1.5, 1.5))
    arrays = {
        ArrayName.PREDICTION: np.where(wrong > 0.6, rough, truth).astype(np.uint8),
        ArrayName.TRUST: np.clip(1 - 1.5 * wrong, 0, 1).astype(np.float16),
        ArrayName.META_WEIGHTS_INITIAL: np.clip(1.2 - 2 * wrong, 0, 2).astype(np.float16),
        ArrayName.META_WEIGHTS_PSEUDO: np.ones_like(wrong, np.float16),
        ArrayName.PROPOSED_LABELS: truth,
    }
    for name, voxels in arrays.items():
        study.arrays.create(case_id, name)
        study.arrays.write(case_id, name, 0, 0, voxels)


# --- the window -----------------------------------------------------------------------------------


class Camera:
    """Saves pictures of the whole window under the names of its states."""

    def __init__(self, viewer: napari.Viewer, dock: MLBSegDock, out: Path, kind: str) -> None:
        self.viewer, self.dock = viewer, dock
        self._out, self._kind = out, kind
        self._number = 0

    def take(self, state: str) -> None:
        """Take the next picture."""
        self.rest(0.4)
        self._number += 1
        path = self._out / f"{self._kind}-{self._number:02}-{state}.png"
        self.viewer.screenshot(str(path), canvas_only=False, flash=False)
        print(path, flush=True)

    def rest(self, seconds: float) -> None:
        """Let the window catch up."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            QApplication.processEvents()
            time.sleep(0.01)


def told(study: Study, config: Config) -> EventSource:
    """An engine that has done some steps, pauses when asked to, and ends when asked to."""

    def events(inbox: ev.Inbox) -> Iterator[ev.Event]:
        yield ev.RunStarted(1, "cpu", "2.5d unet", 1_200_000, 7, 2, 0)
        yield ev.StageStarted(ev.Stage.BOOTSTRAPPING, STEPS)
        for step in range(10, 250, 10):
            losses = {"clean": 0.6 / step**0.5, "noisy": 0.9 / step**0.4}
            left = 2.0 * (STEPS - step)
            yield ev.StepDone(ev.Stage.BOOTSTRAPPING, step, STEPS, losses, 0.5, left)
            if not step % 40:
                dice = 0.9 - 2 / step
                per_class = {1: dice + 0.02, 2: dice - 0.02}
                yield ev.ValidationScored(ev.Stage.BOOTSTRAPPING, step, dice, per_class, 0.02, 2)
        while True:
            for request in inbox.drain(timeout_s=0.01):
                if isinstance(request, ev.Stop):
                    yield ev.Finished(1, 240, True, 90.0)
                    return
                if isinstance(request, ev.Pause):
                    yield ev.Paused()
                if isinstance(request, ev.Resume):
                    yield ev.Resumed()
            yield ev.Heartbeat()

    return events


def go_through(camera: Camera, path: Path) -> None:
    """All states, one after the other."""
    dock, bench = camera.dock, camera.dock.workbench
    bench.engine = told
    settle(camera.viewer)
    camera.take("empty")
    dock.study_panel.show_busy("Importing phantom_02", 1, CASES)
    dock.study_panel.show_cancel(True)
    camera.take("importing")
    dock.study_panel.show_cancel(False)
    dock.study_panel.show_busy("", 0, 0)
    bench.open_study(path)
    annotate(camera)
    train(camera)
    look(camera)


def annotate(camera: Camera) -> None:
    """Strokes, an answer to them, the tools, and a message that something failed."""
    dock, annotation = camera.dock, camera.dock.workbench.annotation
    assert annotation is not None
    annotation.go_to(11)
    settle(camera.viewer)
    camera.take("annotating")
    layer = annotation.layers.working
    _, rows, columns = annotation.case.geometry.shape
    annotation.paint_with(1)
    layer.brush_size = 3
    with layer.block_history():
        for step in range(12):
            layer.paint((11, rows // 2 + step, columns // 4), 1)
    layer.events.paint(value=[])
    dock.run("answer")
    dock.bring(dock.tools_panel)
    camera.take("answer")
    annotation.answers.drop()
    dock.run("undo")
    dock.habits.planes.toggle()
    camera.rest(3)
    camera.take("planes")
    dock.habits.planes.close()
    dock.message.say("The disk is full: 3 slices could not be saved. Free some space.", error=True)
    camera.take("error")
    dock.message.clear()


def train(camera: Camera) -> None:
    """Training, paused, finished."""
    dock, bench = camera.dock, camera.dock.workbench
    dock.bring(dock.training_panel)
    bench.train(Config())
    dock.training_panel.begin()
    camera.rest(2)
    camera.take("training")
    bench.send(ev.Pause())
    camera.rest(1)
    camera.take("paused")
    bench.send(ev.Stop())
    camera.rest(1)
    camera.take("finished")


def look(camera: Camera) -> None:
    """Trust, meta-weights, the other tabs, and the tour."""
    dock = camera.dock
    for name in ("trust", "weights"):
        dock.run(name)
        camera.take(name)
        dock.run(name)
    for panel, state in (
        (dock.cases_panel, "cases"),
        (dock.suggestions_panel, "suggested"),
        (dock.export_panel, "export"),
    ):
        dock.bring(panel)
        camera.take(state)
    dock.tour.begin()
    camera.take("tour")
    dock.tour.end()


if __name__ == "__main__":
    main()

"""Takes the pictures in docs/images/: a study of real scans in the real window.

    python scripts/screenshots.py [--out docs/images]

Four volumes of the 2018 Left Atrium challenge (the folder `la` of MLBSEG_DATA, by default
../shared/data) become a study, with rough labels: the true masks, grown by a few pixels in every
slice. The true masks of a few slices are accepted; a short training runs in the window. Without
these volumes the phantom cohort takes their place. Everything except the
pictures is written to a temporary folder.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import napari
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from qtpy.QtWidgets import QApplication
from scipy import ndimage
from screenshot import settle

from napari_mlbseg.engine.events import Event, Failed, Finished, Stage, StepDone, ValidationScored
from napari_mlbseg.formats.registry import read_labels, write_labels
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.importing.cohort import make_study
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.samples import make_phantom_cohort
from napari_mlbseg.volume import Volume
from napari_mlbseg.widgets.case.annotation import Annotation
from napari_mlbseg.widgets.case.layers import LAYER_NAMES, WORKING_LABELS
from napari_mlbseg.widgets.dock import MLBSegDock, open_dock
from napari_mlbseg.widgets.requests import case_rows

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("MLBSEG_DATA", ROOT.parent / "shared" / "data")) / "la"
SIZE = (1400, 900)
LARGEST_BYTES = 400_000
CLEAN_SLICES = (6, 5, 5, 4)
GROWN_PX = 4
BASE_STEPS, STEPS = 400, 150
IMAGE, WORKING = LAYER_NAMES[ArrayName.IMAGE], WORKING_LABELS
INITIAL = LAYER_NAMES[ArrayName.INITIAL_LABELS]
PREDICTION = LAYER_NAMES[ArrayName.PREDICTION]
WEIGHTS = LAYER_NAMES[ArrayName.META_WEIGHTS_INITIAL]


@dataclass(frozen=True)
class Cohort:
    """Folders of a cohort, with a file for every image."""

    name: str
    images: Path
    labels: Path
    truth: Path
    classes: str


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        cohort = left_atria(Path(folder)) if DATA.is_dir() else phantoms(Path(folder))
        study = prepare(Path(folder) / f"{cohort.name}.mlbseg", cohort)
        viewer = napari.Viewer(show=True)
        viewer.window.resize(*SIZE)
        try:
            take_all(Photographer(viewer, open_dock(viewer, study), cohort, out))
        finally:
            viewer.close()


# --- the study ------------------------------------------------------------------------------------


def left_atria(folder: Path) -> Cohort:
    """The first four volumes of the list `labelled_8`, under names that fit the dock's table."""
    cases = json.loads((DATA / "splits.json").read_text())["labelled_8"][: len(CLEAN_SLICES)]
    for kind in ("images", "truth", "rough"):
        (folder / kind).mkdir()
    for number, case in enumerate(cases, start=1):
        name = f"atrium_{number:02}.nii.gz"
        (folder / "images" / name).symlink_to((DATA / "images" / f"{case}.nii.gz").resolve())
        (folder / "truth" / name).symlink_to((DATA / "labels" / f"{case}.nii.gz").resolve())
        truth, source = read_labels(folder / "truth" / name)
        rough = Volume(grown(truth.voxels.astype(np.uint8)), truth.geometry)
        write_labels(folder / "rough" / name, rough, source)
    return Cohort(
        "Left atria", folder / "images", folder / "rough", folder / "truth", "left atrium"
    )


def grown(truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Labels (z y x) of a single class that are too large in every slice."""
    y, x = np.mgrid[-GROWN_PX : GROWN_PX + 1, -GROWN_PX : GROWN_PX + 1]
    found = ndimage.binary_dilation(truth, (np.hypot(y, x) <= GROWN_PX)[None])
    return np.asarray(found, dtype=np.uint8)


def phantoms(folder: Path) -> Cohort:
    """The phantom cohort instead."""
    print(f"No left atria at {DATA} (set MLBSEG_DATA): the pictures show phantoms.")
    made = make_phantom_cohort(folder / "phantoms", cases=len(CLEAN_SLICES))
    return Cohort("Phantoms", made.images, made.labels, made.truth, "organ, lesion")


def prepare(path: Path, cohort: Cohort) -> Path:
    """A study in which true masks of a few slices, spread over the heights, are accepted."""
    study, _ = make_study(path, cohort.images, cohort.labels, cohort.classes)
    with study:
        for number, (case, count) in enumerate(zip(study.cases, CLEAN_SLICES, strict=True)):
            truth = true_mask(cohort, case.id)
            shown = np.flatnonzero(truth.any(axis=(1, 2)))
            # Other heights in every case, away from the ends.
            places = (np.arange(count) + (number + 0.5) / len(CLEAN_SLICES)) / count
            places = 0.1 + 0.8 * places
            for index in np.quantile(shown, places, method="nearest").tolist():
                key = SliceKey(case.id, case.axis, index)
                study.save_slice(key, np.ascontiguousarray(truth[index]), SliceState.CLEAN)
    return path


def true_mask(cohort: Cohort, case_id: str) -> NDArray[np.uint8]:
    """The true labels, z y x."""
    return read_labels(cohort.truth / f"{case_id}.nii.gz")[0].voxels.astype(np.uint8)


# --- the window -----------------------------------------------------------------------------------


class Photographer:
    """Works in the window like an annotator, and saves the pictures."""

    def __init__(self, viewer: napari.Viewer, dock: MLBSegDock, cohort: Cohort, out: Path) -> None:
        self.viewer, self.dock, self.cohort, self._out = viewer, dock, cohort, out
        self.events: list[Event] = []
        dock.workbench.engine_event.connect(self._hear)

    @property
    def annotation(self) -> Annotation:
        """The case on view."""
        annotation = self.dock.workbench.annotation
        assert annotation is not None
        return annotation

    def show(self, *names: str, case: int, index: int) -> None:
        """Bring a slice of a case into view, with these layers only."""
        self.dock.workbench.view.choose(case_rows(self.dock.workbench.study)[case].case_id)
        self.annotation.go_to(index)
        for layer in self.viewer.layers:
            if layer.visible != (layer.name in names):
                layer.visible = layer.name in names
        active = next(n for n in (WORKING, WEIGHTS, INITIAL) if n in names)
        self.viewer.layers.selection.active = self.viewer.layers[active]
        if active == WORKING:
            self.annotation.layers.working.mode = "paint"

    def wait_until(self, ready: Callable[[], bool], *, at_most_s: float = 3600) -> None:
        """Process events of the window until a condition holds."""
        deadline = time.monotonic() + at_most_s
        while not ready():
            QApplication.processEvents()
            time.sleep(0.01)
            if time.monotonic() > deadline:
                raise TimeoutError
            if self.events and isinstance(self.events[-1], Failed):
                raise RuntimeError(self.events[-1])

    def rest(self, seconds: float = 1.0) -> None:
        """Let timers and the engine catch up."""
        until = time.monotonic() + seconds
        self.wait_until(lambda: time.monotonic() > until)

    def _hear(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, StepDone) and event.step % 50 == 0:
            print(f"{event.stage.value}: {event.step} of {event.steps}", flush=True)

    def take(self, name: str) -> None:
        """Save a picture of the whole window."""
        settle(self.viewer)
        self.rest(0.5)
        pixels = self.viewer.screenshot(canvas_only=False, flash=False)
        picture = Image.fromarray(np.asarray(pixels)[..., :3])
        path = self._out / f"{name}.png"
        picture.save(path, optimize=True)
        if path.stat().st_size > LARGEST_BYTES:
            picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
        print(f"{path}  {picture.width} x {picture.height}, {path.stat().st_size // 1000} kB")


def take_all(camera: Photographer) -> None:
    """Train in the window, and take pictures on the way."""
    last = len(CLEAN_SLICES) - 1
    truth = true_mask(camera.cohort, case_rows(camera.dock.workbench.study)[last].case_id)
    camera.show(IMAGE, PREDICTION, WORKING, case=last, index=fullest(truth))
    train(camera)
    index = worth_correcting(np.asarray(camera.annotation.layers.working.data), truth)
    camera.show(IMAGE, INITIAL, case=last, index=index)
    camera.take("initial_labels")
    camera.show(IMAGE, WEIGHTS, INITIAL, case=last, index=index)
    camera.take("weights")
    camera.show(IMAGE, PREDICTION, WORKING, case=last, index=index)
    camera.take("prediction")
    correct(camera, truth[index])
    camera.take("correcting")
    first = true_mask(camera.cohort, case_rows(camera.dock.workbench.study)[0].case_id)
    camera.show(IMAGE, PREDICTION, WORKING, case=0, index=fullest(first))
    camera.dock.bring(camera.dock.cases_panel)
    camera.take("window")


def fullest(truth: NDArray[np.uint8]) -> int:
    """The slice with most foreground."""
    return int((truth > 0).sum(axis=(1, 2)).argmax())


def worth_correcting(found: NDArray[np.uint8], truth: NDArray[np.uint8]) -> int:
    """The slice with the largest error that a brush can fix, among slices that are mostly right."""
    same = ((found == truth) & (truth > 0)).sum(axis=(1, 2))
    dice = 2 * same / np.maximum((found > 0).sum(axis=(1, 2)) + (truth > 0).sum(axis=(1, 2)), 1)
    areas = [largest(wrong).sum() for wrong in found != truth]
    large = (truth > 0).sum(axis=(1, 2)) > 0.5 * (truth > 0).sum(axis=(1, 2)).max()
    mostly_right = large & (dice > min(0.8, dice[large].max() - 0.1))
    return int(np.where(mostly_right, areas, -1).argmax())


def largest(wrong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest part without thin rims, or with them if nothing else is left."""
    thick = ndimage.binary_opening(wrong, iterations=2)
    parts, count = ndimage.label(thick if thick.any() else wrong)
    sizes = ndimage.sum_labels(parts > 0, parts, range(1, count + 1))
    return parts == 1 + int(np.argmax(sizes)) if count else np.zeros_like(wrong)


def train(camera: Photographer) -> None:
    """Press Start, take a picture on the way, and wait for the end."""
    panel = camera.dock.training_panel
    camera.dock.bring(panel)
    panel.form.control("steps").setValue(STEPS)
    camera.rest()
    panel.start_requested.emit(replace(panel.config(), base_steps=BASE_STEPS, dimensions="2.5d"))

    def most_is_done() -> bool:
        steps = [e for e in camera.events if isinstance(e, StepDone)]
        scores = [e for e in camera.events if isinstance(e, ValidationScored)]
        on = bool(steps) and steps[-1].stage is Stage.BOOTSTRAPPING
        return on and steps[-1].step > 0.7 * STEPS and len(scores) > 3

    camera.wait_until(most_is_done)
    camera.take("training")
    camera.wait_until(lambda: isinstance(camera.events[-1], Finished))
    camera.rest(2)


def correct(camera: Photographer, truth: NDArray[np.uint8]) -> None:
    """Paint or erase the largest error with round brushes, never across the true border."""
    annotation = camera.annotation
    layer, index = annotation.layers.working, annotation.key.index
    wrong = largest(layer.data[index] != truth)
    if not wrong.any():
        raise SystemExit("The prediction leaves nothing to correct here: train for fewer steps.")
    label = int(np.bincount(truth[wrong]).argmax())
    wrong = ndimage.binary_dilation(wrong, iterations=3) & (truth == label)
    depth = ndimage.distance_transform_edt(truth == label)
    for size in (13, 9, 5, 1):
        layer.brush_size = size
        with layer.block_history():
            for y, x in np.argwhere(wrong & (depth > size / 2)):
                layer.paint((index, y, x), label)
    layer.brush_size = 9
    camera.wait_until(lambda: annotation.state(annotation.key) is SliceState.DRAFT, at_most_s=30)


if __name__ == "__main__":
    main()

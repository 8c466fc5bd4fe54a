"""A sitting of a simulated annotator: what twenty slices cost, with and without the tools.

    LIBGL_ALWAYS_SOFTWARE=1 QT_API=pyqt6 xvfb-run -a -s "-screen 0 1600x1000x24" \\
        python benchmarks/sitting.py --json docs/sitting.json

Four left atria with a prediction and initial labels that are wrong in different ways. The annotator
corrects five slices of each in napari's real window, by mouse and key events, until a slice has a
Dice of 0.95, and accepts it. Each time the largest error is dealt with:

brush
    strokes along its middle, with a brush as wide as most of it.
tools
    before that a click of "fix region" on it, if its region is better in the initial labels, or a
    clean-up key, if that mends more.
answer
    where an error is wider than a few pixels, a stroke along its middle with the brush at hand, and
    an answer at once, which is taken if it mends something and dropped if not.

"keys" are all keys (choosing brush or eraser and its size, too), "clicks" are presses of a mouse
button without a stroke, "stroke mm" the way of the mouse with the button down. "window s" is the
time in which the window was at work on a key or a movement and did not answer, "main s" the
processor time of the main thread meanwhile, "waited s" the time until answers were there. Going
to the next slice is not counted.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import napari
import nibabel as nib
import numpy as np
from _label_errors import ERRORS
from _shared import LA, about, show
from _strokes import TOUCHING, largest_error, middle_line
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication
from scipy import ndimage

from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.importing.classes import named
from napari_mlbseg.project.importing.cohort import import_images
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study
from napari_mlbseg.samples import make_phantom_cohort
from napari_mlbseg.simulation.metrics import dice
from napari_mlbseg.widgets.dock import open_dock
from napari_mlbseg.widgets.tools import cleaning

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
from bench import WindowAtWork
from canvas import ALT, PLAIN, SHIFT, Hand

Key = Qt.Key
Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Place = tuple[float, float]
ARMS = ("brush", "tools", "answer")
CASES, SLICES = 4, 5
PREDICTED = ("grown", "shifted", "a neighbour merged", "shrunk")
INITIAL = ("thin parts missing", "shrunk", "grown", "shifted")
GOOD, MOST_STEPS = 0.95, 40
CLEANING: Mapping[Key, Callable[[Labels, int, tuple[float, float]], Labels]] = {
    Key.Key_Up: cleaning.grow,
    Key.Key_Down: cleaning.shrink,
    Key.Key_M: cleaning.smooth,
    Key.Key_K: lambda labels, value, _: cleaning.keep_largest(labels, value),
}
WORTH = 1.5
"""A key has to mend this many times what a stroke along the largest error could."""
WIDE = 6
"""From this width of the fitting brush on, in pixels, an answer is asked for."""
POINT_EVERY = 6
"""Of a stroke, in pixels."""


@dataclass
class Cost:
    """What a sitting has cost until now."""

    slices: int = 0
    strokes: int = 0
    clicks: int = 0
    keys: int = 0
    stroke_mm: float = 0.0
    window_s: float = 0.0
    main_s: float = 0.0
    waited_s: float = 0.0


class CountingHand:
    """A hand on the canvas that keeps account."""

    def __init__(self, hand: Hand, side_mm: float) -> None:
        self.cost, self._hand, self._side_mm = Cost(), hand, side_mm

    def press(self, key: Qt.Key, modifier: Qt.KeyboardModifier = PLAIN, times: int = 1) -> None:
        for _ in range(times):
            with self._at_work():
                self._hand.press(key, modifier)
        self.cost.keys += times

    def click(self, place: Place, modifier: Qt.KeyboardModifier = PLAIN) -> None:
        with self._at_work():
            self._hand.click(*place, modifier)
        self.cost.clicks += 1

    def stroke(self, places: Sequence[Place]) -> None:
        with self._at_work():
            self._hand.drag(*places)
        steps = np.diff(np.array(places), axis=0)
        self.cost.stroke_mm += self._side_mm * float(np.linalg.norm(steps, axis=1).sum())
        self.cost.strokes += 1

    def wait(self, done: Callable[[], bool]) -> None:
        started = time.perf_counter()
        while not done():
            QApplication.processEvents()
            time.sleep(0.002)
        self.cost.waited_s += time.perf_counter() - started

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        started, computed = time.perf_counter(), time.thread_time()
        yield
        self.cost.window_s += time.perf_counter() - started
        self.cost.main_s += time.thread_time() - computed


class Annotator:
    """Corrects slices of one class in a window, as an arm does."""

    def __init__(
        self, window: WindowAtWork, truth: Mapping[str, Labels], arm: str, *, wide: int = WIDE
    ) -> None:
        self._window, self._truth, self._arm, self._wide = window, truth, arm, wide
        self._sides = window.annotation.case.sides_mm(0)
        self.hand = CountingHand(window.hand, self._sides[0])
        self._size = int(window.layer.brush_size)
        self.seen: list[tuple[float, float]] = []

    def correct(self, key: SliceKey) -> None:
        """Correct and accept a slice."""
        self._window.dock.workbench.view.go_to(key)
        self._window.viewer.reset_view()
        QApplication.processEvents()
        before = self._dice()
        for _ in range(MOST_STEPS):
            error = largest_error(self._true, self._shown, fewest=1)
            if error is None or self._dice() >= GOOD:
                break
            if not self._shortcut(error):
                self._brush(error)
        self.seen.append((before, self._dice()))
        self.hand.press(Key.Key_A, SHIFT)
        self.hand.cost.slices += 1

    # --- ways to mend an error ------------------------------------------------------------------

    def _shortcut(self, error: Mask) -> bool:
        """Mend something without painting all of an error; return whether that was possible."""
        if self._arm == "tools":
            return self._clean(int(error.sum())) or self._fix(error)
        return self._arm == "answer" and self._answer(error)

    def _clean(self, size: int) -> bool:
        shown = self._shown
        changed = {key: act(shown, 1, self._sides) for key, act in CLEANING.items()}
        mends = {key: self._wrong(shown) - self._wrong(changed[key]) for key in changed}
        best = max(mends, key=lambda key: mends[key])
        if mends[best] < WORTH * size:
            return False
        self.hand.press(best, SHIFT)
        return True

    def _fix(self, error: Mask) -> bool:
        key, shown = self._window.annotation.key, self._shown
        stored = self._window.study.arrays.open(key.case_id, ArrayName.INITIAL_LABELS)
        initial = np.asarray(stored[key.index])
        parts, _ = ndimage.label(shown != initial, TOUCHING)
        for part in np.setdiff1d(parts[error], 0):
            region = parts == part
            if self._wrong(np.where(region, initial, shown)) < self._wrong(shown):
                y, x = np.argwhere(region & error)[0]
                self.hand.press(Key.Key_F, SHIFT)
                self.hand.click((float(y), float(x)), ALT)
                self.hand.press(Key.Key_F, SHIFT)
                return not np.array_equal(self._shown, shown)
        return False

    def _answer(self, error: Mask) -> bool:
        before, steps = self._shown, self._window.annotation.history.last
        fitting = fitting_brush(error)
        if fitting < self._wide:
            return False
        self._paint(error, min(self._size, fitting))
        answers = self._window.annotation.answers
        if self._window.annotation.history.last is steps:
            return False
        self.hand.press(Key.Key_F2)
        self.hand.wait(lambda: self._window.message != "")
        if answers.offered is not None:
            mends = self._wrong(answers.offered.labels) < self._wrong(self._shown)
            self.hand.press(Key.Key_Return if mends else Key.Key_Escape)
        return self._wrong(self._shown) < self._wrong(before)

    def _brush(self, error: Mask) -> None:
        self._paint(error, fitting_brush(error))

    def _paint(self, error: Mask, size: int) -> None:
        """Strokes along the middle of an error, with a brush of so many pixels."""
        self.hand.press(Key.Key_2 if self._true[error][0] else Key.Key_1)
        wider = size > self._size
        self.hand.press(
            Key.Key_BracketRight if wider else Key.Key_BracketLeft, times=abs(size - self._size)
        )
        self._size = size
        for line in lines_along(middle_line(error)):
            self.hand.stroke(line)

    # --- what is seen ---------------------------------------------------------------------------

    @property
    def _true(self) -> Labels:
        key = self._window.annotation.key
        return np.asarray(self._truth[key.case_id][key.index])

    @property
    def _shown(self) -> Labels:
        return np.asarray(self._window.layer.data[self._window.annotation.key.index], np.uint8)

    def _wrong(self, labels: Labels) -> int:
        return int((labels != self._true).sum())

    def _dice(self) -> float:
        found = dice(self._shown > 0, self._true > 0)
        return 1.0 if found is None else found


def fitting_brush(error: Mask) -> int:
    """The brush, in pixels, that is as wide as most of an error."""
    depth = ndimage.distance_transform_edt(error)[middle_line(error)]
    return max(1, round(2 * float(np.median(depth)) - 1))


def lines_along(middle: Mask) -> Iterator[list[Place]]:
    """The pixels of thin lines, as ways of a mouse from one end to the other."""
    left = [tuple(map(float, place)) for place in np.argwhere(middle)]
    while left:
        crowd = [sum(near(a, b) for b in left) for a in left]
        way = [left.pop(int(np.argmin(crowd)))]
        while left:
            gaps = [np.hypot(a[0] - way[-1][0], a[1] - way[-1][1]) for a in left]
            if min(gaps) > 3:
                break
            way.append(left.pop(int(np.argmin(gaps))))
        yield [(y, x) for y, x in (*way[:-1:POINT_EVERY], way[-1])]


def near(a: Sequence[float], b: Sequence[float]) -> bool:
    return max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= 1


# --- the sitting ----------------------------------------------------------------------------------


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        volumes = dict(phantoms(Path(folder)) if options.quick else atria())
        truth = {name: true for name, (_, true) in volumes.items()}
        rows = []
        for arm in ARMS:
            path = Path(folder) / f"{arm}.mlbseg"
            make(path, volumes, Path(folder))
            slices, wide = (1, 0) if options.quick else (SLICES, WIDE)
            rows.append(sitting(path, truth, arm, slices=slices, wide=wide))
            show("A sitting", rows)
            if options.json is not None:  # after each arm: an arm takes minutes
                write(options.json, rows)


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    head = about(napari=napari.__version__) | {"load": os.getloadavg()[0]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"about": head, "rows": rows}, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--quick", action="store_true", help="two slices of phantoms")
    return parser.parse_args()


def atria() -> Iterator[tuple[str, tuple[Path, Labels]]]:
    """Image and true labels (z y x) by name."""
    for name in json.loads((LA / "splits.json").read_text())["train"][:CASES]:
        yield name, (LA / "images" / f"{name}.nii.gz", read(LA / "labels" / f"{name}.nii.gz"))


def phantoms(folder: Path) -> Iterator[tuple[str, tuple[Path, Labels]]]:
    made = make_phantom_cohort(folder / "phantoms", cases=2)
    for image in sorted(made.images.iterdir()):
        yield image.name.removesuffix(".nii.gz"), (image, read(made.truth / image.name))


def read(path: Path) -> Labels:
    labels = np.asarray(nib.load(path).dataobj).T  # type: ignore[attr-defined]
    return np.asarray(labels > 0, np.uint8)


def make(path: Path, volumes: Mapping[str, tuple[Path, Labels]], folder: Path) -> None:
    """A study whose prediction and initial labels are wrong in different ways."""
    with Study.create(path, author="benchmark") as study:
        study.set_classes(named("left atrium"))
        labels = {}
        for seed, (name, (image, true)) in enumerate(volumes.items()):
            labels[name] = folder / f"{name}_initial.nii.gz"
            wrong = ERRORS[INITIAL[seed]](true, 0, seed)
            nib.save(nib.Nifti1Image(wrong.T, nib.load(image).affine), labels[name])  # type: ignore[attr-defined]
        import_images(study, [image for image, _ in volumes.values()], labels)
        for seed, case in enumerate(study.cases):
            wrong = ERRORS[PREDICTED[seed]](volumes[case.id][1], 0, seed)
            study.arrays.create(case.id, ArrayName.PREDICTION, [(0, wrong)], axis=0)


def sitting(
    path: Path, truth: Mapping[str, Labels], arm: str, *, slices: int, wide: int
) -> dict[str, Any]:
    """One row of the table; an error from a brush of `wide` pixels on is worth an answer."""
    viewer = napari.Viewer(show=True)
    dock = open_dock(viewer, path)
    try:
        annotator = Annotator(WindowAtWork(viewer, dock), truth, arm, wide=wide)
        for name, true in truth.items():
            shown = np.flatnonzero(true.any(axis=(1, 2)))
            for share in np.linspace(0.2, 0.8, slices):
                annotator.correct(SliceKey(name, 0, int(shown[int(share * (len(shown) - 1))])))
    finally:
        dock.workbench.shut_down()
        viewer.close()
    before, after = (fmean(found) for found in zip(*annotator.seen, strict=True))
    cost = {key.replace("_", " "): value for key, value in asdict(annotator.hand.cost).items()}
    return {"with": arm} | cost | {"dice before": before, "dice after": after}


if __name__ == "__main__":
    main()

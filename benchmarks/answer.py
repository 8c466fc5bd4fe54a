"""What an answer at once, and a correction passed on, do to the Dice of slices.

    python benchmarks/answer.py --threads 1 --json docs/answer.json

Slices of three left atria with imported labels that are wrong in six ways. A simulated annotator
draws one thin stroke in the largest error of a slice: along its middle, or along the true border.
"before" is the Dice of the slice as it was, "stroke" with the stroke, "answer" with the answer to
it; "better" and "worse" are the shares of slices on which the answer changed the stroke's Dice. The
processor time of an answer is that of one thread. The second table is of whole corrected slices
that are passed on to their neighbours: "slices" are those that took something. The third is the
time for more strokes than anybody draws.
"""

import argparse
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
from _label_errors import ERRORS
from _shared import LA, about, show
from _strokes import HANDS, largest_error
from numpy.typing import NDArray

from napari_mlbseg.samples import make_phantom_cohort
from napari_mlbseg.simulation.metrics import dice
from napari_mlbseg.widgets.tools.answer import answered
from napari_mlbseg.widgets.tools.passing_on import passed_on

FIRST, LAST, EVERY = 3, 6, 5
"""The constants of answers and of passing on were chosen on the first three atria of the list."""
WRONG = ("grown", "shrunk", "shifted", "thin parts missing", "a neighbour merged", "L2B 100 %")
Row = dict[str, Any]
Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Volume:
    """Intensities and true labels (z y x); sides of a pixel in mm (y x)."""

    image: NDArray[np.generic]
    true: Labels
    sides_mm: tuple[float, float]

    @property
    def shown(self) -> list[int]:
        """Some of the slices that show a structure, none near its ends."""
        found = np.flatnonzero(self.true.any(axis=(1, 2)))
        return [int(index) for index in found[3:-3:EVERY]]


def main() -> None:
    options = parse()
    os.environ.setdefault("OMP_NUM_THREADS", str(options.threads))
    volumes = list(phantoms() if options.quick else atria())
    answers = [
        row for wrong in WRONG for name in HANDS if (row := answered_row(volumes, wrong, name))
    ]
    show("Answers at once: Dice of a slice", answers)
    passed = [row for wrong in WRONG if (row := passed_row(volumes, wrong))]
    show("Corrections passed on: Dice of a slice", passed)
    large = [large_row(sides) for sides in (512, 1024)]
    show("Answers to strokes all over a large slice", large)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        found = {"about": about(), "rows": answers, "passed on": passed, "large": large}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="phantoms")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    return parser.parse_args()


def atria() -> Iterator[Volume]:
    for name in json.loads((LA / "splits.json").read_text())["train"][FIRST:LAST]:
        yield read(*(LA / kind / f"{name}.nii.gz" for kind in ("images", "labels")))


def phantoms() -> Iterator[Volume]:
    with TemporaryDirectory() as folder:
        made = make_phantom_cohort(Path(folder), cases=1)
        for image in sorted(made.images.iterdir()):
            yield read(image, made.truth / image.name)


def read(image: Path, labels: Path) -> Volume:
    voxels, true = (
        np.asarray(nib.load(path).dataobj).T  # type: ignore[attr-defined]
        for path in (image, labels)
    )
    x, y, _ = nib.affines.voxel_sizes(nib.load(image).affine)  # type: ignore[attr-defined]
    return Volume(voxels, (true > 0).astype(np.uint8), (float(y), float(x)))


def answered_row(volumes: Sequence[Volume], wrong: str, hand: str) -> Row | None:
    found = list(answered_slices(volumes, wrong, hand))
    if not found:
        return None
    before, stroke, answer, seconds = np.array(found).T
    return {
        "wrong": wrong,
        "stroke along": hand,
        "slices": len(found),
        "before": float(before.mean()),
        "stroke": float(stroke.mean()),
        "answer": float(answer.mean()),
        "better": float((answer > stroke).mean()),
        "worse": float((answer < stroke).mean()),
        "CPU ms, median": 1e3 * float(np.median(seconds)),
        "CPU ms, max": 1e3 * float(seconds.max()),
    }


def answered_slices(
    volumes: Sequence[Volume], wrong: str, hand: str
) -> Iterator[tuple[float, float, float, float]]:
    """Dice before, with the stroke and with the answer, and the seconds for it."""
    for seed, volume in enumerate(volumes):
        labels = ERRORS[wrong](volume.true, 0, seed)
        for index in volume.shown:
            true, before = volume.true[index], labels[index]
            error = largest_error(true, before)
            stroke = None if error is None else HANDS[hand](error, true)
            if stroke is None or not stroke.any():
                continue
            shown = np.where(stroke, true, before)
            started = time.thread_time()
            after = answered(before, shown, volume.image[index], volume.sides_mm)
            seconds = time.thread_time() - started
            yield of(before, true), of(shown, true), of(after, true), seconds


def large_row(side: int) -> Row:
    """The time for a slice that is drawn across from edge to edge, each 64 pixels."""
    rows, columns = np.ogrid[:side, :side]
    before = np.asarray((rows // 64 + columns // 64) % 2, np.uint8)
    strokes = np.zeros((side, side), np.bool_)
    strokes[16::64] = True
    image = 100.0 * before + np.random.default_rng(0).normal(0, 10, before.shape)
    shown = np.where(strokes, 1 - before, before)
    started = time.thread_time()
    answered(before, shown, image, (0.7, 0.7))
    seconds = time.thread_time() - started
    return {"pixels": f"{side} x {side}", "strokes, pixels": int(strokes.sum()), "CPU s": seconds}


def passed_row(volumes: Sequence[Volume], wrong: str) -> Row | None:
    pairs, corrected = [], 0
    for seed, volume in enumerate(volumes):
        labels = ERRORS[wrong](volume.true, 0, seed)
        for index in volume.shown:
            if not np.array_equal(labels[index], volume.true[index]):
                corrected += 1
                pairs += list(passed_slices(volume, labels, index))
    if not pairs:
        return None
    return {
        "wrong": wrong,
        "corrected": corrected,
        "slices": len(pairs),
        "before": fmean(before for before, _ in pairs),
        "after": fmean(after for _, after in pairs),
        "better": fmean(after > before for before, after in pairs),
        "worse": fmean(after < before for before, after in pairs),
    }


def passed_slices(volume: Volume, labels: Labels, index: int) -> Iterator[tuple[float, float]]:
    """Dice of each slice that takes a correction, before and after; in both directions."""
    everywhere = np.ones(labels.shape[1:], np.bool_)
    for way in (range(index + 1, len(labels)), range(index - 1, -1, -1)):
        following: Iterable[Any] = ((labels[k], volume.image[k], everywhere) for k in way)
        found = passed_on(labels[index], volume.true[index], volume.image[index], following)
        for k, after in zip(way, found, strict=False):
            yield of(labels[k], volume.true[k]), of(after, volume.true[k])


def of(labels: Labels, true: Labels) -> float:
    """Dice of a slice; 1 where both are empty."""
    found = dice(labels > 0, true > 0)
    return 1.0 if found is None else found


if __name__ == "__main__":
    main()

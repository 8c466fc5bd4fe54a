"""Labels of 512 x 512 x 800 voxels made tidy: time and memory.

    python benchmarks/tidying.py --json docs/tidying.json

Two classes, one within the other, each of one piece and without holes, as large as an organ or as
a body; with specks, one voxel in 20,000 has another label than it should have. The labels are made
window by window, so that what the memory holds is what tidying needs. "packed" are the labels as
they are kept; "more" is the peak beyond what the process held before.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from _shared import about, forget_peak, peak_mb, resident_mb, show
from numpy.typing import NDArray

from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.tidying.tidy import tidied_array, tidied_windows

RADIUS = {"organ": 0.3, "body": 0.9}
ONE_IN = 20_000
CLASSES = {v: LabelClass(v, str(v), (0, 0, 0), most_pieces=1, no_holes=True) for v in (1, 2)}


class Labels:
    """A ball within a ball, in the middle of a volume (z y x), with or without specks."""

    def __init__(self, shape: tuple[int, int, int], radius: float, *, specks: bool) -> None:
        self.shape = shape
        self._radius, self._specks = radius, specks

    def __getitem__(self, window: tuple[slice, slice, slice]) -> NDArray[np.uint8]:
        sides = [np.arange(*part.indices(n)) for part, n in zip(window, self.shape, strict=True)]
        z, y, x = np.ix_(*sides)
        away = sum((2 * at / n - 1) ** 2 for at, n in zip((z, y, x), self.shape, strict=True))
        found = np.asarray(away < self._radius**2, np.uint8)
        found += np.asarray(away < (0.6 * self._radius) ** 2, np.uint8)
        if self._specks:
            at_random = (z * 7919 ^ y * 104_729 ^ x * 1_299_709) * 2_654_435_761 >> 7
            hit = at_random % ONE_IN == 0
            found[hit] = (found[hit] + 1) % 3
        return found


def measured(shape: tuple[int, int, int], what: str, *, specks: bool) -> dict[str, Any]:
    """One row of the table."""
    labels = Labels(shape, RADIUS[what], specks=specks)
    thick = max(1, (1 << 22) // (shape[1] * shape[2]))
    started = time.process_time()
    for start in range(0, shape[0], thick):
        labels[start : start + thick, :, :]
    making = time.process_time() - started
    forget_peak()
    before, started = resident_mb(), time.process_time()
    packed, told = tidied_windows(labels, CLASSES)
    seconds = time.process_time() - started - making
    return {
        "labels": f"{what}, specks" if specks else what,
        "CPU seconds": max(0.0, seconds),
        "more MB": peak_mb() - before,
        "packed MB": packed.nbytes / 1e6,
        "removed": sum(one.pieces.removed for one in told.classes if one.pieces),
        "filled": sum(one.holes.filled for one in told.classes if one.holes),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=[800, 512, 512], help="z y x")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    z, y, x = options.shape
    tidied_array(np.ones((1, 1, 1), np.uint8), CLASSES)  # loads the libraries
    rows = [measured((z, y, x), what, specks=specks) for what in RADIUS for specks in (False, True)]
    show(f"{z} x {y} x {x} voxels, tidied", rows)
    if options.json is not None:
        options.json.write_text(json.dumps({**about(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

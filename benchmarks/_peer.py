"""What the programs that are compared share; they run in an environment of their own.

A folder has `raw/Dataset001_Peers` in nnU-Net's format: images of all cases, and labels of those
with clean slices, in which all other voxels have the label `ignore`. What a program finds goes to
`MARK.npz` (the labels of each case by its name, slices first) and `MARK.json`.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DATASET = "Dataset001_Peers"
IMAGE, LABELS = "_0000.nii.gz", ".nii.gz"
UNKNOWN = "ignore"

Labels = NDArray[np.uint8]


def arguments() -> argparse.Namespace:
    """The options of a program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mark", type=float, required=True, help="minutes")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--clock", choices=("wall", "processor"), required=True)
    parser.add_argument("--began", type=float, required=True, help="seconds since 1970")
    parser.add_argument("--seed", type=int, required=True)
    return parser.parse_args()


def clock(options: argparse.Namespace) -> Callable[[], float]:
    """Seconds since the program began: of the wall, or of the processor for each thread.

    The latter counts child processes, once they have ended.
    """
    if options.clock == "wall":
        return lambda: time.time() - options.began
    return lambda: sum(os.times()[:4]) / options.threads


def images(folder: Path) -> dict[str, Path]:
    """The image of each case."""
    found = sorted((folder / "raw" / DATASET).glob(f"images*/*{IMAGE}"))
    return {path.name.removesuffix(IMAGE): path for path in found}


def labels(folder: Path) -> dict[str, Path]:
    """The labels of each case with clean slices."""
    found = sorted((folder / "raw" / DATASET / "labelsTr").glob(f"*{LABELS}"))
    return {path.name.removesuffix(LABELS): path for path in found}


def unknown_label(folder: Path) -> int:
    """The label of voxels that nobody has labelled."""
    about = json.loads((folder / "raw" / DATASET / "dataset.json").read_text())
    return int(about["labels"][UNKNOWN])


def write(folder: Path, mark: float, found: Mapping[str, Labels], **about: Any) -> None:
    """Keep what was found; `found` is empty if there was nothing at the mark yet."""
    arrays: dict[str, Any] = dict(found)
    np.savez_compressed(folder / f"{mark:g}.npz", **arrays)
    (folder / f"{mark:g}.json").write_text(json.dumps(about))

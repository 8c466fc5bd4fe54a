"""Cases with two channels: what they show, as files and as new cases."""

from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.formats.registry import read_image
from napari_mlbseg.project.records.cases import NewCase
from napari_mlbseg.project.records.channels import NewChannel

SHAPE = (8, 7, 6)
"""Of the files' arrays (x y z)."""
AFFINE = np.diag([-1.0, -1.0, 3.0, 1.0])
NAMES = ("T1", "FLAIR")


def write(path: Path, seed: int, affine: NDArray[np.float64] = AFFINE) -> Path:
    """A file with noise of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(seed).integers(-100, 100, SHAPE).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


def two_channel_case(folder: Path, name: str, *, filled: bool = False) -> NewCase:
    """A case with T1 and FLAIR from files, or with T1 alone, so that FLAIR is filled."""
    t1, source = read_image(write(folder / f"{name}_t1.nii.gz", len(name)))
    flair = NewChannel("FLAIR")
    if not filled:
        path = write(folder / f"{name}_flair.nii.gz", 1 + len(name))
        flair = NewChannel("FLAIR", path, *read_image(path))
    return NewCase(name, folder / f"{name}_t1.nii.gz", t1, source, channel="T1", further=(flair,))

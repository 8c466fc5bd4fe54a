"""A study of tiny scans that are real files, for what changes in a study afterwards."""

from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

ORGAN, CORE, SCAR = (
    LabelClass(1, "organ", (230, 160, 0)),
    LabelClass(2, "core", (0, 120, 180)),
    LabelClass(3, "scar", (0, 200, 80)),
)
SHAPE = (4, 6, 7)
"""Of the arrays, z y x; the files have it the other way round."""
AFFINE = np.diag([-1.0, -1.0, 3.0, 1.0])


def write(path: Path, voxels: NDArray[np.generic]) -> Path:
    """A NIfTI file of an array z y x."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels.T, AFFINE), path)
    return path


def write_image(folder: Path, name: str, seed: int) -> Path:
    voxels = np.random.default_rng(seed).integers(-90, 90, SHAPE).astype("i2")
    return write(folder / f"{name}.nii.gz", voxels)


def write_labels(folder: Path, name: str, seed: int, high: int = 4) -> Path:
    voxels = np.random.default_rng(seed).integers(0, high, SHAPE).astype("u1")
    return write(folder / f"{name}.nii.gz", voxels)


def make_study(folder: Path) -> Study:
    """A study of the scans a and b, of which b has no labels, with clean slices."""
    write_image(folder / "images", "a", 1)
    write_image(folder / "images", "b", 2)
    write_labels(folder / "rough", "a", 3)
    study = Study.create(folder / "cohort.mlbseg", author="ada")
    study.set_classes([ORGAN, CORE, SCAR])
    import_folder(study, folder / "images", folder / "rough")
    for case_id in ("a", "b"):
        accept(study, case_id, 1, seed=5)
    return study


def accept(study: Study, case_id: str, index: int, *, seed: int) -> NDArray[np.uint8]:
    """Make a slice along z clean with random classes; returns its mask."""
    values = [0, *(one.value for one in study.classes)]
    mask = np.random.default_rng(seed).choice(values, SHAPE[1:]).astype(np.uint8)
    study.save_slice(SliceKey(case_id, 0, index), mask, SliceState.CLEAN)
    return mask

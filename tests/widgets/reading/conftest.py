"""A study of CT, tilted, in a real window."""

from collections.abc import Callable, Iterator
from pathlib import Path

import napari
import nibabel as nib
import numpy as np
import pytest
from bench import WindowAtWork
from orientations import rotation

from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.dock import open_dock

AIR, TISSUE, BONE = -1000, 40, 900


@pytest.fixture
def study_path(tmp_path: Path) -> Path:
    """Two cases in Hounsfield units, tilted by about 6 degrees around each axis."""
    affine = np.eye(4)
    affine[:3, :3] = rotation((0.1, -0.1, 0.1)) @ np.diag([-0.8, -0.8, 2.5])
    affine[:3, 3] = (12.0, 34.0, -56.0)
    for number, name in enumerate(("a", "b")):
        image = np.full((40, 36, 14), AIR, np.int16)
        image[6:34, 6:30] = TISSUE + np.random.default_rng(number).integers(0, 30, (28, 24, 14))
        image[18:22, 16:20] = BONE
        labels = np.zeros(image.shape, np.uint8)
        labels[10:16, 10:20, 3:10] = 2
        labels[24:30, 10:20, 3:10] = 1
        for folder, voxels in (("images", image), ("labels", labels)):
            (tmp_path / folder).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(voxels, affine), tmp_path / folder / f"{name}.nii.gz")
    with Study.create(tmp_path / "ct.mlbseg", author="annotator") as study:
        import_folder(study, tmp_path / "images", tmp_path / "labels")
    return tmp_path / "ct.mlbseg"


@pytest.fixture
def bench(
    make_napari_viewer: Callable[..., napari.Viewer], study_path: Path
) -> Iterator[WindowAtWork]:
    viewer = make_napari_viewer(show=True)
    dock = open_dock(viewer, study_path)
    yield WindowAtWork(viewer, dock)
    dock.workbench.shut_down()

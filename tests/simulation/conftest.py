from pathlib import Path

import nibabel as nib
import pytest
from small_study import Phantoms, make_phantoms


@pytest.fixture
def cohort(tmp_path: Path) -> Phantoms:
    """Three phantoms with rough labels."""
    return make_phantoms(tmp_path / "cohort.mlbseg", cases=3, rough=True)


@pytest.fixture
def truth_folder(tmp_path: Path, cohort: Phantoms) -> Path:
    """The truth of the cohort in files named like the images."""
    folder = tmp_path / "truth"
    folder.mkdir()
    for case in cohort.study.cases:
        voxels = case.geometry.to_file(cohort.truth[case.id])
        nib.Nifti1Image(voxels, case.geometry.affine).to_filename(folder / case.image_path.name)
    return folder

"""Images that do not fit: onto the disk, or into memory while they are stored."""

import shutil
from collections.abc import Callable
from math import prod
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from bombs import nifti_header
from hypothesis import given
from hypothesis import strategies as st

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.folder.room import MOST_IN_MEMORY, within_memory
from napari_mlbseg.project.importing.cohort import import_folder, make_study
from napari_mlbseg.project.records.cases import NewCase
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Volume


def test_a_hundred_gigabytes_behind_a_small_header_are_refused_before_anything_is_stored(
    tmp_path: Path,
) -> None:
    (tmp_path / "in").mkdir()
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), tmp_path / "in" / "b.nii")
    path = tmp_path / "in" / "a.nii"
    free = shutil.disk_usage(tmp_path).free
    count = free // (2 * 4096 * 4096) + 2
    assert count < 1 << 15, "this disk is larger than a NIfTI-1 file of such slices"
    path.write_bytes(nifti_header((4096, 4096, count), 4, 16))
    with path.open("r+b") as file:  # takes no room on the disk
        file.truncate(352 + 2 * 4096 * 4096 * count)
    study, imported = make_study(tmp_path / "s.mlbseg", tmp_path / "in")
    with study:
        assert [case.id for case in study.cases] == ["b"]
        assert not (study.path / "arrays" / "a").exists()
    (failure,) = imported.failures
    assert str(path) in failure.reason
    assert "GB of voxels" in failure.reason
    assert "free. Free some space" in failure.reason


@pytest.mark.parametrize(("free", "fits"), [(4 * 5 * 6 * 3, True), (4 * 5 * 6 * 3 - 1, False)])
def test_image_and_labels_have_to_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, fits: bool
) -> None:
    for name, dtype in (("images", np.int16), ("labels", np.uint8)):
        (tmp_path / name).mkdir()
        nib.save(nib.Nifti1Image(np.ones((4, 5, 6), dtype), np.eye(4)), tmp_path / name / "a.nii")
    usage = SimpleNamespace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with Study.create(tmp_path / "s.mlbseg") as study:
        if fits:
            assert len(import_folder(study, tmp_path / "images", tmp_path / "labels").cases) == 1
            return
        with pytest.raises(UserError, match="Free some space"):
            import_folder(study, tmp_path / "images", tmp_path / "labels")
        assert study.cases == ()


@given(
    shape=st.tuples(*[st.integers(1, 1 << 14)] * 3),
    itemsize=st.sampled_from([1, 2, 4, 8]),
    axis=st.integers(0, 2),
)
def test_a_row_of_chunks_fits_into_memory(
    shape: tuple[int, int, int], itemsize: int, axis: int
) -> None:
    z, y, x = (min(n, 32 if k == axis else 128) for k, n in enumerate(shape))
    wanted = (z, y, x)
    chunks = within_memory(wanted, shape, itemsize)
    for k, side in enumerate(chunks):
        row = prod(shape) // shape[k] * side * itemsize
        assert 1 <= side <= wanted[k]
        assert side == 1 or row <= MOST_IN_MEMORY
        assert side == wanted[k] or row + prod(shape) // shape[k] * itemsize > MOST_IN_MEMORY


def test_chunks_of_usual_scans_stay_as_they_are() -> None:
    for shape in ((300, 512, 512), (88, 576, 576), (1000, 1024, 1024)):
        assert within_memory((32, 128, 128), shape, 2) == (32, 128, 128)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_image_in_memory_with_nan_is_refused(
    tmp_path: Path, make_case: Callable[..., NewCase], bad: float
) -> None:
    new = make_case("b", dtype="float32")
    assert isinstance(new.image, Volume)
    new.image.voxels[2, 3, 4] = bad
    with Study.create(tmp_path / "nan.mlbseg") as study:
        with pytest.raises(UserError, match=r"b\.nii has 1 voxels that are NaN or infinite"):
            study.add_cases([new])
        assert study.cases == ()
        assert not (study.path / "arrays" / "b").exists()

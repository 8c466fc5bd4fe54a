import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import zarr
from nifti_files import load_nifti
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import read_image, read_labels
from napari_mlbseg.project.arrays.adding import rebuild_arrays
from napari_mlbseg.project.arrays.store import CHANNELS, ArrayName
from napari_mlbseg.project.records.cases import NewCase
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

WEIGHTS = (ArrayName.META_WEIGHTS_INITIAL, ArrayName.META_WEIGHTS_PSEUDO, ArrayName.TRUST)


def test_arrays_are_zarr_v3_for_everybody(study: Study, make_case: Callable[..., Any]) -> None:
    study.add_cases([make_case("b", labels=True, dtype=">f4")])
    labels = (ArrayName.PSEUDO_LABELS, ArrayName.PREDICTION, ArrayName.PROPOSED_LABELS)
    for name in (*labels, *WEIGHTS):
        study.arrays.create("b", name)
    for name in set(ArrayName) - set(CHANNELS[1:]):
        path = study.path / "arrays" / "b" / f"{name}.zarr"
        assert json.loads((path / "zarr.json").read_text())["zarr_format"] == 3
        plain: Any = zarr.open(path, mode="r")
        np.testing.assert_array_equal(plain[:], np.asarray(study.arrays.open("b", name)[:]))
        assert plain.metadata.dimension_names == ("z", "y", "x")
        assert plain.shape == (6, 7, 8)
    np.testing.assert_array_equal(
        np.asarray(study.arrays.open("b", ArrayName.IMAGE)[:]),
        make_case("b", dtype="f4").image.voxels,
    )
    assert study.arrays.open("b", ArrayName.INITIAL_LABELS).dtype == np.uint8
    assert study.arrays.open("b", ArrayName.PREDICTION).dtype == np.uint8
    assert {study.arrays.open("b", name).dtype for name in WEIGHTS} == {np.dtype(np.float16)}


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", [ArrayName.PREDICTION, *WEIGHTS])
def test_writing_slices_leaves_all_others_alone(study: Study, axis: int, name: ArrayName) -> None:
    study.set_axis("a", axis)
    array = study.arrays.create("a", name)
    whole = np.arange(6 * 7 * 8).reshape(6, 7, 8).astype(array.dtype) % 100 + 1
    study.arrays.write("a", name, axis, 0, np.moveaxis(whole, axis, 0))
    folder = study.path / "arrays" / "a" / f"{name}.zarr"
    before = _files(folder)
    block = np.full_like(np.moveaxis(whole, axis, 0)[2:4], 7)
    study.arrays.write("a", name, axis, 2, block)
    after = _files(folder)
    assert before.keys() == after.keys()
    assert sum(before[file] != after[file] for file in before) == 2
    np.moveaxis(whole, axis, 0)[2:4] = 7
    np.testing.assert_array_equal(np.asarray(study.arrays.open("a", name)[:]), whole)
    # Not even read: garbage in every other chunk goes unnoticed.
    for file in before:
        if before[file] == after[file] and file.name != "zarr.json":
            file.write_bytes(b"garbage")
    study.arrays.write("a", name, axis, 2, block)


def _files(folder: Path) -> dict[Path, int]:
    """Inode of each file, which changes whenever the file is written."""
    return {file: file.stat().st_ino for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_open_along_any_axis(study: Study, make_case: Callable[..., Any], axis: int) -> None:
    voxels = make_case().image.voxels
    for index in range(voxels.shape[axis]):
        seen = study.arrays.read("a", ArrayName.IMAGE, axis, index)
        np.testing.assert_array_equal(seen, voxels.take(index, axis))
    study.arrays.create("a", ArrayName.PREDICTION)
    other = np.arange(6 * 7 * 8).reshape(6, 7, 8).astype(np.uint8)
    study.arrays.write("a", ArrayName.PREDICTION, axis, 0, np.moveaxis(other, axis, 0))
    np.testing.assert_array_equal(
        np.asarray(study.arrays.open("a", ArrayName.PREDICTION)[:]), other
    )


def test_what_does_not_fit_is_refused(study: Study) -> None:
    study.arrays.create("a", ArrayName.PREDICTION)
    blocks: list[tuple[int, NDArray[Any]]] = [
        (5, np.zeros((2, 7, 8), np.uint8)),
        (-1, np.zeros((1, 7, 8), np.uint8)),
        (0, np.zeros((1, 8, 7), np.uint8)),
        (0, np.zeros((1, 7, 8), np.int64)),
        (0, np.zeros((1, 7, 8), np.float32)),
    ]
    for start, block in blocks:
        with pytest.raises(ValueError, match=r"outside|shape|holds"):
            study.arrays.write("a", ArrayName.PREDICTION, 0, start, block)
    with pytest.raises(ValueError, match="imported"):
        study.arrays.create("a", ArrayName.IMAGE)
    assert not np.asarray(study.arrays.open("a", ArrayName.PREDICTION)[:]).any()


def test_a_new_array_is_empty(study: Study) -> None:
    study.arrays.create("a", ArrayName.PREDICTION)
    study.arrays.write("a", ArrayName.PREDICTION, 0, 0, np.ones((6, 7, 8), np.uint8))
    study.arrays.create("a", ArrayName.PREDICTION)
    assert not np.asarray(study.arrays.open("a", ArrayName.PREDICTION)[:]).any()


def test_absent_arrays_say_what_to_do(study: Study) -> None:
    with pytest.raises(UserError, match="run the training"):
        study.arrays.open("a", ArrayName.PREDICTION)
    shutil.rmtree(study.path / "arrays")
    assert not study.arrays.has("a", ArrayName.IMAGE)
    with pytest.raises(UserError, match=r"[Rr]ebuild the arrays"):
        study.arrays.read("a", ArrayName.IMAGE, 0, 0)


@pytest.mark.parametrize("file", ["zarr.json", "c/0/0/0"])
def test_a_damaged_array_is_explained(study: Study, file: str) -> None:
    (study.path / "arrays" / "a" / "image.zarr" / file).write_bytes(b"{")
    with pytest.raises(UserError, match=r"is damaged .*mlbseg repair"):
        study.arrays.read("a", ArrayName.IMAGE, 0, 0)


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, Path]:
    """An image and its labels as files."""
    rng = np.random.default_rng(5)
    affine = np.diag([-0.5, 0.5, 3.0, 1.0])
    image, labels = tmp_path / "scan.nii.gz", tmp_path / "rough.nii.gz"
    nibabel.save(nibabel.Nifti1Image(rng.normal(0, 9, (9, 8, 5)).astype("f4"), affine), image)
    nibabel.save(nibabel.Nifti1Image(rng.integers(0, 3, (9, 8, 5)).astype("u1"), affine), labels)
    return image, labels


@pytest.fixture
def imported(study: Study, sources: tuple[Path, Path]) -> Study:
    image, source = read_image(sources[0])
    labels, _ = read_labels(sources[1])
    study.add_cases([NewCase("scan", sources[0], image, source, sources[1], labels)])
    return study


def test_arrays_come_back_from_the_source_files(
    imported: Study, sources: tuple[Path, Path]
) -> None:
    names = (ArrayName.IMAGE, ArrayName.INITIAL_LABELS)
    before = [imported.arrays.open("scan", name)[:] for name in names]
    imported.save_slice(SliceKey("scan", 0, 1), np.ones((8, 9), np.uint8), SliceState.CLEAN)
    labels = imported.labels.working("scan")
    shutil.rmtree(imported.path / "arrays" / "scan")
    imported.close()
    with Study.open(imported.path) as again:
        rebuild_arrays(again.cases, again.arrays)
        for name, voxels in zip(names, before, strict=True):
            np.testing.assert_array_equal(again.arrays.open("scan", name)[:], voxels)
        np.testing.assert_array_equal(again.labels.working("scan"), labels)


def test_what_is_there_is_not_rebuilt(imported: Study, sources: tuple[Path, Path]) -> None:
    for path in sources:
        path.unlink()
    rebuild_arrays(imported.cases, imported.arrays)
    shutil.rmtree(imported.path / "arrays" / "scan" / "image.zarr")
    with pytest.raises(UserError, match=r"scan\.nii\.gz.* is missing"):
        rebuild_arrays(imported.cases, imported.arrays)


@pytest.mark.parametrize("change", ["intensities", "geometry"])
def test_another_image_is_not_slipped_under_the_masks(
    imported: Study, sources: tuple[Path, Path], change: str
) -> None:
    voxels = load_nifti(sources[0]).get_fdata().astype("f4")
    spacing = 3.0 if change == "intensities" else 2.5
    voxels = voxels * 2 if change == "intensities" else voxels
    affine = np.diag([-0.5, 0.5, spacing, 1.0])
    nibabel.save(nibabel.Nifti1Image(voxels, affine), sources[0])
    shutil.rmtree(imported.path / "arrays" / "scan")
    with pytest.raises(UserError, match="is not the image"):
        rebuild_arrays(imported.cases, imported.arrays)
    assert not imported.arrays.has("scan", ArrayName.IMAGE)

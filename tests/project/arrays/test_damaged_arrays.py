"""Arrays that lost a chunk, a byte or their description: an error, or rebuilt, and never zeros."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec

from napari_mlbseg.errors import Damaged
from napari_mlbseg.formats.registry import read_image, read_labels
from napari_mlbseg.project.arrays.adding import rebuild_arrays
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.cases import NewCase
from napari_mlbseg.project.study import Study

SHAPE = (5, 8, 9)


@pytest.fixture
def imported(study: Study, tmp_path: Path) -> Study:
    """A study with a case from files, whose labels are background in the lower half."""
    rng = np.random.default_rng(5)
    affine = np.diag([-0.5, 0.5, 3.0, 1.0])
    labels = rng.integers(0, 3, SHAPE[::-1]).astype("u1")
    labels[..., :3] = 0
    paths = tmp_path / "scan.nii.gz", tmp_path / "rough.nii.gz"
    voxels = rng.normal(0, 9, SHAPE[::-1]).astype("f4")
    nibabel.save(nibabel.Nifti1Image(voxels, affine), paths[0])
    nibabel.save(nibabel.Nifti1Image(labels, affine), paths[1])
    (image, source), (rough, _) = read_image(paths[0]), read_labels(paths[1])
    study.add_cases([NewCase("scan", paths[0], image, source, paths[1], rough)])
    study.arrays.create("scan", ArrayName.PREDICTION, [(3, np.ones((2, 8, 9), np.uint8))])
    return study


def folder_of(study: Study, name: ArrayName) -> Path:
    return study.path / "arrays" / "scan" / f"{name.value}.zarr"


def chunks_of(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "c").rglob("*") if path.is_file())


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "an empty description": ("zarr.json", emptied),
    "half a description": ("zarr.json", halved),
    "no description": ("zarr.json", os.unlink),
    "an empty chunk": ("c/0/0/0", emptied),
    "half a chunk": ("c/0/0/0", halved),
    "a flipped bit": ("c/0/0/0", flipped),
    "no chunk": ("c/0/0/0", os.unlink),
}
READ = {"half a chunk", "a flipped bit"}
"""What is only noticed when the chunk is read."""


@pytest.mark.parametrize("what", DAMAGE)
@pytest.mark.parametrize("name", [ArrayName.IMAGE, ArrayName.INITIAL_LABELS])
def test_a_damaged_array_is_rebuilt_like_an_absent_one(
    imported: Study, name: ArrayName, what: str
) -> None:
    before = np.asarray(imported.arrays.open("scan", name)[:])
    imported.close()
    file, spoil = DAMAGE[what]
    spoil(folder_of(imported, name) / file)
    with Study.open(imported.path) as again:
        assert again.arrays.has("scan", name) == (what in READ)
        assert again.arrays.flaw("scan", name) is not None
        rebuild_arrays([again.case("scan")], again.arrays)
        assert again.arrays.flaw("scan", name) is None
        assert again.arrays.has("scan", name)
        np.testing.assert_array_equal(again.arrays.open("scan", name)[:], before)


@pytest.mark.parametrize("what", [what for what in DAMAGE if what != "no description"])
def test_a_damaged_prediction_is_told_and_never_read_as_zeros(imported: Study, what: str) -> None:
    imported.close()
    file, spoil = DAMAGE[what]
    spoil(folder_of(imported, ArrayName.PREDICTION) / file)
    with Study.open(imported.path, writable=False) as again:
        assert again.arrays.has("scan", ArrayName.PREDICTION) == (what in READ)
        with pytest.raises(Damaged, match=r"prediction\.zarr is damaged .*mlbseg repair"):
            again.arrays.read("scan", ArrayName.PREDICTION, 0, 0)
    with Study.open(imported.path) as again:
        again.arrays.create("scan", ArrayName.PREDICTION)
        assert again.arrays.flaw("scan", ArrayName.PREDICTION) is None


def test_a_chunk_that_is_lost_in_an_open_study_is_told(imported: Study) -> None:
    assert imported.arrays.read("scan", ArrayName.PREDICTION, 0, 3).all()
    (folder_of(imported, ArrayName.PREDICTION) / "c" / "3" / "0" / "0").unlink()
    with pytest.raises(Damaged, match="c/3/0/0 is missing"):
        imported.arrays.read("scan", ArrayName.PREDICTION, 0, 3)


@pytest.mark.parametrize("name", [ArrayName.IMAGE, ArrayName.INITIAL_LABELS, ArrayName.PREDICTION])
def test_every_chunk_is_on_the_disk_even_if_it_is_zero(imported: Study, name: ArrayName) -> None:
    array: Any = zarr.open_array(str(folder_of(imported, name)), mode="r")
    assert len(chunks_of(folder_of(imported, name))) == array.nchunks


def test_slices_that_become_zero_keep_their_chunks(imported: Study) -> None:
    before = chunks_of(folder_of(imported, ArrayName.PREDICTION))
    imported.arrays.write("scan", ArrayName.PREDICTION, 0, 3, np.zeros((2, 8, 9), np.uint8))
    assert chunks_of(folder_of(imported, ArrayName.PREDICTION)) == before
    assert not imported.arrays.read("scan", ArrayName.PREDICTION, 0, 3).any()


def test_arrays_of_version_0_1_are_read_as_they_are(imported: Study) -> None:
    folder = folder_of(imported, ArrayName.PREDICTION)
    array = zarr.create_array(
        str(folder),
        shape=SHAPE,
        dtype="u1",
        chunks=(1, 8, 9),
        compressors=BloscCodec(cname="lz4", clevel=1, shuffle="shuffle"),
        fill_value=0,
        dimension_names=("z", "y", "x"),
        overwrite=True,
    )
    array[2:4] = 5
    assert len(chunks_of(folder)) == 2
    assert imported.arrays.has("scan", ArrayName.PREDICTION)
    assert imported.arrays.flaw("scan", ArrayName.PREDICTION) is None
    np.testing.assert_array_equal(imported.labels.machine("scan"), np.asarray(array[:]))
    imported.arrays.write("scan", ArrayName.PREDICTION, 0, 0, np.ones((1, 8, 9), np.uint8))
    assert imported.arrays.read("scan", ArrayName.PREDICTION, 0, 0).all()


def flushed_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of all files and folders that are flushed from now on."""
    found: list[str] = []
    flush = os.fsync

    def fsync(number: int) -> None:
        found.append(os.readlink(f"/proc/self/fd/{number}"))
        flush(number)

    monkeypatch.setattr(os, "fsync", fsync)
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_all_folders_of_a_new_array_are_flushed(
    tmp_path: Path, make_case: Callable[..., NewCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed = flushed_names(monkeypatch)
    with Study.create(tmp_path / "one" / "two.mlbseg") as study:
        study.add_cases([make_case(labels=True)])
        for folder in (tmp_path, tmp_path / "one", study.path, study.path / "arrays"):
            assert str(folder) in flushed, folder
        assert str(study.path / "arrays" / "a") in flushed
        study.arrays.create("a", ArrayName.PREDICTION)
        flushed.clear()
        study.arrays.write("a", ArrayName.PREDICTION, 0, 2, np.ones((1, 7, 8), np.uint8))
        assert [Path(name).name for name in flushed] == ["0.partial"]

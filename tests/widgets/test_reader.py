import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_files import lps_of, voxels, write_series
from npe2 import PluginManifest

from napari_mlbseg.widgets import reader


def test_images_are_shown_where_they_lie(tmp_path: Path) -> None:
    stored = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    nib.save(nib.Nifti1Image(stored, np.diag([1.0, 2.0, 3.0, 1.0])), tmp_path / "a.nii.gz")
    found = reader.get_reader(str(tmp_path / "a.nii.gz"))
    assert found is not None
    ((shown, meta, kind),) = found(str(tmp_path / "a.nii.gz"))
    assert (kind, meta["scale"], meta["name"]) == ("image", (3.0, 2.0, 1.0), "a.nii.gz")
    np.testing.assert_array_equal(shown, stored.transpose(2, 1, 0)[:, ::-1, ::-1])


def test_every_series_of_a_folder_is_a_layer(tmp_path: Path) -> None:
    write_series(tmp_path / "s", voxels(), lps_of())
    for file in write_series(tmp_path / "t", voxels(), lps_of(), SeriesInstanceUID="1.8"):
        file.rename(tmp_path / "s" / f"t{file.name}")
    found = reader.get_reader(str(tmp_path / "s"))
    assert found is not None
    layers = found(str(tmp_path / "s"))
    assert [meta["name"] for _, meta, _ in layers] == ["s series_3", "s series_3_2"]


@pytest.mark.parametrize("name", ["a.gz", "a.tar.gz", "a.tif", "a.png", "folder", "a.mlbseg", "x"])
def test_nothing_else_is_claimed_and_that_within_milliseconds(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name in ("folder", "a.mlbseg"):
        path.mkdir()
        for k in range(2000):
            (path / f"{k}.png").touch()
    else:
        path.write_bytes(b"something" * 1000)
    reader.get_reader(str(path))
    started = time.perf_counter()
    assert reader.get_reader(str(path)) is None
    assert time.perf_counter() - started < 0.02


def test_the_manifest_claims_no_foreign_endings() -> None:
    readers = PluginManifest.from_distribution("napari-mlbseg").contributions.readers or []
    patterns = {pattern for found in readers for pattern in found.filename_patterns}
    assert not patterns & {"*", "*.*", "*.gz", "*.tif", "*.tiff", "*.json"}

from collections.abc import Callable
from pathlib import Path

import napari
import nibabel as nib
import numpy as np
import pytest
from dicom_files import lps_of, voxels, write_series
from effort import counted
from npe2 import PluginManifest
from qtpy.QtWidgets import QSpinBox

from napari_mlbseg.errors import UserError
from napari_mlbseg.widgets import reader
from napari_mlbseg.widgets.panels.choices_dialog import ChoicesDialog


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


@pytest.mark.parametrize("accepted", [True, False])
def test_with_a_window_somebody_chooses_series_and_frames(
    make_napari_viewer: Callable[..., napari.Viewer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    accepted: bool,
) -> None:
    stored = np.arange(360, dtype=np.int16).reshape(3, 4, 5, 6)
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(stored, np.eye(4)), path)

    def answer(dialog: ChoicesDialog) -> bool:
        box = dialog.table.cellWidget(0, 5)
        assert isinstance(box, QSpinBox)
        box.setValue(4)
        return accepted

    monkeypatch.setattr(ChoicesDialog, "exec", answer)
    viewer = make_napari_viewer()
    viewer.open(str(path), plugin="napari-mlbseg")
    assert [layer.name for layer in viewer.layers] == ["a.nii.gz frame 4"] * accepted
    if accepted:
        expected = stored[..., 4].transpose(2, 1, 0)[:, ::-1, ::-1]
        np.testing.assert_array_equal(viewer.layers[0].data, expected)


def test_without_a_window_a_file_with_frames_says_what_to_do(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5, 6), np.int16), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(UserError, match="6 frames"):
        reader.read(str(tmp_path / "a.nii"))


@pytest.mark.parametrize("name", ["a.gz", "a.tar.gz", "a.tif", "a.png", "folder", "a.mlbseg", "x"])
def test_nothing_else_is_claimed_and_hardly_looked_at(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name in ("folder", "a.mlbseg"):
        path.mkdir()
        for k in range(2000):
            (path / f"{k}.png").touch()
    else:
        path.write_bytes(b"something" * 1000)
    for _ in range(2):  # the first time libraries are loaded
        with counted() as effort:
            assert reader.get_reader(str(path)) is None
    assert effort.calls < 2000  # not one for each file in a folder
    assert effort.peak_bytes < 1 << 20


def test_the_manifest_claims_no_foreign_endings() -> None:
    readers = PluginManifest.from_distribution("napari-mlbseg").contributions.readers or []
    patterns = {pattern for found in readers for pattern in found.filename_patterns}
    assert not patterns & {"*", "*.*", "*.gz", "*.tif", "*.tiff", "*.json"}

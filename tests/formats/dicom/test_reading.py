"""DICOM files that lack what the standard asks for, and files that lie beside a series."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import (
    PATIENT,
    dataset_of,
    lps_of,
    set_pixels,
    voxels,
    write_multiframe,
    write_series,
)
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    SecondaryCaptureImageStorage,
)

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import Choice, format_of, open_image, read_image
from napari_mlbseg.formats.source import padding_of, windows_of
from napari_mlbseg.project.arrays.adding import rebuild_arrays
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.importing.cohort import make_study

SHAPE = (6, 5, 4)


def bare(file: Path, *, implicit: bool) -> None:
    dataset = pydicom.dcmread(file)
    dataset.file_meta = FileMetaDataset()
    dataset.preamble = None
    pydicom.dcmwrite(file, dataset, implicit_vr=implicit, little_endian=True)


def without_preamble(file: Path) -> None:
    file.write_bytes(file.read_bytes()[132:])


def without_syntax(file: Path) -> None:
    dataset = pydicom.dcmread(file)
    del dataset.file_meta.TransferSyntaxUID
    pydicom.dcmwrite(file, dataset, implicit_vr=True, little_endian=True)


def big_endian(file: Path) -> None:
    dataset = pydicom.dcmread(file)
    dataset.PixelData = dataset.pixel_array.astype(">i2").tobytes()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    pydicom.dcmwrite(file, dataset, implicit_vr=False, little_endian=False)


def deflated(file: Path) -> None:
    dataset = pydicom.dcmread(file)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(file)


SPOILED: dict[str, Callable[[Path], None]] = {
    "bare, implicit": lambda file: bare(file, implicit=True),
    "bare, explicit": lambda file: bare(file, implicit=False),
    "no preamble": without_preamble,
    "no syntax": without_syntax,
    "big endian": big_endian,
    "deflated": deflated,
}


@pytest.mark.parametrize("spoiled", SPOILED)
@pytest.mark.parametrize("small", [True, False])
def test_voxels_are_those_that_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoiled: str, small: bool
) -> None:
    if not small:  # large files are read in pieces
        monkeypatch.setattr("napari_mlbseg.formats.dicom.pixels._SMALL_FILE", 0)
    stored = voxels(SHAPE)
    for file in write_series(tmp_path / "s", stored, lps_of()):
        SPOILED[spoiled](file)
    assert format_of(tmp_path / "s") == "dicom"
    volume, _ = read_image(tmp_path / "s")
    np.testing.assert_array_equal(volume.geometry.to_file(volume.voxels), stored)


# --- what lies beside a series --------------------------------------------------------------------


def screenshot(path: Path, **elements: object) -> None:
    """A colour picture without a place in the patient."""
    dataset = dataset_of(SecondaryCaptureImageStorage, SeriesInstanceUID="9.9", **elements)
    set_pixels(dataset, np.zeros((4, 4), np.uint8))
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
    dataset.save_as(path, enforce_file_format=True)


def test_previews_reports_and_screenshots_are_named_and_do_not_hinder(tmp_path: Path) -> None:
    stored = voxels(SHAPE)
    write_series(tmp_path, stored, lps_of())
    screenshot(tmp_path / "dose.dcm")
    for k in range(30):
        (tmp_path / f"A{k:02d}.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    scan = open_image(tmp_path)
    volume = scan.volume()
    np.testing.assert_array_equal(volume.geometry.to_file(volume.voxels), stored)
    told = "\n".join(scan.notes)
    assert "1 DICOM files that are not taken as images: dose.dcm: an image without a place" in told
    assert "holds 30 files that are not DICOM and are left out: A00.jpg" in told
    assert "and 18 more" in told


def test_a_picture_alone_says_what_is_wrong(tmp_path: Path) -> None:
    screenshot(tmp_path / "dose.dcm")
    with pytest.raises(UserError, match="holds RGB images; a study takes grey values only"):
        open_image(tmp_path)


def test_the_largest_series_is_taken_when_asked_for_and_the_others_are_told(
    tmp_path: Path,
) -> None:
    write_series(tmp_path / "s", voxels(SHAPE), lps_of())
    others = write_series(
        tmp_path / "t",
        voxels((3, 3, 2)),
        lps_of(),
        SeriesInstanceUID="1.9",
        SeriesNumber=1,
        SeriesDescription=f"T2 axial {PATIENT.replace('^', ' ')} tse",
    )
    for file in others:
        file.rename(tmp_path / "s" / f"t{file.name}")
    with pytest.raises(UserError, match=r"2 slices of 3 x 3, 0\.7 x 0\.8 x 2\.5 mm, T2 axial tse"):
        open_image(tmp_path / "s")
    scan = open_image(tmp_path / "s", Choice(series="largest"))
    assert scan.geometry.file_shape == SHAPE
    assert scan.source.choice == Choice(series="series_3")
    assert any("series_3 is taken; left out are series_1" in note for note in scan.notes)
    assert not any("DOE" in note or "JANE" in note for note in scan.notes)


# --- grey levels ----------------------------------------------------------------------------------


def test_the_windows_of_a_series_are_kept_with_their_names(tmp_path: Path) -> None:
    several: dict[str, Any] = {
        "WindowCenter": ["40", "-600", "40", "7"],
        "WindowWidth": ["400", "1500", "400", "0"],
        "WindowCenterWidthExplanation": [f"SOFT {PATIENT.split('^')[0]}", "LUNG", "ID 12345"],
    }
    write_series(tmp_path / "several", voxels(), lps_of(), **several)
    write_series(tmp_path / "one", voxels(), lps_of(), WindowCenter="40.5", WindowWidth="400")
    write_series(tmp_path / "none", voxels(), lps_of())
    found = {
        name: windows_of(open_image(tmp_path / name).source) for name in ("several", "one", "none")
    }
    assert found["several"] == (("SOFT", 400, 40), ("LUNG", 1500, -600), ("", 400, 40))
    assert found["one"] == (("", 400, 40.5),)
    assert found["none"] == ()


def test_the_windows_of_a_file_with_frames_are_those_of_its_first(tmp_path: Path) -> None:
    path = write_multiframe(tmp_path / "frames.dcm", voxels(), lps_of())
    dataset = pydicom.dcmread(path)
    item = Dataset()
    item.WindowCenter, item.WindowWidth = "300", "600"
    dataset.PerFrameFunctionalGroupsSequence[0].FrameVOILUTSequence = [item]
    dataset.save_as(path)
    assert windows_of(open_image(path).source) == (("", 600, 300),)


# --- padding --------------------------------------------------------------------------------------


def test_padding_does_not_change_what_is_shown_and_learnt_from(tmp_path: Path) -> None:
    """Two series that differ only outside of the round field of view; a lost array is rebuilt."""
    stored = np.random.default_rng(0).normal(40, 12, (16, 16, 4)).astype(np.int16)
    outside = np.hypot(*(np.indices((16, 16)) - 7.5)) > 7
    padded = np.where(outside[..., None], np.int16(-2000), stored)
    write_series(tmp_path / "i" / "plain", stored, lps_of(), RescaleIntercept="-24")
    padding: dict[str, Any] = {"PixelPaddingValue": -2000, "RescaleIntercept": "-24"}
    write_series(tmp_path / "i" / "padded", padded, lps_of(), PixelRepresentation=1, **padding)
    study, _ = make_study(tmp_path / "s.mlbseg", tmp_path / "i")
    with study:
        found = study.case("padded")
        assert padding_of(found.source) == (-2024.0, -2024.0)
        inside = stored[~outside].astype(np.float64) - 24
        low, high = np.percentile(inside, (0.5, 99.5))
        assert (found.intensity.low, found.intensity.high) == pytest.approx((low, high))
        assert found.intensity.std == pytest.approx(np.clip(inside, low, high).std())
        assert padding_of(study.case("plain").source) is None
        study.arrays.remove("padded", ArrayName.IMAGE)
        rebuild_arrays(study.cases, study.arrays)


def of_no_kind(file: Path, tag: bytes) -> None:
    """Damage the type of an element that has been read so far (explicit little endian)."""
    data = file.read_bytes()
    assert data.count(tag) == 1
    place = data.index(tag) + 4
    file.write_bytes(data[:place] + b"Cx" + data[place + 2 :])


MODALITY, SERIES, ROWS = b"\x08\x00\x60\x00CS", b"\x20\x00\x0e\x00UI", b"\x28\x00\x10\x00US"


def test_damage_in_what_is_only_shown_is_no_hindrance(tmp_path: Path) -> None:
    stored = voxels((6, 5, 4))
    for file in write_series(tmp_path / "s", stored, lps_of()):
        of_no_kind(file, MODALITY)
    found = read_image(tmp_path / "s")[0].voxels
    np.testing.assert_array_equal(np.sort(found, None), np.sort(stored, None))


@pytest.mark.parametrize("tag", [SERIES, ROWS])
def test_damage_in_what_sorts_files_is_told(tmp_path: Path, tag: bytes) -> None:
    file = write_series(tmp_path / "s", voxels((6, 5, 4)), lps_of())[1]
    of_no_kind(file, tag)
    with pytest.raises(UserError, match=file.name):
        read_image(tmp_path / "s")

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from damaged import refused_at_once
from dicom_files import (
    PATIENT,
    PLANES,
    RAS,
    dataset_of,
    lps_of,
    set_pixels,
    voxels,
    write_multiframe,
    write_series,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from nifti_files import load_nifti
from numpy.typing import DTypeLike
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from stored import as_stored

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.dicom.images import series_in
from napari_mlbseg.formats.registry import (
    Choice,
    export_suffix,
    format_of,
    open_image,
    read_image,
    read_labels,
    write_labels,
)
from napari_mlbseg.volume import Volume


@settings(max_examples=40)
@given(
    plane=st.sampled_from(sorted(PLANES)),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    tilt=st.tuples(*[st.floats(-0.4, 0.4)] * 3),
    shape=st.tuples(st.integers(2, 5), st.integers(2, 5), st.integers(1, 5)),
)
def test_a_series_lies_where_simpleitk_sees_it(
    tmp_path_factory: pytest.TempPathFactory,
    plane: str,
    spacing: tuple[float, float, float],
    tilt: tuple[float, float, float],
    shape: tuple[int, int, int],
) -> None:
    folder = tmp_path_factory.mktemp("series")
    stored = voxels(shape)
    files = write_series(folder, stored, lps_of(plane, spacing, tilt=tilt), RescaleIntercept=-1024)
    volume, source = read_image(folder)
    assert source.format == "dicom"
    np.testing.assert_array_equal(as_stored(volume), stored.astype(int) - 1024)
    np.testing.assert_allclose(
        volume.geometry.affine, RAS @ lps_of(plane, spacing, tilt=tilt), atol=1e-5
    )

    seen = sitk.ReadImage([str(f) for f in files]) if len(files) > 1 else sitk.ReadImage(files[0])
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(seen).transpose(2, 1, 0), stored.astype(int) - 1024
    )
    corner = np.array(shape) - [1, 1, 1]
    for index in (np.zeros(3), corner):
        theirs = seen.TransformIndexToPhysicalPoint([int(i) for i in index])
        ours = np.array(volume.geometry.affine) @ [*index, 1]
        if len(files) > 1:
            np.testing.assert_allclose((RAS @ ours)[:3], theirs, atol=1e-4)
    labels = Volume((volume.voxels > 0).astype(np.uint8), volume.geometry)
    out = folder.parent / f"{folder.name}{export_suffix(folder, source)}"
    write_labels(out, labels, source)
    assert out.name.endswith(".nii.gz")
    again = load_nifti(out)
    np.testing.assert_allclose(again.affine, volume.geometry.affine, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(again.dataobj), stored.astype(int) - 1024 > 0)


@pytest.mark.parametrize(
    "syntax", [None, RLELossless, JPEGLSLossless, JPEG2000Lossless, DeflatedExplicitVRLittleEndian]
)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_transfer_syntaxes(tmp_path: Path, syntax: UID | None, dtype: DTypeLike) -> None:
    stored = np.arange(40 * 36 * 3).reshape(40, 36, 3).astype(dtype)
    if np.dtype(dtype).kind == "i" and syntax in (JPEGLSLossless, JPEG2000Lossless):
        stored = stored - 500
    files = write_series(tmp_path / "s", stored, lps_of(), syntax=None)
    if syntax == DeflatedExplicitVRLittleEndian:
        for file in files:
            dataset = pydicom.dcmread(file)
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.save_as(file)
    elif syntax is not None:
        for file in files:
            dataset = pydicom.dcmread(file)
            dataset.compress(syntax)
            dataset.save_as(file)
    assert {pydicom.dcmread(f).file_meta.TransferSyntaxUID for f in files} == {
        syntax or pydicom.uid.ExplicitVRLittleEndian
    }
    np.testing.assert_array_equal(as_stored(read_image(tmp_path / "s")[0]), stored)


def test_lossless_jpeg_of_the_old_kind(tmp_path: Path) -> None:
    import gdcm

    stored = np.arange(20 * 18 * 2).reshape(20, 18, 2).astype(np.uint16)
    for file in write_series(tmp_path / "s", stored, lps_of()):
        reader = gdcm.ImageReader()
        reader.SetFileName(str(file))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(file))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        assert pydicom.dcmread(file).file_meta.TransferSyntaxUID == pydicom.uid.JPEGLosslessSV1
    np.testing.assert_array_equal(as_stored(read_image(tmp_path / "s")[0]), stored)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_multi_frame_files(tmp_path: Path, order: list[int]) -> None:
    stored = voxels()
    path = write_multiframe(tmp_path / "mr.dcm", stored, lps_of("coronal"), order)
    volume, _ = read_image(path)
    np.testing.assert_array_equal(as_stored(volume), stored - 7)
    np.testing.assert_allclose(volume.geometry.affine, RAS @ lps_of("coronal"), atol=1e-6)
    (tmp_path / "folder").mkdir()
    shutil.move(path, tmp_path / "folder" / "one file")
    np.testing.assert_array_equal(as_stored(read_image(tmp_path / "folder")[0]), stored - 7)


@pytest.mark.parametrize(
    ("slope", "inter", "dtype"),
    [(1, 0, np.int16), (1, -1024, np.int32), (1, 0.5, np.float32), (2, 0, np.float32)],
)
def test_rescaling(tmp_path: Path, slope: int, inter: float, dtype: DTypeLike) -> None:
    stored = voxels()
    write_series(tmp_path / "s", stored, lps_of(), RescaleSlope=slope, RescaleIntercept=inter)
    volume, _ = read_image(tmp_path / "s")
    assert volume.voxels.dtype == dtype
    np.testing.assert_array_equal(as_stored(volume), stored * float(slope) + inter)


def test_a_slope_of_its_own_for_each_slice(tmp_path: Path) -> None:
    stored = voxels()
    for k, file in enumerate(write_series(tmp_path / "s", stored, lps_of())):
        dataset = pydicom.dcmread(file)
        dataset.RescaleSlope, dataset.RescaleIntercept = k + 0.5, 0
        dataset.save_as(file)
    np.testing.assert_array_equal(
        as_stored(read_image(tmp_path / "s")[0]), stored * (np.arange(4) + 0.5)
    )


def test_a_tilted_gantry_is_told_and_kept(tmp_path: Path) -> None:
    lps = lps_of()
    lps[1, 2] = 0.5
    write_series(tmp_path / "s", voxels(), lps)
    scan = open_image(tmp_path / "s")
    np.testing.assert_allclose(scan.geometry.affine, RAS @ lps, atol=1e-6)
    assert any("gantry tilted by 11.3 degrees" in note for note in scan.notes)


def test_positions_that_were_rounded_are_told(tmp_path: Path) -> None:
    files = write_series(tmp_path / "s", voxels((4, 4, 9)), lps_of(spacing=(1, 1, 1.25)))
    for k, file in enumerate(files):
        dataset = pydicom.dcmread(file)
        dataset.ImagePositionPatient = [0, 0, round(1.25 * k + 1e-9, 1)]
        dataset.save_as(file)
    assert any("off an even grid" in note for note in open_image(tmp_path / "s").notes)


def edit(file: Path, **elements: Any) -> None:
    dataset = pydicom.dcmread(file)
    for name, value in elements.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(file)


def missing(folder: Path, files: list[Path]) -> None:
    files[2].unlink()


def uneven(folder: Path, files: list[Path]) -> None:
    edit(files[2], ImagePositionPatient=[-100.25, 50.5, -30.125 + 2.5 * 2.4])


def doubled(folder: Path, files: list[Path]) -> None:
    edit(files[2], ImagePositionPatient=[-100.25, 50.5, -30.125 + 2.5])


def truncated(folder: Path, files: list[Path]) -> None:
    files[1].write_bytes(files[1].read_bytes()[:-20])


def short_header(folder: Path, files: list[Path]) -> None:
    files[1].write_bytes(files[1].read_bytes()[:400])


def empty(folder: Path, files: list[Path]) -> None:
    files[1].write_bytes(b"")


def colour(folder: Path, files: list[Path]) -> None:
    edit(files[1], SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)


def without_position(folder: Path, files: list[Path]) -> None:
    edit(files[1], ImagePositionPatient=None)


def without_spacing(folder: Path, files: list[Path]) -> None:
    edit(files[1], PixelSpacing=None)


def nan_position(folder: Path, files: list[Path]) -> None:
    edit(files[0], ImagePositionPatient=["nan", "0", "0"])


def skewed(folder: Path, files: list[Path]) -> None:
    edit(files[0], ImageOrientationPatient=[1, 0, 0, 1, 0, 0])


def absurd_rows(folder: Path, files: list[Path]) -> None:
    for file in files:
        edit(file, Rows=65535, Columns=65535)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (missing, r"lacks about 1 of its slices: between IM\d+ and IM\d+ there are 5 mm instead"),
        (uneven, "unevenly spaced slices"),
        (doubled, "several different slices at one position"),
        (truncated, r"IM\d+ "),
        (short_header, r"IM\d+ "),
        (empty, r"IM\d+ is empty"),
        (colour, r"IM\d+ holds RGB images"),
        (without_position, r"IM\d+ has no ImagePositionPatient"),
        (without_spacing, r"IM\d+ has no PixelSpacing"),
        (nan_position, r"IM\d+ (has no usable geometry|is not a valid)"),
        (skewed, r"IM\d+ has no usable geometry"),
        (absurd_rows, r"announces 65535 x 65535|damaged|IM\d+"),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.filterwarnings("ignore:The value length")
def test_what_is_wrong_with_a_series_is_told_at_once(
    tmp_path: Path, spoil: Callable[..., Any], says: str
) -> None:
    files = write_series(tmp_path / "s", voxels((6, 5, 6)), lps_of())
    spoil(tmp_path / "s", files)
    refused_at_once(read_image, tmp_path / "s", says)


def test_a_slice_that_was_copied_twice_counts_once(tmp_path: Path) -> None:
    files = write_series(tmp_path / "s", voxels(), lps_of())
    shutil.copy(files[0], tmp_path / "s" / "copy")
    scan = open_image(tmp_path / "s")
    assert any("1 slices occur twice" in note for note in scan.notes)
    np.testing.assert_array_equal(as_stored(scan.volume()), voxels())


def test_time_points_of_one_series_are_chosen_by_number(tmp_path: Path) -> None:
    first, second = voxels(seed=1), voxels(seed=2)
    write_series(tmp_path / "s", first, lps_of(), AcquisitionNumber=1)
    for file in write_series(tmp_path / "t", second, lps_of(), AcquisitionNumber=2):
        shutil.move(file, tmp_path / "s" / f"t{file.name}")
    with pytest.raises(UserError, match=r"2 frames .*from 0 to 1"):
        read_image(tmp_path / "s")
    for number, expected in enumerate((first, second)):
        volume, source = read_image(tmp_path / "s", Choice(frame=number))
        assert source.choice == Choice(frame=number)
        np.testing.assert_array_equal(as_stored(volume), expected)


def test_several_series_are_listed_to_choose_from(tmp_path: Path) -> None:
    write_series(tmp_path / "s", voxels(seed=1), lps_of())
    more = write_series(
        tmp_path / "t", voxels((3, 3, 3)), lps_of(), SeriesInstanceUID="1.9", SeriesNumber=12
    )
    for file in more:
        shutil.move(file, tmp_path / "s" / f"t{file.name}")
    assert [series.name for series in series_in(tmp_path / "s")] == ["series_3", "series_12"]
    with pytest.raises(
        UserError, match=r"2 series: series_3 \(CT, 4 slices of 6 x 5, .*\); series_12"
    ):
        read_image(tmp_path / "s")
    volume, source = read_image(tmp_path / "s", Choice(series="series_12"))
    assert volume.voxels.shape == (3, 3, 3)
    assert source.choice == Choice(series="series_12")


def test_a_localizer_is_a_series_of_its_own_and_reports_are_left_out(tmp_path: Path) -> None:
    write_series(tmp_path / "s", voxels(), lps_of())
    for file in write_series(tmp_path / "t", voxels((9, 9, 1)), lps_of("coronal")):
        shutil.move(file, tmp_path / "s" / "localizer")
    report = dataset_of(UID("1.2.840.10008.5.1.4.1.1.88.11"))
    report.save_as(tmp_path / "s" / "report.dcm", enforce_file_format=True)
    (tmp_path / "s" / "notes.txt").write_text("seen")
    (tmp_path / "s" / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    names = [(series.name, len(series.planes)) for series in series_in(tmp_path / "s")]
    assert sorted(names) == [("series_3", 4), ("series_3_2", 1)]


def test_nothing_about_the_patient_is_kept(tmp_path: Path) -> None:
    write_series(tmp_path / "s", voxels(), lps_of())
    source = open_image(tmp_path / "s").source
    for secret in (PATIENT, "SECRET", "19500101"):  # UIDs hold short numbers by chance
        assert secret.encode() not in source.header
    assert b"1.2.3.4" in source.header


def test_only_dicom_is_taken_for_dicom(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    files = write_series(folder, voxels(), lps_of())
    assert format_of(folder) == format_of(files[0]) == "dicom"
    (tmp_path / "notes").write_text("not an image" * 100)
    assert format_of(tmp_path / "notes") is None
    assert format_of(tmp_path) is None
    (tmp_path / "scan.dcm").write_text("not an image" * 100)
    with pytest.raises(UserError, match=r"scan\.dcm is not a DICOM file"):
        read_image(tmp_path / "scan.dcm")


def test_a_single_slice_of_unknown_thickness_is_told(tmp_path: Path) -> None:
    (file,) = write_series(tmp_path / "s", voxels((4, 4, 1)), lps_of())
    edit(file, SliceThickness=None)
    scan = open_image(tmp_path / "s")
    assert any("unknown thickness" in note for note in scan.notes)
    assert scan.geometry.spacing_mm[0] == 1.0


def test_frames_without_positions_are_refused(tmp_path: Path) -> None:
    dataset = dataset_of(NumberOfFrames=2, PixelSpacing=[1, 1])
    set_pixels(dataset, np.zeros((2, 4, 4), np.uint8))
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(UserError, match="2 frames without positions"):
        read_image(tmp_path / "a.dcm")


def test_the_real_series_and_its_labels(real_data: Path) -> None:
    volume, _ = read_image(real_data / "ct_dicom" / "series")
    reader = sitk.ImageSeriesReader()
    folder = str(real_data / "ct_dicom" / "series")
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder))
    seen = reader.Execute()
    np.testing.assert_array_equal(
        as_stored(volume), sitk.GetArrayFromImage(seen).transpose(2, 1, 0)
    )
    first = seen.TransformIndexToPhysicalPoint((0, 0, 0))
    assert tuple((RAS @ np.array(volume.geometry.affine))[:3, 3]) == first
    labels, _ = read_labels(real_data / "ct_dicom" / "segmentation.nii.gz")
    assert labels.geometry.aligned_with(volume.geometry) is not None

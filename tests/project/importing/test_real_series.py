"""A real CT series from the scanner to a study and back, seen by other readers."""

import subprocess
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from nifti_files import load_nifti

from napari_mlbseg.formats.dicom_out.origin import origin_of
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.exporting.export import ExportKind, OutFormat, export_case
from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Geometry

CORRECTED = 7


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory, real_data: Path
) -> tuple[Any, Any, Any, Any]:
    """The series with 31 organs from NIfTI in LAS, one slice corrected, exported four times."""
    folder = real_data / "ct_dicom" / "series"
    out = tmp_path_factory.mktemp("real")
    with Study.create(out / "s.mlbseg", author="ada") as study:
        imported = import_folder(study, folder, real_data / "ct_dicom" / "segmentation.nii.gz")
        assert imported.failures == ()
        (case,) = study.cases
        mask = np.array(study.labels.machine(case.id)[CORRECTED])
        mask[100:140, 200:260] = 5
        study.save_slice(SliceKey(case.id, case.axis, CORRECTED), mask, SliceState.CLEAN)
        files = {
            form: export_case(study, case.id, out / form.value, ExportKind.LABELS, form)[0]
            for form in (OutFormat.AUTO, OutFormat.NIFTI, OutFormat.NRRD, OutFormat.RTSTRUCT)
        }
        labels = case.geometry.to_file(study.labels.working(case.id))
        values = [c.value for c in study.classes]
    return case, files, labels, values


def series_by_itk(folder: Path) -> Any:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def test_only_the_corrected_slice_differs_from_the_file_that_came_in(
    exported: tuple[Any, Any, Any, Any], real_data: Path
) -> None:
    """By world positions, although the file that came in counts its rows the other way."""
    _, _, labels, _ = exported
    came = load_nifti(real_data / "ct_dicom" / "segmentation.nii.gz")
    assert nib.aff2axcodes(came.affine) == ("L", "A", "S")
    expected = np.asarray(came.dataobj)[:, ::-1].copy()
    expected[200:260, 100:140, CORRECTED] = 5
    np.testing.assert_array_equal(labels, expected)


def test_highdicom_and_pydicom_read_the_segmentation(exported: tuple[Any, Any, Any, Any]) -> None:
    case, files, labels, values = exported
    path = files[OutFormat.AUTO]
    volume = hd.seg.segread(path).get_volume(combine_segments=True)
    # Its first axis is the slice; from its affine to the axes of the series.
    step = np.linalg.solve(
        np.diag([-1, -1, 1, 1]) @ np.asarray(case.geometry.affine), volume.affine
    )
    np.testing.assert_allclose(step, np.rint(step), atol=1e-5)
    lut = np.array([0, *values], np.uint8)
    indices = np.argwhere(np.ones(volume.array.shape, bool))
    there = np.rint(np.column_stack([indices, np.ones(len(indices))]) @ step.T).astype(int)
    np.testing.assert_array_equal(
        labels[tuple(there[:, :3].T)], lut[volume.array[tuple(indices.T)]]
    )
    dataset = pydicom.dcmread(path)
    assert len(dataset.SegmentSequence) == 31
    assert dataset.ContentCreatorName != ""
    assert "1 slices by ada" in dataset.SegmentSequence[0].SegmentDescription
    folder = case.image_path
    uids = {pydicom.dcmread(f).file_meta.MediaStorageSOPInstanceUID for f in folder.iterdir()}
    (series,) = dataset.ReferencedSeriesSequence
    assert {i.ReferencedSOPInstanceUID for i in series.ReferencedInstanceSequence} == uids


def test_itk_finds_the_labels_on_its_own_reading_of_the_series(
    exported: tuple[Any, Any, Any, Any],
) -> None:
    case, files, labels, _ = exported
    image = series_by_itk(case.image_path)
    for form in (OutFormat.NIFTI, OutFormat.NRRD):
        written = sitk.ReadImage(str(files[form]))
        np.testing.assert_allclose(written.GetOrigin(), image.GetOrigin(), atol=1e-5)
        np.testing.assert_allclose(written.GetDirection(), image.GetDirection(), atol=1e-6)
        np.testing.assert_allclose(written.GetSpacing(), image.GetSpacing(), atol=1e-6)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(written).transpose(2, 1, 0), labels)


def test_dcm2niix_converts_the_series_to_where_our_labels_lie(
    exported: tuple[Any, Any, Any, Any], tmp_path: Path
) -> None:
    """Its image has our voxels at our positions, after its own choice of axes."""
    converter = pytest.importorskip("dcm2niix", reason="the converter is not installed")
    case, files, labels, _ = exported
    study_path = files[OutFormat.AUTO].parents[1] / "s.mlbseg"
    command = [converter.bin, "-z", "n", "-b", "n", "-f", "out", "-o", str(tmp_path)]
    subprocess.run([*command, str(case.image_path)], check=True, capture_output=True)
    (found,) = tmp_path.glob("*.nii")
    image = load_nifti(found)
    assert np.prod(image.shape) == labels.size
    x, y, z = image.shape
    theirs = Geometry.from_affine((x, y, z), image.affine)
    aligned = theirs.aligned_with(case.geometry)
    assert aligned is not None
    with Study.open(study_path, writable=False) as study:
        pixels = np.asarray(study.arrays.open(case.id, ArrayName.IMAGE)[:])
    np.testing.assert_array_equal(aligned.to_display(np.asarray(image.dataobj)), pixels)
    np.testing.assert_allclose(aligned.display_affine, case.geometry.display_affine, atol=1e-4)


def test_contours_filled_again_are_the_labels(exported: tuple[Any, Any, Any, Any]) -> None:
    """In the plane of each slice; the largest organ and the smallest ones."""
    from matplotlib.path import Path as Outline

    case, files, labels, values = exported
    dataset = pydicom.dcmread(files[OutFormat.RTSTRUCT])
    origin = origin_of(case.image_path, case.source)
    by_uid = {plane.instance: k for k, plane in enumerate(origin.planes)}
    lps = np.diag([-1, -1, 1, 1]) @ np.asarray(case.geometry.affine)
    regions = {int(r.ReferencedROINumber): r for r in dataset.ROIContourSequence}
    assert set(regions) == set(values)
    counts = np.bincount(labels.ravel(), minlength=256)
    for value in (*sorted(values, key=lambda v: counts[v])[:3], 5):
        found = np.zeros(labels.shape, bool)
        for contour in regions[value].ContourSequence:
            points = np.reshape(np.array(contour.ContourData, float), (-1, 3))
            k = by_uid[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            assert np.abs(points[:, 2] - origin.planes[k].position[2]).max() == 0
            places = np.linalg.solve(lps, np.column_stack([points, np.ones(len(points))]).T)[:2].T
            low, high = np.floor(places.min(0)).astype(int), np.ceil(places.max(0)).astype(int) + 1
            grid = np.argwhere(np.ones(high - low, bool)) + low
            inside = Outline(np.concatenate([places, places[:1]]), closed=True).contains_points(
                grid
            )
            found[low[0] : high[0], low[1] : high[1], k] ^= inside.reshape(high - low)
        expected = labels == value
        assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.99

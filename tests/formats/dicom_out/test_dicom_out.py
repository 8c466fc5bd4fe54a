"""DICOM-SEG and RTSTRUCT, read back by pydicom, highdicom and SimpleITK."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import PATIENT, PLANES, decimal, lps_of, voxels, write_multiframe, write_series
from matplotlib.path import Path as Outline
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileDataset

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.anatomy import Segment
from napari_mlbseg.formats.dicom_out.about import About
from napari_mlbseg.formats.dicom_out.origin import origin_of
from napari_mlbseg.formats.dicom_out.rtstruct import write_rtstruct
from napari_mlbseg.formats.dicom_out.segmentation import (
    write_label_segmentation,
    write_map_segmentation,
)
from napari_mlbseg.formats.grids import on_grid_of
from napari_mlbseg.formats.registry import open_image, open_labels
from napari_mlbseg.volume import Volume

SHAPE = (12, 10, 7)
SEGMENTS = (
    Segment(2, "kidney left", (230, 159, 0)),
    Segment(3, "something else", (86, 180, 233)),
    Segment(9, "lesion", (0, 158, 115)),
)
ABOUT = About(
    "labels", SEGMENTS, False, "ada", "1.2.3", "ab" * 32, "2 slices by ada (axis 2: 3, 4)."
)
MAP = About("trust", (Segment(1, "trust", (1, 2, 3)),), True, "ada", "1.2.3")
TILTS = {"straight": (0, 0, 0), "oblique": (0.1, 0.2, -0.3)}


def labels_of(shape: tuple[int, int, int], seed: int = 0) -> NDArray[Any]:
    labels = np.random.default_rng(seed).choice([0, 0, 2, 3, 9], shape).astype(np.uint8)
    labels[:, :, 1] = 0  # frames that are left out of the file
    return labels


class Case:
    """A series or a multi-frame file with labels (columns, rows, slices)."""

    def __init__(self, path: Path, lps: NDArray[Any], labels: NDArray[Any]) -> None:
        self.path, self.lps, self.labels = path, lps, labels
        scan = open_image(path)
        self.geometry, self.source = scan.geometry, scan.source
        self.volume = Volume(scan.geometry.to_display(labels), scan.geometry)
        self.origin = origin_of(path, scan.source)

    def back(self, path: Path) -> NDArray[Any]:
        """What our reader finds on the grid of the image, in the file's frame."""
        scan = on_grid_of(open_labels(path), self.geometry, path, self.path).volume()
        return self.geometry.to_file(scan.voxels)


@pytest.fixture(params=[f"{plane} {tilt}" for plane in PLANES for tilt in TILTS])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case | list[str]:
    plane, tilt = request.param.split()
    lps = lps_of(plane, tilt=TILTS[tilt])
    write_series(tmp_path / "s", voxels(SHAPE), lps)
    return Case(tmp_path / "s", lps, labels_of(SHAPE))


@pytest.fixture
def axial(tmp_path: Path) -> Case:
    write_series(tmp_path / "s", voxels(SHAPE), lps_of())
    return Case(tmp_path / "s", lps_of(), labels_of(SHAPE))


def frames(
    dataset: Dataset,
) -> Iterator[tuple[int, NDArray[np.float64], NDArray[Any], Dataset]]:
    """Segment number, position and pixels (row, column) of each frame, by pydicom alone."""
    pixels = np.atleast_3d(dataset.pixel_array).reshape(-1, dataset.Rows, dataset.Columns)
    for group, plane in zip(dataset.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        shared = dataset.SharedFunctionalGroupsSequence[0]
        holder = group if "SegmentIdentificationSequence" in group else shared
        number = holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        position = group.PlanePositionSequence[0].ImagePositionPatient
        yield int(number), np.array(position, float), plane, group


def test_a_segmentation_has_the_voxels_where_they_were(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "seg.dcm"
    write_label_segmentation(path, case.volume, case.origin, ABOUT)
    np.testing.assert_array_equal(case.back(path), case.labels)

    # pydicom: each frame lies at the position of its slice, to the letter.
    dataset = pydicom.dcmread(path)
    values = {k + 1: s.value for k, s in enumerate(SEGMENTS)}
    seen = np.zeros(SHAPE, np.uint8)
    positions = [np.array(plane.position) for plane in case.origin.planes]
    for number, position, plane, group in frames(dataset):
        (k,) = (k for k, p in enumerate(positions) if np.array_equal(p, position))
        seen[:, :, k][plane.T > 0] = values[number]
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert source.ReferencedSOPInstanceUID == case.origin.planes[k].instance
    np.testing.assert_array_equal(seen, case.labels)

    # highdicom: the same value at the same world position.
    volume = hd.seg.segread(path).get_volume(combine_segments=True, allow_missing_positions=True)
    count = 0
    for index in np.argwhere(volume.array):
        lps = volume.map_indices_to_reference(index[None])[0]
        ours = np.linalg.solve(case.lps, [*lps, 1])[:3]
        np.testing.assert_allclose(ours, np.rint(ours), atol=1e-3)
        there = tuple(np.rint(ours).astype(int))
        assert case.labels[there] == values[int(volume.array[tuple(index)])]
        count += 1
    assert count == np.count_nonzero(case.labels)


def test_patient_and_study_are_those_of_the_series(axial: Case, tmp_path: Path) -> None:
    path = tmp_path / "seg.dcm"
    write_label_segmentation(path, axial.volume, axial.origin, ABOUT)
    write_rtstruct(tmp_path / "rt.dcm", axial.volume, axial.origin, ABOUT)
    first = pydicom.dcmread(next(axial.path.iterdir()))
    for made in (pydicom.dcmread(path), pydicom.dcmread(tmp_path / "rt.dcm")):
        for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate"):
            assert made[name].value == first[name].value
        assert made.PatientName == PATIENT
        assert made.StudyInstanceUID == first.StudyInstanceUID
        assert made.FrameOfReferenceUID == first.FrameOfReferenceUID
        assert made.SeriesInstanceUID != first.SeriesInstanceUID
        assert made.SoftwareVersions == "1.2.3"
        assert made.Manufacturer == made.ManufacturerModelName == "napari-mlbseg"
    seg = pydicom.dcmread(path)
    assert seg.ContentCreatorName == "ada"
    references = seg.ReferencedSeriesSequence[0]
    assert references.SeriesInstanceUID == first.SeriesInstanceUID
    assert len(references.ReferencedInstanceSequence) == SHAPE[2]


def test_segments_say_what_they_are(axial: Case, tmp_path: Path) -> None:
    write_label_segmentation(tmp_path / "seg.dcm", axial.volume, axial.origin, ABOUT)
    kidney, other, lesion = pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence
    assert [s.SegmentLabel for s in (kidney, other, lesion)] == [s.name for s in SEGMENTS]
    (kind,) = kidney.SegmentedPropertyTypeCodeSequence
    assert (kind.CodeValue, kind.CodeMeaning) == ("64033007", "Kidney")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert other.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Anatomical Structure"
    assert lesion.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    for segment in (kidney, other, lesion):
        assert segment.SegmentAlgorithmType == "SEMIAUTOMATIC"
        assert "2 slices by ada (axis 2: 3, 4)." in segment.SegmentDescription
        (made,) = segment.SegmentationAlgorithmIdentificationSequence
        assert (made.AlgorithmName, made.AlgorithmVersion) == ("napari-mlbseg", "1.2.3")
        assert ABOUT.model in made.AlgorithmParameters
    assert len(kidney.RecommendedDisplayCIELabValue) == 3
    assert open_labels(tmp_path / "seg.dcm").names == {s.value: s.name for s in SEGMENTS}


def test_a_multi_frame_file_with_frames_in_any_order(tmp_path: Path) -> None:
    lps = lps_of("coronal")
    order = [3, 0, 6, 1, 5, 2, 4]
    path = write_multiframe(tmp_path / "mr.dcm", voxels(SHAPE), lps, order)
    case = Case(path, lps, labels_of(SHAPE))
    write_label_segmentation(tmp_path / "seg.dcm", case.volume, case.origin, ABOUT)
    np.testing.assert_array_equal(case.back(tmp_path / "seg.dcm"), case.labels)
    for _, position, _, group in frames(pydicom.dcmread(tmp_path / "seg.dcm")):
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        frame = int(source.ReferencedFrameNumber) - 1
        expected = (lps @ [0, 0, order[frame], 1])[:3]
        np.testing.assert_allclose(position, expected, atol=1e-6)
    write_rtstruct(tmp_path / "rt.dcm", case.volume, case.origin, ABOUT)
    assert_contours(tmp_path / "rt.dcm", case)


def test_a_single_slice(tmp_path: Path) -> None:
    shape = (12, 10, 1)
    write_series(tmp_path / "s", voxels(shape), lps_of())
    case = Case(tmp_path / "s", lps_of(), np.roll(labels_of((12, 10, 2))[:, :, :1], 1))
    write_label_segmentation(tmp_path / "seg.dcm", case.volume, case.origin, ABOUT)
    np.testing.assert_array_equal(case.back(tmp_path / "seg.dcm"), case.labels)
    write_rtstruct(tmp_path / "rt.dcm", case.volume, case.origin, ABOUT)
    assert_contours(tmp_path / "rt.dcm", case)


def test_maps_are_fractions(case: Case, tmp_path: Path) -> None:
    values = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    volume = Volume(case.geometry.to_display(values), case.geometry)
    write_map_segmentation(tmp_path / "map.dcm", volume, case.origin, MAP)
    dataset = pydicom.dcmread(tmp_path / "map.dcm")
    assert dataset.SegmentationType == "FRACTIONAL"
    assert dataset.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"
    positions = [np.array(plane.position) for plane in case.origin.planes]
    seen = np.empty(SHAPE)
    for _, position, plane, _ in frames(dataset):
        (k,) = (k for k, p in enumerate(positions) if np.array_equal(p, position))
        seen[:, :, k] = plane.T / dataset.MaximumFractionalValue
    np.testing.assert_allclose(seen, values, atol=0.5 / 255 + 1e-6)
    if (tmp_path / "map.dcm").stat().st_size:  # SimpleITK reads bytes, but no single bits
        image = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "map.dcm")))
        assert sorted(image.ravel()) == sorted(dataset.pixel_array.ravel())


def test_weights_above_one_are_divided_by_the_largest(axial: Case, tmp_path: Path) -> None:
    values = np.full(SHAPE, 2, np.float32)
    values[0] = 4
    volume = Volume(axial.geometry.to_display(values), axial.geometry)
    write_map_segmentation(tmp_path / "map.dcm", volume, axial.origin, MAP)
    dataset = pydicom.dcmread(tmp_path / "map.dcm")
    assert "255 stands for 4." in dataset.SegmentSequence[0].SegmentDescription
    assert set(np.unique(dataset.pixel_array)) == {128, 255}


def test_what_is_not_known_is_0_in_a_fractional_segmentation_which_says_so(
    axial: Case, tmp_path: Path
) -> None:
    values = np.full(SHAPE, 0.5, np.float32)
    values[0] = np.nan
    volume = Volume(axial.geometry.to_display(values), axial.geometry)
    write_map_segmentation(tmp_path / "map.dcm", volume, axial.origin, MAP)
    dataset = pydicom.dcmread(tmp_path / "map.dcm")
    told = dataset.SegmentSequence[0].SegmentDescription
    assert "0 also where nothing is known. 255 stands for 1." in told
    assert set(np.unique(dataset.pixel_array)) <= {0, 127, 128}


# --- contours -------------------------------------------------------------------------------------


def rasterised(dataset: FileDataset, case: Case, number: Any) -> NDArray[Any]:
    """Voxels whose centres are inside of the contours of a region, in the file's frame."""
    by_uid = {}
    for k, plane in enumerate(case.origin.planes):
        by_uid[plane.instance, plane.frame + 1 if case.origin.is_multiframe else None] = k
    grid = np.argwhere(np.ones(SHAPE[:2], bool))
    found = np.zeros(case.labels.shape, bool)
    (region,) = (r for r in dataset.ROIContourSequence if r.ReferencedROINumber == number)
    for contour in region.ContourSequence:
        assert contour.ContourGeometricType == "CLOSED_PLANAR"
        points = np.reshape(np.array(contour.ContourData, float), (-1, 3))
        assert len(points) == contour.NumberOfContourPoints
        (image,) = contour.ContourImageSequence
        k = by_uid[image.ReferencedSOPInstanceUID, image.get("ReferencedFrameNumber")]
        indices = np.linalg.solve(case.lps, np.column_stack([points, np.ones(len(points))]).T)[:3].T
        np.testing.assert_allclose(indices[:, 2], k, atol=1e-6)  # in the plane of its slice
        outline = np.concatenate([indices[:, :2], indices[:1, :2]])
        inside = Outline(outline, closed=True).contains_points(grid).reshape(SHAPE[:2])
        found[:, :, k] ^= inside
    return found


def assert_contours(path: Path, case: Case) -> None:
    dataset = pydicom.dcmread(path)
    assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.481.3"
    assert dataset.Modality == "RTSTRUCT"
    names = {int(r.ROINumber): r.ROIName for r in dataset.StructureSetROISequence}
    present = set(np.unique(case.labels)) - {0}
    assert names == {s.value: s.name for s in SEGMENTS if s.value in present}
    for value in present:
        found, expected = rasterised(dataset, case, value), case.labels == value
        assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.99


def test_contours_filled_again_are_the_labels(case: Case, tmp_path: Path) -> None:
    write_rtstruct(tmp_path / "rt.dcm", case.volume, case.origin, ABOUT)
    assert_contours(tmp_path / "rt.dcm", case)


def test_a_long_contour_is_written_whole(tmp_path: Path) -> None:
    """More than the 64 kB that explicit lengths allow: a comb with many teeth."""
    shape = (200, 160, 1)
    write_series(tmp_path / "s", voxels(shape), lps_of())
    labels = np.zeros(shape, np.uint8)
    labels[::2] = 2
    labels[:, 0] = 2
    case = Case(tmp_path / "s", lps_of(), labels)
    write_rtstruct(tmp_path / "rt.dcm", case.volume, case.origin, ABOUT)
    (region,) = pydicom.dcmread(tmp_path / "rt.dcm").ROIContourSequence
    (contour,) = region.ContourSequence
    assert len("\\".join(map(str, contour.ContourData))) > 1 << 16
    assert len(contour.ContourData) == 3 * contour.NumberOfContourPoints


def test_coordinates_fit_a_decimal_string(case: Case, tmp_path: Path) -> None:
    write_rtstruct(tmp_path / "rt.dcm", case.volume, case.origin, ABOUT)
    for region in pydicom.dcmread(tmp_path / "rt.dcm").ROIContourSequence:
        for contour in region.ContourSequence:
            assert max(len(str(v)) for v in contour.ContourData) <= 16


# --- what cannot be done --------------------------------------------------------------------------


def test_without_the_original_series_there_is_no_dicom(axial: Case) -> None:
    victim = next(axial.path.iterdir())
    victim.unlink()
    with pytest.raises(UserError, match=r"original series and needs its files"):
        origin_of(axial.path, axial.source)


def test_another_series_in_its_place_is_told(axial: Case, tmp_path: Path) -> None:
    for file in axial.path.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.SOPInstanceUID = pydicom.uid.generate_uid()
        dataset.save_as(file)
    with pytest.raises(UserError, match="no longer the slice that was imported"):
        origin_of(axial.path, axial.source)


@pytest.mark.parametrize("write", [write_label_segmentation, write_rtstruct])
def test_without_classes_there_is_nothing_to_describe(
    axial: Case, tmp_path: Path, write: Callable[..., Any]
) -> None:
    with pytest.raises(UserError, match="Name one first"):
        write(tmp_path / "x.dcm", axial.volume, axial.origin, About("x", (), True, "a", "1"))
    assert not (tmp_path / "x.dcm").exists()


def test_files_without_identifiers_get_the_same_ones_each_time(tmp_path: Path) -> None:
    files = write_series(tmp_path / "s", voxels(SHAPE), lps_of())
    for file in files:
        dataset = pydicom.dcmread(file)
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "PatientID", "PatientName"):
            setattr(dataset, name, "")
        del dataset.PatientSex, dataset.AccessionNumber
        dataset.save_as(file)
    case = Case(tmp_path / "s", lps_of(), labels_of(SHAPE))
    made = []
    for name in ("a.dcm", "b.dcm"):
        write_label_segmentation(tmp_path / name, case.volume, case.origin, ABOUT)
        made.append(pydicom.dcmread(tmp_path / name))
        case = Case(tmp_path / "s", lps_of(), labels_of(SHAPE))
    assert made[0].StudyInstanceUID == made[1].StudyInstanceUID != ""
    assert made[0].SOPInstanceUID != made[1].SOPInstanceUID
    assert made[0].PatientSex in ("", None)


def test_an_empty_label_map_is_written(axial: Case, tmp_path: Path) -> None:
    empty = Volume(np.zeros_like(axial.volume.voxels), axial.geometry)
    write_label_segmentation(tmp_path / "seg.dcm", empty, axial.origin, ABOUT)
    assert not axial.back(tmp_path / "seg.dcm").any()
    write_rtstruct(tmp_path / "rt.dcm", empty, axial.origin, ABOUT)
    assert len(pydicom.dcmread(tmp_path / "rt.dcm").StructureSetROISequence) == 0


def test_positions_that_are_rounded_unevenly_stay_to_the_letter(tmp_path: Path) -> None:
    """Each frame lies where its slice says, not where an even grid would have it."""
    files = write_series(tmp_path / "s", voxels(SHAPE), lps_of())
    for k, file in enumerate(sorted(files)):
        dataset = pydicom.dcmread(file)
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, decimal(float(z) + 0.01 * (k % 3 - 1))]
        dataset.save_as(file)
    case = Case(tmp_path / "s", lps_of(), labels_of(SHAPE))
    write_label_segmentation(tmp_path / "seg.dcm", case.volume, case.origin, ABOUT)
    known = {tuple(plane.position) for plane in case.origin.planes}
    for _, position, _, _ in frames(pydicom.dcmread(tmp_path / "seg.dcm")):
        assert tuple(position) in known
    np.testing.assert_array_equal(case.back(tmp_path / "seg.dcm"), case.labels)


# --- names in any script --------------------------------------------------------------------------

NAMES = {
    "long": "Left ventricular myocardium including papillary muscles and trabeculae, end-diastolic",
    "backslash": "tumor\\edema",
    "cyrillic": "Левое предсердие",
    "chinese": "左心房",
    "greek": "αριστερός κόλπος",
    "latin": "Vorhof für Zürich",
}


@pytest.mark.parametrize("script", NAMES)
@pytest.mark.parametrize("form", ["seg", "rtstruct"])
def test_names_in_any_script_come_back_whole(tmp_path: Path, script: str, form: str) -> None:
    name, path = NAMES[script], tmp_path / "o.dcm"
    files = write_series(tmp_path / "s", voxels(SHAPE), lps_of())
    for file in files:  # the patient's name is written in another character set
        dataset = pydicom.dcmread(file)
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.PatientName = "Müller^Jörg"
        dataset.save_as(file)
    case = Case(tmp_path / "s", lps_of(), (labels_of(SHAPE) == 2).astype(np.uint8) * 2)
    about = About("labels", (Segment(2, name, (1, 2, 3)),), False, "DOMAIN\\ada", "1", "", "")
    write = write_label_segmentation if form == "seg" else write_rtstruct
    write(path, case.volume, case.origin, about)
    assert open_labels(path).names == {2: name}
    np.testing.assert_array_equal(case.back(path), case.labels)
    # Other programs find the same, as far as DICOM can hold it.
    dataset = pydicom.dcmread(path)
    region = dataset.SegmentSequence if form == "seg" else dataset.StructureSetROISequence
    found = region[0].SegmentLabel if form == "seg" else region[0].ROIName
    assert found == name.replace("\\", "/")[:64].strip()
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert str(dataset.PatientName) == "Müller^Jörg"

"""What is exported is as tidy as the classes of the study, and says what was done."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import zarr
from dicom_files import lps_of, voxels, write_series
from nifti_files import load_nifti
from numpy.typing import NDArray

from napari_mlbseg.formats.registry import read_labels
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.exporting.export import ExportKind, OutFormat, export_case, export_study
from napari_mlbseg.project.exporting.provenance import provenance_path
from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.project.tidying import slabs
from napari_mlbseg.project.tidying.told import Tidied

ATRIUM = LabelClass(1, "atrium", (230, 160, 0), most_pieces=1, no_holes=True)
SCAR = LabelClass(2, "scar", (0, 120, 180))
VOXEL_MM3 = 2.0 * 1.5 * 4.0
CLEAN, DRAFT = 8, 10
WHOLE = slice(None), slice(None), slice(None)


def untidy() -> NDArray[np.uint8]:
    """A body with a hole, and specks: two of the machine's, one on a clean slice, one on a draft.

    The scar, which may have any pieces, has two.
    """
    labels = np.zeros((12, 9, 10), np.uint8)
    labels[1:6, 1:6, 1:6] = 1
    labels[2:4, 2, 3] = 0
    labels[7, 8, 9] = labels[CLEAN, 4, 4] = labels[DRAFT, 5, 5] = 1
    labels[11, 0, 0:2] = 1
    labels[0, 8, 0] = labels[11, 8, 9] = 2  # so that no slice at the ends is empty
    return labels


def tidy() -> NDArray[np.uint8]:
    labels = untidy()
    labels[2:4, 2, 3] = 1
    labels[7, 8, 9] = labels[11, 0, 0:2] = 0
    return labels


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    """One series with untidy labels, a clean slice and a draft; two slices are a slab."""
    monkeypatch.setattr(slabs, "SLAB_VOXELS", 180)
    lps = lps_of(spacing=(2.0, 1.5, 4.0))
    write_series(tmp_path / "in" / "scan", voxels((10, 9, 12)), lps)
    with Study.create(tmp_path / "s.mlbseg") as made:
        import_folder(made, tmp_path / "in")
        made.set_classes([ATRIUM, SCAR])
        made.arrays.create("scan", ArrayName.PREDICTION)[:] = untidy()
        made.save_slice(SliceKey("scan", 0, CLEAN), untidy()[CLEAN], SliceState.CLEAN)
        made.save_slice(SliceKey("scan", 0, DRAFT), untidy()[DRAFT], SliceState.DRAFT)
        yield made


def read_elsewhere(path: Path) -> NDArray[Any]:
    """The voxels of a file (x y z), read by a library of others."""
    if path.suffix == ".gz":
        return np.asarray(load_nifti(path).dataobj)
    if path.suffix == ".zarr":
        return np.asarray(zarr.open_group(path, mode="r")["0"]).T
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T


@pytest.mark.parametrize("form", [OutFormat.NIFTI, OutFormat.NRRD, OutFormat.MHA])
def test_exported_labels_are_tidy(study: Study, tmp_path: Path, form: OutFormat) -> None:
    (path,) = export_case(study, "scan", tmp_path / "out", ExportKind.LABELS, form)
    expected = study.cases[0].geometry.to_file(tidy())
    np.testing.assert_array_equal(read_elsewhere(path), expected)


@pytest.mark.parametrize("form", [OutFormat.OME_ZARR, OutFormat.DICOM_SEG])
def test_formats_that_turn_or_split_labels_hold_tidy_ones(
    study: Study, tmp_path: Path, form: OutFormat
) -> None:
    (path,) = export_case(study, "scan", tmp_path / "out", ExportKind.LABELS, form)
    found, _ = read_labels(path)
    np.testing.assert_array_equal(found.voxels, tidy())
    if form is OutFormat.DICOM_SEG:
        dataset = pydicom.dcmread(path)
        shown = [
            int(f.SegmentIdentificationSequence[0].ReferencedSegmentNumber) for f in frames(dataset)
        ]
        pixels = dataset.pixel_array.reshape(len(shown), -1)
        for number, value in ((1, 1), (2, 2)):
            area = pixels[[n == number for n in shown]].sum()
            assert area == (tidy() == value).sum()


def frames(dataset: pydicom.Dataset) -> Any:
    return dataset.PerFrameFunctionalGroupsSequence


def test_contours_are_those_of_tidy_labels(study: Study, tmp_path: Path) -> None:
    def exported(folder: str) -> list[Any]:
        (path,) = export_case(
            study, "scan", tmp_path / folder, ExportKind.LABELS, OutFormat.RTSTRUCT
        )
        dataset = pydicom.dcmread(path)
        return [
            [list(contour.ContourData) for contour in region.ContourSequence]
            for region in dataset.ROIContourSequence
        ]

    tidied = exported("tidied")
    study.set_classes([replace(ATRIUM, most_pieces=None, no_holes=False), SCAR])
    assert exported("untidy") != tidied
    study.arrays.create("scan", ArrayName.PREDICTION)[:] = tidy()
    assert exported("made_tidy") == tidied


def test_a_prediction_is_tidied_on_its_own(study: Study, tmp_path: Path) -> None:
    form = OutFormat.NIFTI
    (path,) = export_case(study, "scan", tmp_path / "out", ExportKind.PREDICTION, form)
    expected = tidy()
    expected[CLEAN] = expected[DRAFT] = 0  # the specks there are the machine's, too
    np.testing.assert_array_equal(read_elsewhere(path), study.cases[0].geometry.to_file(expected))


def test_initial_labels_are_left_as_they_came(study: Study, tmp_path: Path) -> None:
    study.arrays.create("scan", ArrayName.INITIAL_LABELS)[:] = untidy()
    form = OutFormat.NIFTI
    (path,) = export_case(study, "scan", tmp_path / "out", ExportKind.INITIAL, form)
    np.testing.assert_array_equal(read_elsewhere(path), study.cases[0].geometry.to_file(untidy()))
    assert json.loads(provenance_path(path).read_text())["tidied"] is None


def test_what_was_tidied_is_told_and_in_the_provenance(study: Study, tmp_path: Path) -> None:
    told: dict[str, Tidied] = {}
    (path,) = export_study(study, tmp_path / "out", ExportKind.LABELS, tell=told.__setitem__)
    pieces, holes = told["scan"].classes[0].pieces, told["scan"].classes[0].holes
    assert [one.label for one in told["scan"].classes] == [ATRIUM]
    document = json.loads(provenance_path(path).read_text())
    expected_pieces = {
        "found": 5,
        "kept": 3,
        "removed": 2,
        "removed_voxels": 3,
        "removed_mm3": 3 * VOXEL_MM3,
        "on_drafts": 1,
    }
    expected_holes = {
        "filled": 1,
        "kept": 0,
        "filled_voxels": 2,
        "filled_mm3": 2 * VOXEL_MM3,
        "on_drafts": 0,
    }
    assert document["tidied"] == [
        {"value": 1, "name": "atrium", "pieces": expected_pieces, "holes": expected_holes}
    ]
    assert vars(pieces) == expected_pieces
    assert vars(holes) == expected_holes
    assert document["classes"] == [
        {"value": 1, "name": "atrium", "most_pieces": 1, "no_holes": True},
        {"value": 2, "name": "scar", "most_pieces": None, "no_holes": False},
    ]


def test_volumes_are_those_of_tidy_labels(study: Study, tmp_path: Path) -> None:
    told: dict[str, Tidied] = {}
    (path,) = export_study(study, tmp_path / "out", ExportKind.VOLUMES, tell=told.__setitem__)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [int(row["voxels"]) for row in rows] == [int((tidy() == v).sum()) for v in (1, 2)]
    assert list(told) == ["scan"]
    (case,) = json.loads(provenance_path(path).read_text())["cases"]
    assert case["tidied"][0]["pieces"]["removed"] == 2


def test_a_slice_that_was_tidied_no_longer_counts_as_imported(tmp_path: Path) -> None:
    from small_study import make_phantoms

    phantoms = make_phantoms(tmp_path / "s.mlbseg", cases=1, rough=True)
    study, (case,) = phantoms.study, phantoms.study.cases
    study.arrays.open(case.id, ArrayName.INITIAL_LABELS)[2, 0, 0] = 1

    def kept() -> list[int]:
        (path,) = export_case(study, case.id, tmp_path / "out", ExportKind.LABELS, OutFormat.MHA)
        found = json.loads(provenance_path(path).read_text())
        return list(found["imported_labels"]["kept_slices"])

    before = kept()
    study.set_classes([replace(study.classes[0], most_pieces=1), *study.classes[1:]])
    assert [index for index in before if index not in kept()] == [2]


def test_nothing_is_told_where_no_class_asks(study: Study, tmp_path: Path) -> None:
    study.set_classes([replace(ATRIUM, most_pieces=None, no_holes=False), SCAR])
    told: dict[str, Tidied] = {}
    (path,) = export_study(
        study, tmp_path / "out", ExportKind.LABELS, form=OutFormat.NIFTI, tell=told.__setitem__
    )
    np.testing.assert_array_equal(read_elsewhere(path), study.cases[0].geometry.to_file(untidy()))
    assert told == {}
    assert json.loads(provenance_path(path).read_text())["tidied"] is None

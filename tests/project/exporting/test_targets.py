"""Exports for other tools, each read by another reader than ours; some cases, some slices."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from changing import CORE, ORGAN, SCAR, SHAPE, accept, make_study, write_image
from dicom_files import lps_of, voxels, write_series
from nifti_files import load_nifti
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import open_labels
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.exporting import bids, nnunet
from napari_mlbseg.project.exporting.chosen import NO_LABEL, Chosen
from napari_mlbseg.project.exporting.contents import contents_of
from napari_mlbseg.project.exporting.export import export_case, export_study
from napari_mlbseg.project.exporting.hashes import sha256_of
from napari_mlbseg.project.exporting.kinds import ExportKind, OutFormat
from napari_mlbseg.project.exporting.notes import notes_of
from napari_mlbseg.project.exporting.provenance import provenance_path
from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with make_study(tmp_path) as made:
        yield made


def shown(path: Path) -> NDArray[Any]:
    """The voxels z y x as SimpleITK reads them; the cases' files go to left, back and head."""
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


def told(path: Path) -> Any:
    return json.loads(provenance_path(path).read_text())


def expected_of_slice(study: Study, case_id: str) -> NDArray[Any]:
    """Slice 1 along z is accepted; nothing is said of the others."""
    labels = np.full(SHAPE, NO_LABEL, np.uint8)
    labels[1] = study.labels.working(case_id)[1]
    return labels


# --- accepted slices, chosen slices ---------------------------------------------------------------


def test_accepted_slices_alone(study: Study, tmp_path: Path) -> None:
    draft = np.ones(SHAPE[1:], np.uint8)
    study.save_slice(SliceKey("a", 0, 3), draft, SliceState.DRAFT)
    study.save_slice(SliceKey("a", 1, 0), np.ones((SHAPE[0], SHAPE[2]), np.uint8), SliceState.DRAFT)
    [path] = export_case(study, "a", tmp_path / "out", ExportKind.ACCEPTED)
    clean = accept(study, "a", 1, seed=5)  # the same mask again, over the draft that crosses it
    labels = np.full(SHAPE, NO_LABEL, np.uint8)
    labels[1] = clean
    np.testing.assert_array_equal(shown(path), labels)
    assert [one["state"] for one in told(path)["slices"]] == ["clean"]
    assert told(path)["imported_labels"] is None
    assert told(path)["run"] is None


def test_cases_without_an_accepted_slice_are_left_out_and_told(
    study: Study, tmp_path: Path
) -> None:
    write_image(tmp_path / "more", "c", 9)
    import_folder(study, tmp_path / "more")
    written = export_study(study, tmp_path / "out", ExportKind.ACCEPTED)
    assert [path.name for path in written] == ["a.nii.gz", "b.nii.gz"]
    notes = notes_of(contents_of(study, ExportKind.ACCEPTED), OutFormat.AUTO)
    assert notes[0] == "Left out, because no slice of them is accepted: c."
    with pytest.raises(UserError, match="accepted yet"):
        export_case(study, "c", tmp_path / "out", ExportKind.ACCEPTED)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_chosen_slices(study: Study, tmp_path: Path, axis: int) -> None:
    chosen = Chosen(axis, (0, 2))
    [path] = export_case(study, "a", tmp_path / "out", ExportKind.INITIAL, chosen=chosen)
    whole = np.moveaxis(study.labels.machine("a"), axis, 0)
    found = np.moveaxis(shown(path), axis, 0)
    np.testing.assert_array_equal(found[[0, 2]], whole[[0, 2]])
    assert (np.delete(found, [0, 2], axis=0) == NO_LABEL).all()
    assert told(path)["only_slices"] == {
        "axis": study.case("a").geometry.file_axes[axis],
        "slices": [0, 2],
    }


def test_slices_are_those_of_labels_of_one_case(study: Study, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="one case"):
        contents_of(study, ExportKind.LABELS, None, Chosen(0, (1,)))
    with pytest.raises(UserError, match="not of volumes"):
        contents_of(study, ExportKind.VOLUMES, ["a"], Chosen(0, (1,)))
    assert not (tmp_path / "out").exists()


# --- 3D Slicer ------------------------------------------------------------------------------------


def test_slicer_gets_names_colours_and_terminology(study: Study, tmp_path: Path) -> None:
    kidney = LabelClass(1, "left kidney", (255, 0, 51))
    odd = LabelClass(2, "a \\ new", (1, 2, 3))
    study.set_classes([kidney, odd, SCAR])
    [path] = export_case(study, "a", tmp_path / "out", ExportKind.LABELS, OutFormat.SEG_NRRD)
    assert path.name == "a.seg.nrrd"
    image = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), study.labels.working("a"))
    theirs = sitk.ReadImage(str(study.case("a").image_path))
    assert image.GetOrigin() == theirs.GetOrigin()
    assert image.GetDirection() == theirs.GetDirection()
    said = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    assert said["Segment0_Name"] == "left kidney"
    assert said["Segment1_Name"] == "a \\ new"
    assert said["Segment0_Color"] == "1 0 0.2"
    assert [said[f"Segment{k}_LabelValue"] for k in range(3)] == ["1", "2", "3"]
    assert said["Segment0_Extent"] == "0 6 0 5 0 3"
    assert "~SCT^64033007^Kidney~SCT^7771000^Left~" in said["Segment0_Tags"]
    assert said["Segmentation_MasterRepresentation"] == "Binary labelmap"
    ours = open_labels(path)
    assert ours.names == {1: "left kidney", 2: "a \\ new", 3: "scar"}
    assert ours.colors == {1: (255, 0, 51), 2: (1, 2, 3), 3: (0, 200, 80)}


def test_a_segmentation_of_some_slices_says_that_it_cannot_tell(
    study: Study, tmp_path: Path
) -> None:
    form = OutFormat.SEG_NRRD
    [path] = export_case(study, "a", tmp_path / "out", ExportKind.ACCEPTED, form)
    labels = expected_of_slice(study, "a")
    np.testing.assert_array_equal(shown(path), np.where(labels == NO_LABEL, 0, labels))
    [note] = notes_of(contents_of(study, ExportKind.ACCEPTED), form)
    assert "may not have been looked at" in note
    [note] = notes_of(contents_of(study, ExportKind.ACCEPTED), OutFormat.NIFTI)
    assert "255" in note


# --- ITK-SNAP -------------------------------------------------------------------------------------


def test_itk_snap_gets_a_description_of_the_labels(study: Study, tmp_path: Path) -> None:
    study.set_classes([ORGAN, LabelClass(2, 'the "wall"', (1, 2, 3)), SCAR])
    form = OutFormat.ITK_SNAP
    written = export_study(study, tmp_path / "out", ExportKind.LABELS, form=form)
    for path, case in zip(written, study.cases, strict=True):
        np.testing.assert_array_equal(shown(path), study.labels.working(case.id))
    lines = (tmp_path / "out" / "itk-snap-labels.txt").read_text().splitlines()
    rows = [re.fullmatch(r'\s*(\d+)((?:\s+\d+){6})\s+"([^"]*)"', line) for line in lines[2:]]
    parsed = [(int(r[1]), [*map(int, r[2].split())][:3], r[3]) for r in rows if r is not None]
    assert len(parsed) == len(lines) - 2
    assert parsed == [
        (0, [0, 0, 0], "Clear Label"),
        (1, [230, 160, 0], "organ"),
        (2, [1, 2, 3], "the 'wall'"),
        (3, [0, 200, 80], "scar"),
    ]
    [note] = notes_of(contents_of(study, ExportKind.LABELS), form)
    assert "\"the 'wall'\"" in note


# --- nnU-Net --------------------------------------------------------------------------------------


def test_nnunet_learns_from_accepted_slices_and_ignores_the_rest(
    study: Study, tmp_path: Path
) -> None:
    study.set_classes([ORGAN, CORE, LabelClass(7, "ignore", (9, 9, 9)), SCAR])
    accept(study, "b", 1, seed=6)
    written = export_study(study, tmp_path / "raw", ExportKind.ACCEPTED, form=OutFormat.NNUNET)
    root = tmp_path / "raw" / "Dataset001_cohort"
    about = json.loads((root / "dataset.json").read_text())
    names = {"background": 0, "organ": 1, "core": 2, "scar": 3, "ignore_": 4, "ignore": 5}
    assert about["labels"] == names
    assert about["channel_names"] == {"0": "image"}
    assert about["numTraining"] == 2
    assert about["file_ending"] == ".nii.gz"
    assert [path.relative_to(root) for path in written] == [
        Path("labelsTr/a.nii.gz"),
        Path("labelsTr/b.nii.gz"),
    ]
    numbers = {0: 0, 1: 1, 2: 2, 3: 3, 7: 4, NO_LABEL: 5}
    for path, case in zip(written, study.cases, strict=True):
        labels = expected_of_slice(study, case.id)
        np.testing.assert_array_equal(shown(path), np.vectorize(numbers.get)(labels))
        image = root / "imagesTr" / f"{case.name}_0000.nii.gz"
        np.testing.assert_array_equal(shown(image), shown(case.image_path))
        theirs, ours = load_nifti(image), load_nifti(path)
        assert theirs.shape == ours.shape
        np.testing.assert_array_equal(theirs.affine, ours.affine)
        assert told(path)["sha256"] == sha256_of(path)
    assert len([*(root / "labelsTr").glob("*.nii.gz")]) == about["numTraining"]


def test_nnunet_of_everything_has_no_ignore_label(study: Study, tmp_path: Path) -> None:
    out = tmp_path / "Dataset042_heart"
    written = export_study(study, out, ExportKind.LABELS, form=OutFormat.NNUNET)
    labels = json.loads((out / "dataset.json").read_text())["labels"]
    assert labels == {"background": 0, "organ": 1, "core": 2, "scar": 3}
    for path, case in zip(written, study.cases, strict=True):
        np.testing.assert_array_equal(shown(path), study.labels.working(case.id))
    with pytest.raises(UserError, match="exists already"):
        export_study(study, out, ExportKind.LABELS, form=OutFormat.NNUNET)


def test_each_data_set_gets_the_next_free_number(tmp_path: Path) -> None:
    (tmp_path / "Dataset001_other").mkdir()
    (tmp_path / "Dataset003_another").mkdir()
    assert nnunet.folder_of(tmp_path, "my heart!").name == "Dataset002_my_heart"
    assert nnunet.folder_of(tmp_path / "none", "心").name == "Dataset001_study"


def test_names_and_numbers_that_nnunet_cannot_hold_are_told(study: Study) -> None:
    study.set_classes([LabelClass(1, "background", (0, 1, 2)), LabelClass(4, "scar", (0, 1, 3))])
    notes = notes_of(contents_of(study, ExportKind.LABELS), OutFormat.NNUNET)
    assert "'background' means something else" in notes[0]
    assert "4 is 2" in notes[1]
    assert "'image'" in notes[2]


# --- BIDS -----------------------------------------------------------------------------------------


def test_bids_derivatives(study: Study, tmp_path: Path) -> None:
    study.changes.rename("a", "sub-01_ses-pre_T1w")
    study.changes.rename("b", "first visit")
    written = export_study(study, tmp_path / "out", ExportKind.ACCEPTED, form=OutFormat.BIDS)
    root = tmp_path / "out" / "cohort-accepted"
    assert [str(path.relative_to(root)) for path in written] == [
        "sub-01/ses-pre/anat/sub-01_ses-pre_desc-accepted_dseg.nii.gz",
        "sub-firstvisit/anat/sub-firstvisit_desc-accepted_dseg.nii.gz",
    ]
    about = json.loads((root / "dataset_description.json").read_text())
    assert about["DatasetType"] == "derivative"
    assert about["GeneratedBy"][0]["Name"] == "napari-mlbseg"
    for path, case in zip(written, study.cases, strict=True):
        np.testing.assert_array_equal(shown(path), expected_of_slice(study, case.id))
        table = path.with_name(path.name.replace(".nii.gz", ".tsv"))
        rows = list(csv.DictReader(table.read_text().splitlines(), delimiter="\t"))
        assert [(row["index"], row["name"], row["color"]) for row in rows] == [
            ("0", "background", "#000000"),
            ("1", "organ", "#E6A000"),
            ("2", "core", "#0078B4"),
            ("3", "scar", "#00C850"),
            ("255", "no label", "#808080"),
        ]
        assert told(path)["case"] == case.name
    *_, note = notes_of(contents_of(study, ExportKind.ACCEPTED), OutFormat.BIDS)
    assert "'first visit' is written as 'sub-firstvisit'" in note


def test_cases_that_bids_would_call_the_same_are_further_runs(study: Study) -> None:
    study.changes.rename("a", "sub-1_T1w")
    study.changes.rename("b", "sub-1_T2w")
    assert list(bids.entities_of(study.cases).values()) == ["sub-1", "sub-1_run-2"]
    study.changes.rename("b", "心")
    assert bids.entities_of(study.cases)["b"] == "sub-case2"
    study.changes.rename("b", "Märta-2")
    assert bids.entities_of(study.cases)["b"] == "sub-Marta2"


# --- DICOM ----------------------------------------------------------------------------------------


def test_a_dicom_label_map_holds_the_class_values(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "scan", voxels((12, 10, 7)), lps_of())
    with Study.create(tmp_path / "s.mlbseg") as study:
        import_folder(study, tmp_path / "in")
        study.set_classes([LabelClass(2, "liver", (1, 2, 3)), LabelClass(9, "cyst", (4, 5, 6))])
        mask = np.random.default_rng(0).choice([0, 2, 9], study.cases[0].slice_shape(0))
        study.save_slice(SliceKey("scan", 0, 4), mask.astype(np.uint8), SliceState.CLEAN)
        [path] = export_study(
            study, tmp_path / "out", ExportKind.LABELS, form=OutFormat.DICOM_LABELMAP
        )
        expected = study.labels.working("scan")
        made = contents_of(study, ExportKind.LABELS)
        assert nnunet.channel_of(made.cases) == "CT"
    assert path.name == "scan_labelmap.dcm"
    dataset = pydicom.dcmread(path)
    assert dataset.SegmentationType == "LABELMAP"
    names = {s.SegmentNumber: s.SegmentLabel for s in dataset.SegmentSequence}
    assert (names[2], names[9]) == ("liver", "cyst")
    seen = highdicom.seg.segread(path).get_volume(combine_segments=True).array
    assert sorted(np.unique(seen).tolist()) == [0, 2, 9]
    assert np.bincount(seen.ravel())[1:].tolist() == np.bincount(expected.ravel())[1:].tolist()
    np.testing.assert_array_equal(dataset.pixel_array.squeeze(), expected[4])
    with Study.create(tmp_path / "again.mlbseg") as again:
        import_folder(again, tmp_path / "in", tmp_path / "out")
        np.testing.assert_array_equal(again.labels.working("scan"), expected)


@pytest.mark.parametrize(
    "form", [OutFormat.DICOM_SEG, OutFormat.DICOM_LABELMAP, OutFormat.RTSTRUCT]
)
def test_accepted_slices_as_dicom_say_that_others_are_not_known(
    tmp_path: Path, form: OutFormat
) -> None:
    write_series(tmp_path / "in" / "scan", voxels((12, 10, 7)), lps_of())
    with Study.create(tmp_path / "s.mlbseg") as study:
        import_folder(study, tmp_path / "in")
        study.set_classes([ORGAN])
        study.arrays.create("scan", ArrayName.PREDICTION)[:] = 1
        mask = np.zeros(study.cases[0].slice_shape(0), np.uint8)
        mask[2:6, 3:7] = 1
        study.save_slice(SliceKey("scan", 0, 4), mask, SliceState.CLEAN)
        export_study(study, tmp_path / "out", ExportKind.ACCEPTED, form=form)
        [path] = (tmp_path / "out").glob("*.dcm")
        with Study.create(tmp_path / "again.mlbseg") as again:
            import_folder(again, tmp_path / "in", tmp_path / "out")
            found = again.labels.working("scan")
    np.testing.assert_array_equal(found[4], mask)
    assert not np.delete(found, 4, axis=0).any()
    if form is not OutFormat.RTSTRUCT:
        [*_, segment] = pydicom.dcmread(path).SegmentSequence
        assert "may not have been looked at. 1 slices by" in segment.SegmentDescription

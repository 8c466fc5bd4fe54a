"""What comes out in which format, with its provenance; tables of volumes; nothing of patients."""

import csv
import hashlib
import json
import logging
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import PATIENT, lps_of, voxels, write_series
from nifti_files import load_nifti
from numpy.typing import NDArray
from seg_files import write_seg

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import read_labels
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.exporting.contents import contents_of
from napari_mlbseg.project.exporting.export import ExportKind, OutFormat, export_case, export_study
from napari_mlbseg.project.exporting.hashes import sha256_of
from napari_mlbseg.project.exporting.notes import notes_of
from napari_mlbseg.project.exporting.outputs import formats_for, probability_targets
from napari_mlbseg.project.exporting.provenance import in_words, maker_of, provenance_path
from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.extents import Extent
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

SHAPE = (12, 10, 7)
INITIAL = ArrayName.INITIAL_LABELS
VOXEL_FORMATS = (OutFormat.NIFTI, OutFormat.NRRD, OutFormat.MHA)
IDENTIFIERS = (PATIENT, "JANE", "12345-SECRET", "19500101")


def labels() -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    """One oblique series with its segmentation, a corrected slice and machine work."""
    lps = lps_of(tilt=(0.1, 0.2, 0.3))
    files = write_series(tmp_path / "in" / "scan", voxels(SHAPE), lps)
    (tmp_path / "labels").mkdir()
    write_seg(tmp_path / "labels" / "scan.dcm", files, labels())
    with Study.create(tmp_path / "s.mlbseg", author="ada") as made:
        import_folder(made, tmp_path / "in", tmp_path / "labels")
        case = made.cases[0]
        mask = np.full(case.slice_shape(0), 2, np.uint8)
        made.save_slice(SliceKey("scan", 0, 4), mask, SliceState.CLEAN)
        rng = np.random.default_rng(1)
        made.arrays.create("scan", ArrayName.TRUST)[:] = rng.random(case.geometry.shape)
        made.arrays.create("scan", ArrayName.PROPOSED_LABELS)[:] = 1
        yield made


def file_frame(study: Study, shown: NDArray[Any]) -> NDArray[Any]:
    return study.cases[0].geometry.to_file(shown)


def test_names_that_dicom_cannot_hold_are_told(study: Study) -> None:
    long = "x" * 70
    study.set_classes([replace(c, name=long if c.value == 1 else c.name) for c in study.classes])
    for form in (OutFormat.AUTO, OutFormat.RTSTRUCT):
        (note,) = notes_of(contents_of(study, ExportKind.LABELS), form)
        assert f"{long!r} is written as {'x' * 64!r}" in note
    assert notes_of(contents_of(study, ExportKind.LABELS), OutFormat.NIFTI) == ()
    assert notes_of(contents_of(study, ExportKind.VOLUMES), OutFormat.AUTO) == ()


@pytest.mark.parametrize("form", VOXEL_FORMATS)
def test_a_case_leaves_in_another_format_than_it_came_in(
    study: Study, tmp_path: Path, form: OutFormat
) -> None:
    (path,) = export_case(study, "scan", tmp_path / "out", ExportKind.LABELS, form)
    image = sitk.ReadImage(str(path))
    found = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    np.testing.assert_array_equal(found, file_frame(study, study.labels.working("scan")))
    again, _ = read_labels(path)
    ours = study.cases[0].geometry
    np.testing.assert_allclose(again.geometry.display_affine, ours.display_affine, atol=2e-5)


def test_dicom_is_the_own_format_of_labels_and_nifti_that_of_maps(
    study: Study, tmp_path: Path
) -> None:
    (path,) = export_case(study, "scan", tmp_path / "out", ExportKind.LABELS)
    assert path.name == "scan_seg.dcm"
    assert pydicom.dcmread(path).Modality == "SEG"
    trust, votes = export_case(study, "scan", tmp_path / "out", ExportKind.TRUST)
    assert [trust.name, votes.name] == ["scan_trust.nii.gz", "scan_proposed_labels.nii.gz"]
    trust, votes = export_case(
        study, "scan", tmp_path / "out", ExportKind.TRUST, OutFormat.DICOM_SEG
    )
    kinds = [pydicom.dcmread(p).SegmentationType for p in (trust, votes)]
    assert kinds == ["FRACTIONAL", "BINARY"]
    (contours,) = export_case(
        study, "scan", tmp_path / "out", ExportKind.INITIAL, OutFormat.RTSTRUCT
    )
    assert contours.name == "scan_rtstruct.dcm"


def test_exported_dicom_can_be_imported_again(study: Study, tmp_path: Path) -> None:
    export_study(study, tmp_path / "out", ExportKind.LABELS)
    with Study.create(tmp_path / "again.mlbseg") as again:
        imported = import_folder(again, tmp_path / "in", tmp_path / "out")
        assert imported.failures == ()
        np.testing.assert_array_equal(again.labels.working("scan"), study.labels.working("scan"))
        assert [c.name for c in again.classes] == [c.name for c in study.classes if c.value < 3]


def test_formats_that_cannot_hold_a_case_are_refused_before_anything_is_written(
    study: Study, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"scan cannot be written as ome-zarr.*oblique"):
        export_study(study, tmp_path / "out", ExportKind.LABELS, form=OutFormat.OME_ZARR)
    with pytest.raises(UserError, match="outlines of labels"):
        export_study(study, tmp_path / "out", ExportKind.TRUST, form=OutFormat.RTSTRUCT)
    with pytest.raises(UserError, match="as a table"):
        export_study(study, tmp_path / "out", ExportKind.VOLUMES, form=OutFormat.NIFTI)
    assert not (tmp_path / "out").exists()


def test_what_came_as_nifti_cannot_become_dicom(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), tmp_path / "in" / "a.nii")
    with Study.create(tmp_path / "s.mlbseg") as study:
        import_folder(study, tmp_path / "in")
        assert OutFormat.DICOM_SEG not in formats_for(study.cases, ExportKind.LABELS)
        assert OutFormat.OME_ZARR in formats_for(study.cases, ExportKind.LABELS)
        with pytest.raises(UserError, match=r"DICOM refers to the series.*Possible.*nrrd"):
            export_study(study, tmp_path / "out", ExportKind.LABELS, form=OutFormat.DICOM_SEG)


def test_a_map_with_nan_never_becomes_dicom(study: Study, tmp_path: Path) -> None:
    study.arrays.open("scan", ArrayName.TRUST)[3, 2, 1] = np.nan
    with pytest.raises(UserError, match=r"trust of scan hold.*NaN or infinite"):
        export_case(study, "scan", tmp_path / "out", ExportKind.TRUST, OutFormat.DICOM_SEG)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("left atrium", "Prostata"), ("left_atrium", "Prostata")),
        (("../../etc", "a\\b:c*.nii"), ("etc", "a_b_c__nii")),
        (("A b", "a/B"), ("A_b_1", "a_B_2")),
        (("?", "Höhle"), ("class", "Höhle")),
        (("x" * 300, "y"), ("x" * 40, "y")),
    ],
)
def test_files_of_probabilities_are_called_after_their_classes(
    study: Study, tmp_path: Path, names: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    classes = [LabelClass(k, name, (1, 2, k)) for k, name in enumerate(names, 1)]
    found = probability_targets(study.cases[0], tmp_path, OutFormat.DICOM_SEG, classes)
    ours = [f"scan_probability_{name}.dcm" for name in expected]
    assert [target.path for target in found] == [tmp_path / name for name in ours]
    assert [target.label for target in found] == classes


# --- volumes --------------------------------------------------------------------------------------


def test_volumes_of_exported_labels(study: Study, tmp_path: Path) -> None:
    (path,) = export_study(study, tmp_path / "out", ExportKind.VOLUMES)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert list(rows[0]) == ["case", "value", "name", "voxels", "volume_ml"]
    (exported,) = export_case(study, "scan", tmp_path / "out", ExportKind.LABELS, OutFormat.NRRD)
    image = sitk.ReadImage(str(exported))
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(image)
    assert [int(row["value"]) for row in rows] == [c.value for c in study.classes]
    for row in rows:
        value = int(row["value"])
        assert row["case"] == "scan"
        assert row["name"] == f"organ {value}"
        assert int(row["voxels"]) == statistics.GetNumberOfPixels(value)
        expected = statistics.GetPhysicalSize(value) / 1000
        assert float(row["volume_ml"]) == pytest.approx(expected, abs=1e-6)


def test_a_sheared_voxel_is_as_large_as_its_box(tmp_path: Path) -> None:
    """A tilted gantry: the product of the spacings would be too much."""
    (tmp_path / "in").mkdir()
    affine = np.array([[2.0, 0, 0, 0], [0, 1, 1.5, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
    image = nib.Nifti1Image(np.ones((4, 5, 6), np.int16), None)
    image.set_sform(affine, 1)
    image.set_qform(None, 0)
    nib.save(image, tmp_path / "in" / "a.nii")
    with Study.create(tmp_path / "s.mlbseg") as study:
        import_folder(study, tmp_path / "in")
        study.set_classes([LabelClass(1, "organ", (1, 2, 3)), LabelClass(5, "none", (1, 2, 4))])
        case = study.cases[0]
        whole = np.ones(case.slice_shape(0), np.uint8)
        study.save_slice(SliceKey("a", 0, 0), whole, SliceState.DRAFT)
        (path,) = export_case(study, "a", tmp_path / "out", ExportKind.VOLUMES)
    assert path.name == "a_volumes.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert float(rows[0]["volume_ml"]) == pytest.approx(whole.size * 4 / 1000)
    assert (rows[1]["voxels"], rows[1]["volume_ml"]) == ("0", "0.0")


# --- provenance -----------------------------------------------------------------------------------


def provenance(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(provenance_path(path).read_text())
    return found


def test_every_file_says_where_it_comes_from(study: Study, tmp_path: Path) -> None:
    run = study.runs.start({"steps": 5, "network": "unet"}, seed=3, device="cpu")
    study.runs.finish(run, outcome="finished")
    study.checkpoint_path.parent.mkdir()
    study.checkpoint_path.write_bytes(b"a model")
    study.arrays.create("scan", ArrayName.PREDICTION)
    (path,) = export_case(study, "scan", tmp_path / "out", ExportKind.LABELS)
    told = provenance(path)
    assert told["file"] == "scan_seg.dcm"
    assert (told["study"], told["case"], told["what"]) == ("s", "scan", "labels")
    assert told["software"]["name"] == "napari-mlbseg"
    assert told["model"]["checkpoint_sha256"] == hashlib.sha256(b"a model").hexdigest()
    assert told["run"]["config"] == {"steps": 5, "network": "unet"}
    assert (told["run"]["seed"], told["run"]["outcome"]) == (3, "finished")
    (slice_,) = told["slices"]
    # Slice 4 along z, which the file counts the same way.
    assert (slice_["axis"], slice_["slice"]) == (2, 4)
    assert (slice_["state"], slice_["author"]) == ("clean", "ada")
    assert told["slices_in_file"]
    folder = tmp_path / "in" / "scan"
    command = "sha256sum $(ls | LC_ALL=C sort) | sha256sum"
    shell = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)
    assert told["source"]["sha256"] == shell.stdout.split()[0]
    segment = pydicom.dcmread(path).SegmentSequence[0]
    assert "1 slices by ada" in segment.SegmentDescription
    parameters = segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmParameters
    assert told["model"]["checkpoint_sha256"] in parameters


def test_imported_labels_have_no_model(study: Study, tmp_path: Path) -> None:
    study.runs.start({}, seed=0, device="cpu")
    (path,) = export_case(study, "scan", tmp_path / "out", ExportKind.INITIAL, OutFormat.MHA)
    told = provenance(path)
    assert (told["model"], told["run"], told["slices_in_file"]) == (None, None, False)


def test_a_run_that_left_no_checkpoint_has_no_share(study: Study, tmp_path: Path) -> None:
    study.arrays.create("scan", ArrayName.PREDICTION)
    first = study.runs.start({"steps": 5}, seed=3, device="cpu")
    study.checkpoint_path.parent.mkdir()
    study.checkpoint_path.write_bytes(b"a model")
    began = study.runs.all()[-1].started_at.timestamp()
    os.utime(study.checkpoint_path, (began - 60, began - 60))
    assert maker_of(study).run is None
    os.utime(study.checkpoint_path, (began + 60, began + 60))
    (path,) = export_case(study, "scan", tmp_path / "out", ExportKind.LABELS)
    assert provenance(path)["run"]["id"] == first


def test_a_table_and_maps_have_their_provenance_too(study: Study, tmp_path: Path) -> None:
    (path,) = export_study(study, tmp_path / "out", ExportKind.VOLUMES)
    assert [case["case"] for case in provenance(path)["cases"]] == ["scan"]
    for path in export_study(study, tmp_path / "out", ExportKind.TRUST):
        assert provenance(path)["file"] == path.name
    assert len(list((tmp_path / "out").glob("*.provenance.json"))) == 3


def test_imported_labels_that_nobody_changed_are_named(study: Study, tmp_path: Path) -> None:
    case = study.cases[0]
    shown = [i for i in range(SHAPE[2]) if study.arrays.read("scan", INITIAL, 0, i).any()]

    def told(kind: ExportKind) -> Any:
        (path,) = export_case(study, "scan", tmp_path / "out", kind, OutFormat.NIFTI)[:1]
        return provenance(path)["imported_labels"]

    first = told(ExportKind.LABELS)
    assert first["file"] == "scan.dcm"
    assert first["sha256"] == sha256_of(tmp_path / "labels" / "scan.dcm")
    assert first["axis"] == case.geometry.file_axes[0]
    assert first["kept_slices"] == [case.geometry.file_index(0, i) for i in shown if i != 4]
    study.arrays.create("scan", ArrayName.PREDICTION)
    for index in (2, 5):
        same = study.arrays.read("scan", INITIAL, 0, index)
        study.arrays.write("scan", ArrayName.PREDICTION, 0, index, same[None])
    assert told(ExportKind.LABELS)["kept_slices"] == [
        case.geometry.file_index(0, i) for i in (2, 5)
    ]
    assert told(ExportKind.TRUST) is None


def test_slices_that_nobody_looked_at_are_named(study: Study, tmp_path: Path) -> None:
    case, count = study.cases[0], SHAPE[2]
    draft, clean = (SliceKey("scan", 0, i) for i in (count - 1, 4))
    for key, state in ((draft, SliceState.DRAFT), (clean, SliceState.CLEAN)):
        study.save_slice(key, study.arrays.read("scan", INITIAL, 0, key.index), state)
    (path,) = export_case(study, "scan", tmp_path / "out", ExportKind.LABELS, OutFormat.NIFTI)
    told = provenance(path)["never_looked_at"]
    assert told["axis"] == case.geometry.file_axes[0]
    unseen = set(range(count)) - {4, count - 1}  # a single clean slice says nothing beyond itself
    assert set(told["slices"]) == {case.geometry.file_index(0, i) for i in unseen}
    assert in_words(study, case).endswith(f" {len(unseen)} of {count} slices were never looked at.")


def test_extents_cut_what_is_exported_and_are_named(study: Study, tmp_path: Path) -> None:
    case, geometry = study.cases[0], study.cases[0].geometry
    study.arrays.create("scan", ArrayName.PREDICTION)[:] = 1
    for value, extent in {1: Extent(1, 4), 2: Extent(2, 3)}.items():  # 4 is clean, and all 2
        study.extents.mark("scan", 0, value, extent)
    for kind in (ExportKind.LABELS, ExportKind.PREDICTION):
        (path,) = export_case(study, "scan", tmp_path / kind, kind, OutFormat.NIFTI)
        found = geometry.to_display(np.asarray(load_nifti(path).dataobj))
        assert np.flatnonzero(found.any(axis=(1, 2))).tolist() == [1, 2, 3, 4]
    told, (_, last) = provenance(path), (1, 4)
    assert told["certified_empty"] == {
        "axis": geometry.file_axes[0],
        "slices": sorted(geometry.file_index(0, i) for i in (0, 5, 6)),
    }
    assert [one["class"]["value"] for one in told["extents"]] == [1, 2]
    narrow = told["extents"][1]
    assert narrow["author"] == "ada"
    assert narrow["axis"] == geometry.file_axes[0]
    marked = {geometry.file_index(0, i) for i in (2, 3)}
    assert {narrow["first"], narrow["last"]} == marked
    assert narrow["first"] < narrow["last"]
    widened = narrow["with_clean_slices"]
    assert {widened["first"], widened["last"]} == {geometry.file_index(0, i) for i in (2, last)}
    assert "3 of 7 slices are certified empty by marked ends." in in_words(study, case)
    assert not set(told["certified_empty"]["slices"]) & set(told["never_looked_at"]["slices"])


def test_imported_labels_cut_by_an_extent_are_not_as_imported(study: Study, tmp_path: Path) -> None:
    shown = [i for i in range(SHAPE[2]) if study.arrays.read("scan", INITIAL, 0, i).any()]
    for value in (1, 2):
        study.extents.mark("scan", 0, value, Extent(last=3))
    (path,) = export_case(study, "scan", tmp_path / "out", ExportKind.LABELS, OutFormat.NIFTI)
    kept = provenance(path)["imported_labels"]["kept_slices"]
    file_index = study.cases[0].geometry.file_index
    assert max(shown) > 4  # else there is nothing to cut
    assert kept == [file_index(0, i) for i in shown if i <= 3]


def test_a_source_that_is_gone_has_no_hash(study: Study, tmp_path: Path) -> None:
    (tmp_path / "in" / "scan").rename(tmp_path / "elsewhere")
    (path,) = export_case(study, "scan", tmp_path / "out", ExportKind.LABELS, OutFormat.NIFTI)
    assert provenance(path)["source"]["sha256"] is None
    assert provenance(path)["source"]["not_hashed"] == "not there any more"
    with pytest.raises(UserError, match="needs its files"):
        export_case(study, "scan", tmp_path / "out", ExportKind.LABELS)


def test_the_hash_of_a_file_is_that_of_sha256sum(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(bytes(3_000_000))
    assert sha256_of(file) == hashlib.sha256(bytes(3_000_000)).hexdigest()
    file.write_bytes(b"x")
    assert sha256_of(file) == hashlib.sha256(b"x").hexdigest()


# --- patients -------------------------------------------------------------------------------------


def test_nothing_of_a_patient_is_copied_unless_dicom_is_asked_for(
    study: Study, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for kind in (ExportKind.LABELS, ExportKind.INITIAL, ExportKind.TRUST):
            for form in VOXEL_FORMATS:
                export_study(study, tmp_path / "out", kind, form=form)
        export_study(study, tmp_path / "out", ExportKind.VOLUMES)
    study.close()
    written = [f for root in (study.path, tmp_path / "out") for f in root.rglob("*") if f.is_file()]
    assert len(written) > 20
    for text in (*(f.read_bytes() for f in written), caplog.text.encode()):
        for identifier in IDENTIFIERS:
            assert identifier.encode() not in text
    assert not any(word in str(f) for f in written for word in IDENTIFIERS)


@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha"])
def test_free_text_of_headers_is_not_kept(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / f"a{suffix}"
    image = sitk.GetImageFromArray(np.zeros((4, 5, 6), np.int16))
    if suffix == ".nii":
        nifti = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4))
        nifti.header["descrip"] = nifti.header["aux_file"] = PATIENT
        nib.save(nifti, path)
    else:
        image.SetMetaData("PatientName", PATIENT)
        sitk.WriteImage(image, str(path))
    assert PATIENT.encode() in path.read_bytes()
    with Study.create(tmp_path / "s.mlbseg") as study:
        import_folder(study, tmp_path / "in")
        export_study(study, tmp_path / "out", ExportKind.LABELS)
    kept = [f for root in (study.path, tmp_path / "out") for f in root.rglob("*") if f.is_file()]
    assert not any(PATIENT.encode() in f.read_bytes() for f in kept)


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\ttab", "a=1"])
def test_no_name_becomes_a_formula_of_a_spreadsheet(
    study: Study, tmp_path: Path, name: str
) -> None:
    study.set_classes([LabelClass(1, name, (1, 2, 3))])
    [table] = export_study(study, tmp_path / "out", ExportKind.VOLUMES)
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    expected = name if name == "a=1" else f"'{name}"
    assert {row["name"] for row in rows} == {expected}

"""What leaves a study with several channels."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from nifti_files import load_nifti
from two_channels import two_channel_case

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import open_image
from napari_mlbseg.project.exporting.checks import require_safe
from napari_mlbseg.project.exporting.export import ExportKind, export_study
from napari_mlbseg.project.exporting.kinds import OutFormat
from napari_mlbseg.project.exporting.nnunet import notes_of
from napari_mlbseg.project.importing.layout import find_cases
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    files = tmp_path / "files"
    with Study.create(tmp_path / "head.mlbseg", author="ada") as study:
        study.set_classes([LabelClass(1, "lesion", (1, 2, 3))])
        cases = (two_channel_case(files, "ann"), two_channel_case(files, "bo", filled=True))
        study.add_cases(cases)
        for case in study.cases:
            mask = np.ones(case.slice_shape(case.axis), np.uint8)
            study.save_slice(SliceKey(case.id, case.axis, 2), mask, SliceState.CLEAN)
        yield study


def test_nnunet_gets_a_file_for_each_channel_and_their_names(study: Study, tmp_path: Path) -> None:
    out = tmp_path / "Dataset001_head"
    export_study(study, out, ExportKind.LABELS, form=OutFormat.NNUNET)
    about = json.loads((out / "dataset.json").read_text())
    assert about["channel_names"] == {"0": "T1", "1": "FLAIR"}
    for ending, source in (("0000", "t1"), ("0001", "flair")):
        written = load_nifti(out / "imagesTr" / f"ann_{ending}.nii.gz")
        original = load_nifti(tmp_path / "files" / f"ann_{source}.nii.gz")
        np.testing.assert_array_equal(written.dataobj, original.dataobj)
    filled = load_nifti(out / "imagesTr" / "bo_0001.nii.gz")
    assert filled.shape == (8, 7, 6)
    assert not np.asarray(filled.dataobj).any()
    assert "bo has no FLAIR: its file is zero everywhere." in notes_of(study.cases, study.classes)
    again = find_cases(out)
    assert [(case.id, len(case.further)) for case in again.cases] == [("ann", 1), ("bo", 1)]
    assert again.channels == ("T1", "FLAIR")
    assert open_image(again.cases[0].image).geometry == study.case("ann").geometry


def test_provenance_names_the_file_of_each_channel(study: Study, tmp_path: Path) -> None:
    export_study(study, tmp_path / "out", ExportKind.LABELS)
    said = json.loads((tmp_path / "out" / "ann.provenance.json").read_text())
    t1, flair = said["channels"]
    assert (t1["name"], t1["file"], t1["filled"]) == ("T1", "ann_t1.nii.gz", False)
    assert t1["sha256"] == said["source"]["sha256"] != flair["sha256"]
    lacking = json.loads((tmp_path / "out" / "bo.provenance.json").read_text())
    assert lacking["channels"][1] == {"name": "FLAIR", "filled": True}


def test_no_export_replaces_the_file_of_a_channel(study: Study, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a file that the study was imported from"):
        require_safe(study, [tmp_path / "files" / "ann_flair.nii.gz"])

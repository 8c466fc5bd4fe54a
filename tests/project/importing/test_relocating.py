"""A study learns where its files are now, and takes nothing else for them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from changing import make_study, write_image, write_labels
from dicom_files import lps_of, voxels, write_series

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.adding import rebuild_arrays
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.exporting.export import export_case
from napari_mlbseg.project.exporting.kinds import ExportKind, OutFormat
from napari_mlbseg.project.importing.classes import change_classes
from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.importing.relocating import relocate
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.study import Study


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with make_study(tmp_path) as made:
        yield made


def move(tmp_path: Path) -> Path:
    """Both folders lie in another one afterwards."""
    elsewhere = tmp_path / "disk" / "data"
    elsewhere.mkdir(parents=True)
    for name in ("images", "rough"):
        (tmp_path / name).rename(elsewhere / name)
    return elsewhere


@pytest.mark.parametrize("where", ["data", "disk", "table"])
def test_arrays_can_be_rebuilt_after_the_files_were_moved(
    study: Study, tmp_path: Path, where: str
) -> None:
    elsewhere = move(tmp_path)
    shown = study.labels.working("a")
    if where == "table":
        table = tmp_path / "where.csv"
        table.write_text(
            "case,image,labels\n"
            "a,disk/data/images/a.nii.gz,disk/data/rough/a.nii.gz\n"
            "b,disk/data/images/b.nii.gz,\n"
        )
        changed = relocate(study, table=table)
    else:
        if where == "disk":  # of two files with one name the folder tells which is which
            (elsewhere / "rough").rename(elsewhere.parent / "rough")
            (elsewhere / "images").rename(elsewhere.parent / "images")
        changed = relocate(study, elsewhere if where == "data" else elsewhere.parent)
    assert [case.id for case in changed.cases] == ["a", "b"]
    assert changed.failures == ()
    assert all(case.image_path.is_file() for case in study.cases)
    shutil.rmtree(study.path / "arrays" / "a")
    rebuild_arrays(study.cases, study.arrays)
    np.testing.assert_array_equal(study.labels.working("a"), shown)


def test_other_voxels_are_not_taken_for_an_image_or_for_labels(
    study: Study, tmp_path: Path
) -> None:
    write_image(tmp_path / "other" / "images", "a", 77)
    shutil.copytree(tmp_path / "images", tmp_path / "same" / "images")
    write_labels(tmp_path / "same" / "rough", "a", 77)
    before = study.cases
    with pytest.raises(UserError, match="not the image that was imported as 'a'"):
        relocate(study, tmp_path / "other")
    changed = relocate(study, tmp_path / "same")
    assert [case.id for case in changed.cases] == ["b"]
    [failure] = changed.failures
    assert "does not hold the labels that were imported for 'a'" in failure.reason
    assert study.case("a") == before[0]
    with pytest.raises(UserError, match=r"a\.nii\.gz, the image of 'a', is not in"):
        relocate(study, tmp_path / "cohort.mlbseg")


def test_without_its_array_an_image_is_known_by_its_intensities(
    study: Study, tmp_path: Path
) -> None:
    elsewhere = move(tmp_path)
    write_image(tmp_path / "other" / "images", "b", 77)
    study.arrays.remove("b", ArrayName.IMAGE)
    with pytest.raises(UserError, match="not the image that was imported as 'b'"):
        relocate(study, tmp_path / "other")
    assert not study.arrays.has("b", ArrayName.IMAGE)
    relocate(study, elsewhere)
    assert study.arrays.has("b", ArrayName.IMAGE)


def test_labels_of_merged_classes_are_still_known(study: Study, tmp_path: Path) -> None:
    organ, core, scar = study.classes
    change_classes(study, [core], becoming={organ.value: core.value, scar.value: 0})
    shown = study.labels.machine("a")
    relocate(study, move(tmp_path))
    study.arrays.remove("a", ArrayName.INITIAL_LABELS)
    rebuild_arrays(study.cases, study.arrays)
    np.testing.assert_array_equal(study.labels.machine("a"), shown)


def test_a_series_is_exported_as_dicom_again_even_with_other_names_of_its_files(
    tmp_path: Path,
) -> None:
    write_series(tmp_path / "scans" / "one", voxels(), lps_of())
    with Study.create(tmp_path / "ct.mlbseg") as study:
        study.set_classes([LabelClass(1, "organ", (1, 2, 3))])
        [case] = import_folder(study, tmp_path / "scans").cases
        renamed = tmp_path / "archive" / case.image_path.name
        renamed.mkdir(parents=True)
        for number, file in enumerate(sorted(case.image_path.iterdir())):
            file.rename(renamed / f"slice{number}.dcm")
        with pytest.raises(UserError):
            export_case(study, case.id, tmp_path / "out", ExportKind.LABELS, OutFormat.DICOM_SEG)
        relocate(study, tmp_path / "archive")
        [written] = export_case(
            study, case.id, tmp_path / "out", ExportKind.LABELS, OutFormat.DICOM_SEG
        )
    assert pydicom.dcmread(written).Modality == "SEG"

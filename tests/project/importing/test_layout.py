"""Folders as people have them, and what is told about everything in them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from dicom_files import lps_of, voxels, write_series
from numpy.typing import NDArray
from seg_files import write_seg

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.source import Choice
from napari_mlbseg.project.arrays.adding import rebuild_arrays
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.importing.case_files import Layout, Pairing
from napari_mlbseg.project.importing.cohort import Imported, make_study
from napari_mlbseg.project.importing.layout import find_cases, labels_for
from napari_mlbseg.project.importing.names import Rule
from napari_mlbseg.project.study import Study

SHAPE = (6, 5, 4)


def volume(value: int = 1) -> NDArray[np.uint8]:
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:4, 1:3, value % 3 : value % 3 + 2] = value
    return labels


def put(folder: Path, *names: str, value: int | None = None) -> None:
    """Small NIfTI files: labels of one value, or images."""
    for number, name in enumerate(names):
        path = folder / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = np.full(SHAPE, number, np.int16) if value is None else volume(value)
        nib.save(nib.Nifti1Image(stored, np.diag([1.0, 1.0, 2.0, 1.0])), path)


def cases(layout: Layout, root: Path) -> dict[str, tuple[str, str | None]]:
    """Image and labels of each case, by their paths in a folder."""
    return {
        case.id: (
            str(case.image.relative_to(root)),
            None if case.labels is None else str(case.labels.relative_to(root)),
        )
        for case in layout.cases
    }


def told(found: Iterable[Any]) -> str:
    return "\n".join(one.reason for one in found)


def made(
    tmp_path: Path, images: Path, labels: Path | None = None, **options: Any
) -> tuple[Study, Imported]:
    return make_study(tmp_path / "s.mlbseg", images, labels, **options)


# --- layouts --------------------------------------------------------------------------------------


def test_patient_folders_give_their_names(tmp_path: Path) -> None:
    put(tmp_path, "p1/image", "p1/mask", "p2/image", "p2/mask", "p3/image")
    layout = find_cases(tmp_path)
    assert cases(layout, tmp_path) == {
        "p1": ("p1/image.nii.gz", "p1/mask.nii.gz"),
        "p2": ("p2/image.nii.gz", "p2/mask.nii.gz"),
        "p3": ("p3/image.nii.gz", None),
    }
    assert layout.failures == ()
    assert "Labels were found by their names: *image=*mask" in told(layout.notes)
    assert "1 images have no labels: p3" in told(layout.notes)
    assert cases(find_cases(tmp_path, tmp_path), tmp_path) == cases(layout, tmp_path)


def test_bids_with_the_names_of_its_table(tmp_path: Path) -> None:
    for k in (1, 2):
        put(tmp_path, f"sub-0{k}/anat/sub-0{k}_T1w")
        dseg = f"derivatives/manual/sub-0{k}/anat/sub-0{k}_T1w_dseg"
        put(tmp_path, dseg, value=2)
        (tmp_path / f"{dseg}.tsv").write_text("index\tname\n1\tscar\n2\tleft atrium\n")
    (tmp_path / "dataset_description.json").write_text("{}")
    study, imported = made(tmp_path, tmp_path)
    with study:
        assert [case.id for case in study.cases] == ["sub-01_T1w", "sub-02_T1w"]
        assert [(c.value, c.name) for c in study.classes] == [(1, "scar"), (2, "left atrium")]
    assert imported.failures == ()
    assert "1 file in" in told(imported.notes)
    assert ".json is no known format: dataset_description.json" in told(imported.notes)


def test_a_table_of_names_that_is_none_is_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "sub-01/anat/sub-01_T1w")
    put(tmp_path, "derivatives/manual/sub-01/anat/sub-01_T1w_dseg", value=2)
    table = tmp_path / "derivatives/manual/sub-01/anat/sub-01_T1w_dseg.tsv"
    table.write_text(f"index\tname\n2\t{'a' * 200_000}\n")
    study, imported = made(tmp_path, tmp_path)
    with study:
        assert [found.value for found in study.classes] == [2]
    assert imported.failures == ()


@pytest.mark.parametrize("turned", [False, True])
def test_nnunet_with_the_names_of_its_dataset(tmp_path: Path, turned: bool) -> None:
    put(tmp_path, "imagesTr/la_001_0000", "imagesTr/la_002_0000", "imagesTs/la_009_0000")
    put(tmp_path, "labelsTr/la_001", "labelsTr/la_002", value=1)
    names: dict[Any, Any] = {"background": 0, "left atrium": 1}
    described = {str(v): n for n, v in names.items()} if turned else names
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": described}))
    study, _ = made(tmp_path, tmp_path)
    with study:
        labelled = {case.id: case.labels_path is not None for case in study.cases}
        assert labelled == {"la_001": True, "la_002": True, "la_009": False}
        assert [c.name for c in study.classes] == ["left atrium"]


def test_masks_beside_their_images_are_no_cases(tmp_path: Path) -> None:
    put(tmp_path, "c1", "c1_seg", "c2", "c2_seg")
    assert cases(find_cases(tmp_path), tmp_path) == {
        "c1": ("c1.nii.gz", "c1_seg.nii.gz"),
        "c2": ("c2.nii.gz", "c2_seg.nii.gz"),
    }
    put(tmp_path / "l", "c1", "c2")
    layout = find_cases(tmp_path, tmp_path / "l")
    assert [case.labels for case in layout.cases] == [
        tmp_path / "l" / f"c{k}.nii.gz" for k in (1, 2)
    ]
    assert "2 files in" in told(layout.failures)
    assert "masks by their names" in told(layout.failures)


def test_a_folder_of_nothing_but_masks_is_one_of_images(tmp_path: Path) -> None:
    put(tmp_path, "a_mask", "b_mask")
    assert [case.id for case in find_cases(tmp_path).cases] == ["a_mask", "b_mask"]


def test_folders_beside_images_are_told_and_searched_when_asked_for(tmp_path: Path) -> None:
    put(tmp_path, "a", "old/b", "empty/../c")
    layout = find_cases(tmp_path)
    assert [case.id for case in layout.cases] == ["a", "c"]
    assert "Not searched: 1 folder in " in told(layout.notes)
    assert "because images lie beside them: old" in told(layout.notes)
    everything = find_cases(tmp_path, pairing=Pairing(patient_folders=True))
    assert [case.id for case in everything.cases] == ["a", "c", "b"]


def test_a_study_among_the_images_is_not_searched(tmp_path: Path) -> None:
    put(tmp_path, "p1/image", "s.mlbseg/arrays/x")
    assert [case.id for case in find_cases(tmp_path).cases] == ["p1"]


def test_files_of_one_name_in_several_folders_are_told_apart(tmp_path: Path) -> None:
    put(tmp_path, "p1/a/scan", "p1/b/scan", "p2/a/scan")
    assert sorted(case.id for case in find_cases(tmp_path).cases) == ["p1_a", "p1_b", "p2_a"]


def test_two_images_of_one_name_are_refused_and_others_stay(tmp_path: Path) -> None:
    put(tmp_path, "a", "b")
    nib.save(nib.Nifti1Image(volume(), np.eye(4)), tmp_path / "A.nii")
    layout = find_cases(tmp_path)
    assert [case.id for case in layout.cases] == ["b"]
    assert told(layout.failures).count("Several images have the same name") == 2


# --- nothing disappears ---------------------------------------------------------------------------


def test_everything_that_is_left_out_is_named_and_counted(tmp_path: Path) -> None:
    put(tmp_path, "a")
    for name in ("b.mgz", "c.mgz", "d.hdr", "d.img", "e.npy", "f.zarr.zip"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("readme.txt", "g.jpg", ".hidden.nii.gz", "._a.nii.gz"):
        (tmp_path / name).write_bytes(b"x")
    layout = find_cases(tmp_path)
    failures = told(layout.failures)
    assert "2 files in" in failures
    assert "b.mgz, c.mgz. To take such a file in, convert it with FreeSurfer" in failures
    assert "save the pair .hdr and .img as one .nii.gz" in failures
    assert "unpack it" in failures
    notes = told(layout.notes)
    assert "because .txt is no known format: readme.txt" in notes
    assert "because .jpg is no known format: g.jpg" in notes
    assert "hidden" not in failures + notes


def test_labels_without_an_image_and_images_without_labels(tmp_path: Path) -> None:
    put(tmp_path, "i/c1", "i/c2", "i/c3", "l/c1", "l/c9")
    layout = find_cases(tmp_path / "i", tmp_path / "l")
    assert [case.labels is not None for case in layout.cases] == [True, False, False]
    assert "c9.nii.gz holds labels without an image" in told(layout.failures)
    assert "--pair" in told(layout.failures)
    assert "2 images have no labels: c2, c3" in told(layout.notes)
    put(tmp_path, "m/x8", "m/y9")
    with pytest.raises(UserError, match=r"x8\.nii\.gz holds labels without an image"):
        find_cases(tmp_path / "i", tmp_path / "m")


def test_labels_that_are_unclear_say_the_rules_to_choose_from(tmp_path: Path) -> None:
    put(tmp_path, *(f"{c}/{c}_{what}" for c in ("b1", "b2") for what in ("flair", "t1", "seg")))
    layout = find_cases(tmp_path)
    assert "--pair '*flair=*seg', --pair '*t1=*seg'" in told(layout.failures)
    chosen = find_cases(tmp_path, pairing=Pairing(Rule.parsed("*_t1=*_seg")))
    assert [case.image.name for case in chosen.cases if case.labels] == [
        "b1_t1.nii.gz",
        "b2_t1.nii.gz",
    ]


def test_folders_without_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{tmp_path.name} holds no images: no .nii"):
        find_cases(tmp_path)
    with pytest.raises(UserError, match="gone cannot be read"):
        find_cases(tmp_path / "gone")
    (tmp_path / "a.mgz").write_bytes(b"x")
    with pytest.raises(UserError, match=r"\.mgz is no known format: a\.mgz"):
        find_cases(tmp_path)


def test_slices_behind_many_previews_are_found(tmp_path: Path) -> None:
    write_series(tmp_path / "p1", voxels(SHAPE), lps_of())
    for k in range(20):
        (tmp_path / "p1" / f"A{k:02d}.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    study, imported = made(tmp_path, tmp_path)
    with study:
        assert [case.id for case in study.cases] == ["p1"]
    assert "holds 20 files that are not DICOM and are left out: A00.jpg" in told(imported.notes)


# --- a table --------------------------------------------------------------------------------------


def test_a_table_says_everything(tmp_path: Path) -> None:
    put(tmp_path, "x", "y", "z")
    (tmp_path / "t.csv").write_text("case,image,labels\nfirst,x.nii.gz,z.nii.gz\n,y.nii.gz,\n")
    layout = find_cases(tmp_path, pairing=Pairing(table=tmp_path / "t.csv"))
    assert cases(layout, tmp_path) == {
        "first": ("x.nii.gz", "z.nii.gz"),
        "y": ("y.nii.gz", None),
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "lists no cases. Its first line names the columns case, image, labels"),
        ("a,b\n1,2\n", "lists no cases"),
        ("case,image\nx,\n", "names no image in line 2"),
        ("case,image\nx,a\0.nii\n", "cannot be read as a table: it holds null characters"),
        (f"case,image\nx,{'a' * 200_000}\n", "cannot be read as a table: field larger than"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=says):
        find_cases(tmp_path, pairing=Pairing(table=tmp_path / "t.csv"))


# --- one file for each structure ------------------------------------------------------------------


def labels_of(study: Study, case_id: str) -> NDArray[Any]:
    shown = np.asarray(study.arrays.open(case_id, ArrayName.INITIAL_LABELS)[:])
    return study.case(case_id).geometry.to_file(shown)


def test_a_folder_of_masks_becomes_classes_with_their_names(tmp_path: Path) -> None:
    """As TotalSegmentator writes it; the second patient lacks an organ."""
    put(tmp_path, "p1/ct", "p2/ct")
    put(tmp_path, "p1/segmentations/liver", "p2/segmentations/rib_left_1", value=1)
    put(tmp_path, "p1/segmentations/rib_left_1", value=2)
    study, imported = made(tmp_path, tmp_path)
    with study:
        assert imported.failures == ()
        assert [case.id for case in study.cases] == ["p1", "p2"]
        names = {c.name: c.value for c in study.classes}
        assert set(names) == {"liver", "rib_left_1"}
        assert [c.name for c in study.classes] == ["liver", "rib_left_1"]
        first = labels_of(study, "p1")
        np.testing.assert_array_equal(first == names["rib_left_1"], volume(2) > 0)
        np.testing.assert_array_equal(labels_of(study, "p2") > 0, volume(1) > 0)
        assert set(np.unique(labels_of(study, "p2"))) == {0, names["rib_left_1"]}
        lost = int(((volume(1) > 0) & (volume(2) > 0)).sum())
        assert f"{lost} voxels belong both to 'liver' and to 'rib_left_1'" in told(imported.notes)
        for case_id in ("p1", "p2"):
            before = labels_of(study, case_id)
            study.arrays.remove(case_id, ArrayName.INITIAL_LABELS)
            rebuild_arrays(study.cases, study.arrays)
            np.testing.assert_array_equal(labels_of(study, case_id), before)


def test_masks_of_one_image_given_as_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "ct")
    put(tmp_path, "m/spleen", "m/liver", value=1)
    study, _ = made(tmp_path, tmp_path / "ct.nii.gz", tmp_path / "m")
    with study:
        assert [c.name for c in study.classes] == ["liver", "spleen"]


def test_masks_beside_their_image(tmp_path: Path) -> None:
    for k in (1, 2):
        put(tmp_path, f"p{k}/p{k}_ct")
        put(tmp_path, f"p{k}/p{k}_liver_mask", f"p{k}/p{k}_scar_mask", value=1)
    study, imported = made(tmp_path, tmp_path)
    with study:
        assert {case.labels_path for case in study.cases} == {tmp_path / "p1", tmp_path / "p2"}
        assert [c.name for c in study.classes] == ["liver", "scar"]
    assert imported.failures == ()


def test_several_label_files_that_name_no_structure_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "i/a", "i/b", "l/a_mask", "l/a_seg", "l/b")
    layout = find_cases(tmp_path / "i", tmp_path / "l")
    assert [case.id for case in layout.cases] == ["b"]
    assert "Several label files could belong to the image" in told(layout.failures)
    assert "a_mask.nii.gz" in told(layout.failures)


def test_a_mask_of_several_labels_is_no_mask_of_one_structure(tmp_path: Path) -> None:
    put(tmp_path, "p1/ct", "p2/ct")
    put(tmp_path, "p1/seg/liver", "p1/seg/spleen", "p2/seg/liver", value=1)
    put(tmp_path, "p2/seg/spleen", value=1)
    both = volume(1) + volume(2)
    nib.save(
        nib.Nifti1Image(both, np.diag([1.0, 1.0, 2.0, 1.0])), tmp_path / "p2/seg/spleen.nii.gz"
    )
    study, imported = made(tmp_path, tmp_path)
    with study:
        assert [case.id for case in study.cases] == ["p1"]
    assert "a mask of one structure has one" in told(imported.failures)


def test_structures_are_matched_with_the_classes_of_a_study_by_name(tmp_path: Path) -> None:
    put(tmp_path, "p1/ct")
    put(tmp_path, "p1/seg/liver", value=1)
    put(tmp_path, "p1/seg/spleen", value=2)
    study, _ = made(tmp_path, tmp_path, classes="Spleen,Liver")
    with study:
        assert [c.name for c in study.classes] == ["Spleen", "Liver"]
        found = labels_of(study, "p1")
        np.testing.assert_array_equal(found == 2, volume(1) > 0)
        np.testing.assert_array_equal(found > 0, (volume(1) + volume(2)) > 0)


def test_one_name_has_one_class_whatever_its_number(tmp_path: Path) -> None:
    """Segmentations of two cases that number their segments differently."""
    for name, value in (("one", 1), ("two", 2)):
        files = write_series(tmp_path / "i" / name, voxels(SHAPE), lps_of())
        (tmp_path / "l").mkdir(exist_ok=True)
        write_seg(tmp_path / "l" / f"{name}.dcm", files, volume(value))
    # "organ 1" and "organ 2" are named alike in both; the second has both segments.
    study, _ = made(tmp_path, tmp_path / "i", tmp_path / "l")
    with study:
        assert [(c.value, c.name) for c in study.classes] == [(1, "organ 1"), (2, "organ 2")]
        assert set(np.unique(labels_of(study, "two"))) == {0, 2}


def test_a_segmentation_beside_its_series_is_its_labels(tmp_path: Path) -> None:
    files = write_series(tmp_path / "p1", voxels(SHAPE), lps_of())
    write_seg(tmp_path / "p1" / "seg.dcm", files, volume(1))
    study, imported = made(tmp_path, tmp_path)
    with study:
        np.testing.assert_array_equal(labels_of(study, "p1"), volume(1))
        assert [c.name for c in study.classes] == ["organ 1"]
    assert imported.failures == ()


# --- how labels are read --------------------------------------------------------------------------


def test_masks_of_0_and_255_are_renumbered_when_asked_for(tmp_path: Path) -> None:
    put(tmp_path, "i/a")
    put(tmp_path, "l/a", value=255)
    with pytest.raises(UserError, match="--renumber 255=1; if it marks what is to be ignored"):
        made(tmp_path, tmp_path / "i", tmp_path / "l")
    choice = Choice(renumber=((255, 1),))
    study, _ = made(tmp_path, tmp_path / "i", tmp_path / "l", choice=choice)
    with study:
        before = labels_of(study, "a")
        np.testing.assert_array_equal(before, volume(255) > 0)
        study.arrays.remove("a", ArrayName.INITIAL_LABELS)
        rebuild_arrays(study.cases, study.arrays)
        np.testing.assert_array_equal(labels_of(study, "a"), before)


def test_one_hot_labels_are_read_when_asked_for(tmp_path: Path) -> None:
    put(tmp_path, "i/a")
    (tmp_path / "l").mkdir()
    stacked = np.stack([volume(1) > 0, volume(2) > 0], -1).astype(np.uint8)
    nib.save(nib.Nifti1Image(stacked, np.diag([1.0, 1.0, 2.0, 1.0])), tmp_path / "l/a.nii.gz")
    with pytest.raises(UserError, match=r"mask of one class, take them all \(--one-hot\)"):
        made(tmp_path, tmp_path / "i", tmp_path / "l")
    study, imported = made(tmp_path, tmp_path / "i", tmp_path / "l", choice=Choice(one_hot=True))
    with study:
        expected = np.where(volume(2), 2, volume(1))
        np.testing.assert_array_equal(labels_of(study, "a"), expected)
    assert "voxels belong both to label 1 and to label 2" in told(imported.notes)


def test_labels_for_known_cases(tmp_path: Path) -> None:
    put(tmp_path, "p1/truth_mask", "p2/truth_mask")
    found = labels_for(["p1", "p2", "p3"], tmp_path)
    assert {name: files.labels for name, files in found.items()} == {
        name: tmp_path / name / "truth_mask.nii.gz" for name in ("p1", "p2")
    }

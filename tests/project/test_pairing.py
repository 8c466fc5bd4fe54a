from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.pairing import files_in, pair, require_unique, shortened


def images(*names: str) -> list[Path]:
    return [Path("images") / f"{name}.nii.gz" for name in names]


def labels(*names: str) -> list[Path]:
    return [Path("labels") / f"{name}.nii" for name in names]


def found(pairs: dict[str, Path]) -> dict[str, str]:
    return {case: path.name.removesuffix(".nii") for case, path in pairs.items()}


@pytest.mark.parametrize("ending", ["", "_seg", "_mask", "_label", "_labels"])
def test_labels_are_found_by_name_and_by_the_common_endings(ending):
    expected = {"a": f"a{ending}", "b": f"b{ending}"}
    assert found(pair(images("a", "b"), labels(*expected.values()))) == expected


def test_labels_are_found_by_nnunet_s_convention():
    assert found(pair(images("a_0000", "b_0000"), labels("a", "b_seg"))) == {
        "a_0000": "a",
        "b_0000": "b_seg",
    }


def test_the_same_name_goes_before_every_convention():
    names = ["a", "a_seg", "a_0000"]
    assert found(pair(images(*names), labels(*names))) == {name: name for name in names}


@given(st.lists(st.from_regex(r"[a-z]{1,6}", fullmatch=True), unique=True, min_size=1))
def test_equal_names_always_match(names):
    assert found(pair(images(*names), labels(*names))) == {name: name for name in names}


def test_several_labels_for_one_image_are_named():
    with pytest.raises(UserError, match=r"image a: .*a_mask\.nii, .*a_seg\.nii"):
        pair(images("a"), labels("a_mask", "a_seg"))


def test_a_label_for_several_images_is_named():
    with pytest.raises(
        UserError, match=r"b_seg\.nii could belong to several images: b, b_seg_0000"
    ):
        pair(images("b", "b_seg_0000"), labels("b_seg"))


def test_missing_partners_are_listed_up_to_five_and_counted():
    with pytest.raises(UserError) as caught:
        pair(images("a", *(f"i{k}" for k in range(7))), labels("a", "x", "y"))
    message = str(caught.value)
    assert "7 images without labels: i0.nii.gz, i1.nii.gz, i2.nii.gz, i3.nii.gz, i4" in message
    assert "i5" not in message
    assert "and 2 more" in message
    assert "2 labels without image: x.nii, y.nii" in message


def test_a_second_channel_has_no_labels_of_its_own():
    with pytest.raises(UserError, match=r"1 images without labels: a_0001\.nii\.gz"):
        pair(images("a_0000", "a_0001"), labels("a"))


def test_two_images_of_one_name_are_refused():
    with pytest.raises(UserError, match=r"a\.nii, .*A\.nii\.gz"):
        require_unique([Path("x/a.nii"), Path("x/A.nii.gz"), Path("x/b.nii")])


def test_only_visible_files_of_a_known_format_directly_in_the_folder_are_taken(tmp_path):
    for name in ("b.nii", "a.NII.GZ", ".hidden.nii", "._a.nii.gz", "notes.txt", "c.hdr"):
        (tmp_path / name).touch()
    (tmp_path / "folder.nii").mkdir()
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "d.nii").touch()
    assert [path.name for path in files_in(tmp_path)] == ["a.NII.GZ", "b.nii"]


def test_folders_without_images_are_named(tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path.name} holds no .nii"):
        files_in(tmp_path)
    with pytest.raises(UserError, match="gone cannot be read"):
        files_in(tmp_path / "gone")


@given(st.lists(st.from_regex(r"[a-z]+", fullmatch=True), max_size=9))
def test_no_more_than_five_names_are_shown(names):
    text = shortened(names)
    assert text.count(",") <= 4
    assert (f"and {len(names) - 5} more" in text) == (len(names) > 5)

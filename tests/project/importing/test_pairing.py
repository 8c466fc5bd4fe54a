from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.importing.pairing import files_in, pair, shortened, without_twins


def images(*names: str) -> list[Path]:
    return [Path("images") / f"{name}.nii.gz" for name in names]


def labels(*names: str) -> list[Path]:
    return [Path("labels") / f"{name}.nii" for name in names]


def found(result: tuple[dict[str, Path], Sequence[Any]]) -> dict[str, str]:
    pairs, failures = result
    assert failures == []
    return {case: path.name.removesuffix(".nii") for case, path in pairs.items()}


def reasons(result: tuple[object, Sequence[Any]]) -> str:
    return "\n".join(failure.reason for failure in result[1])


@pytest.mark.parametrize("ending", ["", "_seg", "_mask", "_label", "_labels"])
def test_labels_are_found_by_name_and_by_the_common_endings(ending: str) -> None:
    expected = {"a": f"a{ending}", "b": f"b{ending}"}
    assert found(pair(images("a", "b"), labels(*expected.values()))) == expected


def test_labels_are_found_by_nnunet_s_convention() -> None:
    assert found(pair(images("a_0000", "b_0000"), labels("a", "b_seg"))) == {
        "a_0000": "a",
        "b_0000": "b_seg",
    }


def test_the_same_name_goes_before_every_convention() -> None:
    names = ["a", "a_seg", "a_0000"]
    assert found(pair(images(*names), labels(*names))) == {name: name for name in names}


@given(st.lists(st.from_regex(r"[a-z]{1,6}", fullmatch=True), unique=True, min_size=1))
def test_equal_names_always_match(names: list[str]) -> None:
    assert found(pair(images(*names), labels(*names))) == {name: name for name in names}


def test_several_labels_for_one_image_are_named_and_the_others_pair() -> None:
    result = pair(images("a", "b"), labels("a_mask", "a_seg", "b"))
    assert list(result[0]) == ["b"]
    assert "image images/a.nii.gz: labels/a_mask.nii, labels/a_seg.nii" in reasons(result)
    assert [failure.path.name for failure in result[1]] == ["a.nii.gz"]


def test_a_label_for_several_images_is_named() -> None:
    result = pair(images("b", "b_seg_0000"), labels("b_seg"))
    assert "b_seg.nii could belong to several images: b, b_seg_0000" in reasons(result)
    assert result[0] == {}


def test_missing_partners_are_listed() -> None:
    result = pair(images("a", "i0", "i1"), labels("a", "x", "y"))
    assert list(result[0]) == ["a"]
    assert sorted(failure.path.name for failure in result[1]) == [
        "i0.nii.gz",
        "i1.nii.gz",
        "x.nii",
        "y.nii",
    ]
    assert "i0.nii.gz is an image without labels" in reasons(result)
    assert "x.nii holds labels without an image" in reasons(result)


def test_a_second_channel_has_no_labels_of_its_own() -> None:
    pairs, failures = pair(images("a_0000", "a_0001"), labels("a"))
    assert list(pairs) == ["a_0000"]
    assert [failure.path.name for failure in failures] == ["a_0001.nii.gz"]


def test_one_image_and_one_label_file_belong_together_whatever_their_names() -> None:
    assert found(pair(images("series"), labels("segmentation"))) == {"series": "segmentation"}


def test_two_images_of_one_name_are_refused_and_others_stay() -> None:
    alone, failures = without_twins([Path("x/a.nii"), Path("x/A.nii.gz"), Path("x/b.nii")])
    assert alone == [Path("x/b.nii")]
    assert [failure.path.name for failure in failures] == ["a.nii", "A.nii.gz"]
    assert "x/a.nii, x/A.nii.gz" in failures[0].reason


def test_only_visible_files_of_a_known_format_directly_in_the_folder_are_taken(
    tmp_path: Path,
) -> None:
    for name in ("b.nii", "a.NII.GZ", ".hidden.nii", "._a.nii.gz", "notes.txt", "c.hdr"):
        (tmp_path / name).touch()
    (tmp_path / "folder.nii").mkdir()
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "d.nii").touch()
    assert [path.name for path in files_in(tmp_path)] == ["a.NII.GZ", "b.nii"]


def test_folders_without_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{tmp_path.name} holds no images: no .nii"):
        files_in(tmp_path)
    with pytest.raises(UserError, match="gone cannot be read"):
        files_in(tmp_path / "gone")


@given(st.lists(st.from_regex(r"[a-z]+", fullmatch=True), max_size=9))
def test_no_more_than_five_names_are_shown(names: list[str]) -> None:
    text = shortened(names)
    assert text.count(",") <= 4
    assert (f"and {len(names) - 5} more" in text) == (len(names) > 5)

"""What changes in a study afterwards, from the command line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from changing import SHAPE, make_study, write, write_image, write_labels
from command_line import Mlbseg
from nifti_files import load_nifti
from typer.testing import CliRunner

from napari_mlbseg.cli import app
from napari_mlbseg.project.study import Study


@pytest.fixture
def study(tmp_path: Path) -> Path:
    with make_study(tmp_path) as made:
        return made.path


def document(result: Any) -> Any:
    return json.loads(result.stdout)


def test_a_folder_that_grew_is_added_again(study: Path, tmp_path: Path, mlbseg: Mlbseg) -> None:
    images = tmp_path / "images" / ".." / "images"
    again = document(mlbseg("add", study, images, "--json"))
    assert (again["added"], again["failures"]) == ([], [])
    assert again["notes"][0]["note"] == "2 images of the study's cases stay as before: a, b."
    write_image(images, "c", 5)
    assert document(mlbseg("add", study, images, "--json"))["added"] == ["c"]


def test_cases_come_go_and_come_back(study: Path, tmp_path: Path, mlbseg: Mlbseg) -> None:
    write_image(tmp_path / "more", "c", 5)
    write_image(tmp_path / "more", "a", 5)
    assert "c" in mlbseg("add", study, tmp_path / "more", "--dry-run").stdout
    told = mlbseg("add", study, tmp_path / "more", "--json", code=4)
    assert document(told)["added"] == ["c"]
    assert "a is in the study already, with another image. Rename" in told.stderr
    assert mlbseg("remove", study, "a", "c", "--yes").stdout == "removed: a and c\n"
    assert "removed: a, c" not in mlbseg("info", study).stdout
    described = document(mlbseg("info", study, "--json"))
    assert [case["name"] for case in described["cases"]] == ["b"]
    assert described["removed_cases"] == ["a", "c"]
    assert "removed: a and c" in mlbseg("info", study).stdout
    log = mlbseg("log", study, "--case", "a").stdout
    assert "remove case a" in log
    mlbseg("restore", study, "a")
    assert mlbseg("rename", study, "a", "baseline").stdout == "a is called baseline now.\n"
    assert "'b' already" in mlbseg("rename", study, "baseline", "B", code=1).stderr
    mlbseg("export", study, tmp_path / "out")
    assert (tmp_path / "out" / "baseline.nii.gz").is_file()
    assert "baseline" in mlbseg("suggest", study).stdout
    assert "rename case baseline" in mlbseg("log", study, "--case", "baseline").stdout
    ends = mlbseg("extent", study, "baseline", "--class", "organ", "--first", 1, "--json")
    assert document(ends)["case"] == "baseline"
    assert mlbseg("compact", study, "--yes").stdout == "dropped: c\n"
    assert "nothing to drop" in mlbseg("compact", study).stdout
    assert "no removed case 'c'" in mlbseg("restore", study, "c", code=1).stderr
    assert document(mlbseg("verify", study, "--json"))["sound"]


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["remove", "a"], "Take a out of the study?"),
        (["compact"], "Delete the arrays of b?"),
        (["classes", "--merge", "scar=organ"], "merge scar=organ?"),
        (["classes", "--delete", "scar"], "delete scar?"),
    ],
)
def test_what_takes_something_away_is_asked_first(
    study: Path, arguments: list[str], asked: str
) -> None:
    with Study.open(study) as opened:
        opened.changes.remove(["b"])
        before = opened.log.entries()
    command, *rest = arguments
    for said, changes in (("n\n", False), ("", False), ("y\n", True)):
        result = CliRunner().invoke(app, [command, str(study), *rest], input=said)
        assert asked in result.stderr
        assert result.exit_code == (0 if changes else 1)
        with Study.open(study, writable=False) as opened:
            assert (opened.log.entries() != before) is changes


def test_labels_are_replaced_and_files_found_again(
    study: Path, tmp_path: Path, mlbseg: Mlbseg
) -> None:
    write(tmp_path / "better.nii.gz", np.full(SHAPE, 255, np.uint8))
    told = mlbseg(
        "relabel", study, tmp_path / "better.nii.gz", "b", "--renumber", "255=2", "--json"
    )
    assert document(told)["cases"][0]["labels"] == str(tmp_path / "better.nii.gz")
    write_labels(tmp_path / "good", "a", 9)
    write(tmp_path / "good" / "b.nii.gz", np.full(SHAPE, 77, np.uint8))
    partly = mlbseg("relabel", study, tmp_path / "good", code=4)
    assert "unknown labels: 77" in partly.stderr
    assert str(tmp_path / "good" / "a.nii.gz") in partly.stdout
    (tmp_path / "images").rename(tmp_path / "archive")
    mlbseg("relocate", study, code=1)
    found = mlbseg("relocate", study, tmp_path / "archive", "--json")
    assert f"The labels of 'a' are still at {tmp_path / 'good' / 'a.nii.gz'}" in found.stderr
    moved = document(found)
    assert {Path(case["image"]).parent.name for case in moved["cases"]} == {"archive"}
    mlbseg("export", study, tmp_path / "out")
    shown = np.asarray(load_nifti(tmp_path / "out" / "b.nii.gz").dataobj)
    assert (shown.T[[0, 2, 3]] == 2).all()


def test_classes_are_put_in_another_order(study: Path, tmp_path: Path, mlbseg: Mlbseg) -> None:
    told = mlbseg("classes", study, "--order", "scar, core", "--rename", "core=wall", "--json")
    names = [(one["value"], one["name"]) for one in document(told)["classes"]]
    assert names == [(3, "scar"), (2, "wall"), (1, "organ")]
    assert document(mlbseg("info", study, "--json"))["classes"] == document(told)["classes"]
    assert "no class 'liver'" in mlbseg("classes", study, "--order", "liver", code=1).stderr
    assert document(mlbseg("verify", study, "--json"))["sound"]


def test_better_labels_by_a_rule(study: Path, tmp_path: Path, mlbseg: Mlbseg) -> None:
    folder = tmp_path / "better"
    write_labels(folder, "rater1-a-final", 9)
    write_labels(folder, "rater2-a-final", 10)
    mlbseg("relabel", study, folder, code=1)  # which of the two is not clear
    told = document(mlbseg("relabel", study, folder, "--pair", "*=rater2-*-final", "--json"))
    [case] = told["cases"]
    assert (case["name"], Path(case["labels"]).name) == ("a", "rater2-a-final.nii.gz")
    refused = mlbseg("relabel", study, folder, "b", "--pair", "*=rater2-*-final", code=1)
    assert "by the rule *=rater2-*-final" in refused.stderr
    assert "is no rule" in mlbseg("relabel", study, folder, "--pair", "x", code=1).stderr


def test_classes_are_renamed_coloured_merged_and_deleted(study: Path, mlbseg: Mlbseg) -> None:
    told = mlbseg(
        *("classes", study, "--rename", "organ=left atrium, core=wall"),
        *("--colour", "organ=#010203", "--pieces", "organ=1", "--delete", "scar", "--yes"),
        "--json",
    )
    atrium, wall = document(told)["classes"]
    assert (atrium["name"], atrium["color"], atrium["most_pieces"]) == ("left atrium", [1, 2, 3], 1)
    assert (wall["value"], wall["name"]) == (2, "wall")
    [left] = document(mlbseg("classes", study, "--merge", "wall=left atrium", "--yes", "--json"))[
        "classes"
    ]
    assert left["name"] == "left atrium"
    with Study.open(study, writable=False) as opened:
        assert set(np.unique(opened.labels.working("a"))) == {0, 1}


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--merge", "scar=vessel"], "no class 'vessel'"),
        (["--merge", "scar"], "says nothing of a class"),
        (["--merge", "scar=organ,organ=core"], "cannot take part in another change"),
        (["--merge", "scar=organ", "--delete", "organ"], "cannot take the pixels"),
        (["--delete", "scar", "--merge", "scar=organ"], "cannot take part in another change"),
        (["--rename", "scar=ORGAN"], "upper and lower case"),
        (["--colour", "scar=red"], "'red' is no colour"),
        (["--delete", "scar", "--rename", "vessel=x"], "no class 'vessel'"),
    ],
)
def test_changes_of_classes_that_make_no_sense_change_nothing(
    study: Path, mlbseg: Mlbseg, options: list[str], why: str
) -> None:
    before = document(mlbseg("classes", study, "--json"))
    assert why in mlbseg("classes", study, *options, "--yes", code=1).stderr
    assert document(mlbseg("classes", study, "--json")) == before


def test_a_study_that_is_in_use_is_not_changed(study: Path, tmp_path: Path, mlbseg: Mlbseg) -> None:
    with Study.open(study):
        for arguments in (
            ("add", study, tmp_path / "images"),
            ("remove", study, "a", "--yes"),
            ("restore", study, "a"),
            ("rename", study, "a", "x"),
            ("relabel", study, tmp_path / "rough"),
            ("relocate", study, tmp_path),
            ("compact", study, "--yes"),
            ("classes", study, "--rename", "organ=x"),
        ):
            assert "is open for writing by" in mlbseg(*arguments, code=1).stderr

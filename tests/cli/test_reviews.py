"""Reviews from the command line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from changing import make_study
from command_line import Mlbseg

from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ada accepted the slices 1 to 3 of case a; whoever calls commands is Ben."""
    monkeypatch.setenv("LOGNAME", "ben")
    with make_study(tmp_path) as made:
        path = made.path
    with Study.open(path, author="ada") as opened:
        case = opened.named("a")
        for index in (1, 2, 3):
            key = SliceKey(case.id, case.axis, index)
            opened.save_slice(key, np.ones(case.slice_shape(case.axis), np.uint8), SliceState.CLEAN)
    return path


def document(result: Any) -> Any:
    return json.loads(result.stdout)


def test_slices_are_reviewed_listed_and_logged(
    study: Path, mlbseg: Mlbseg, monkeypatch: pytest.MonkeyPatch
) -> None:
    awaiting = document(mlbseg("review", study, "a", "--only", "to-review", "--json"))["slices"]
    numbers = [one["slice"] for one in awaiting]
    assert len(numbers) == 3
    told = mlbseg("review", study, "a", "--slices", numbers[0], "--return", "--note", "too thin")
    assert told.stdout == "Slices reviewed: 1; still to review: 2.\n"
    mlbseg("review", study, "a", "--approve")
    listed = document(mlbseg("review", study, "a", "--json"))
    assert (listed["to_review"], listed["approved"], listed["returned"]) == (0, 2, 1)
    [returned] = [one for one in listed["slices"] if one["review"] == "returned"]
    assert (returned["note"], returned["accepted_by"]) == ("too thin", "ada")
    assert returned["slice"] == numbers[0]
    assert "too thin" in mlbseg("review", study).stdout
    assert "return slice a" in mlbseg("log", study).stdout
    nothing = mlbseg("review", study, "a", "--approve", code=1)
    assert "No slice of a awaits your review" in nothing.stderr
    assert document(mlbseg("info", study, "--json"))["cases"][0]["approved"] == 2
    monkeypatch.setenv("LOGNAME", "ada")
    mine = document(mlbseg("review", study, "--only", "returned-to-me", "--json"))["slices"]
    assert [one["slice"] for one in mine] == [numbers[0]]
    own = mlbseg("review", study, "a", "--slices", numbers[1], "--approve", code=1)
    assert "Nobody reviews their own slices" in own.stderr


def test_what_makes_no_sense_is_refused(study: Path, mlbseg: Mlbseg) -> None:
    for given, said in (
        (("a", "--approve", "--return"), "approved or sent back"),
        (("--approve",), "Name the case"),
        (("a", "--note", "fine"), "Say what becomes of the slices"),
        (("a", "--return"), "with a note"),
    ):
        assert said in mlbseg("review", study, *given, code=1).stderr


def test_a_window_for_reviewing_needs_a_study(mlbseg: Mlbseg) -> None:
    assert "Name the study to review" in mlbseg("gui", "--review", code=1).stderr


def test_which_slices_teach(study: Path, mlbseg: Mlbseg) -> None:
    assert "All accepted slices teach. 4 of 4" in mlbseg("teaching", study).stdout
    told = document(mlbseg("teaching", study, "--only-approved", "--json"))
    assert (told["only_approved"], told["said_by"], told["teaching_slices"]) == (True, "ben", 0)
    refused = mlbseg("run", study, "--steps", 1, code=1)
    assert "none is approved yet" in refused.stderr
    assert "Only approved slices teach." in mlbseg("info", study).stdout
    new = study.with_name("new.mlbseg")
    made = document(mlbseg("init", new, study.parent / "images", "--only-approved", "--json"))
    assert made["only_approved"]
    mlbseg("teaching", study, "--all-accepted")
    assert not document(mlbseg("info", study, "--json"))["only_approved"]

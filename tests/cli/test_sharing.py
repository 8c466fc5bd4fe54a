"""Several people on one study, from the command line."""

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
def study(tmp_path: Path) -> Path:
    with make_study(tmp_path) as made:
        return made.path


def document(result: Any) -> Any:
    return json.loads(result.stdout)


def correct(path: Path, name: str, rows: int) -> tuple[int, int]:
    """Accept a slice of case a; returns the axis and the slice as its file counts."""
    with Study.open(path, author=name) as study:
        case = study.named("a")
        key = SliceKey(case.id, case.axis, 2)
        mask = np.zeros(case.slice_shape(case.axis), np.uint8)
        mask[:rows, :3] = 1
        study.save_slice(key, mask, SliceState.CLEAN)
        geometry = case.geometry
        return geometry.file_axes[case.axis], geometry.file_index(case.axis, 2)


def test_two_people_share_a_study(study: Path, tmp_path: Path, mlbseg: Mlbseg) -> None:
    blind = document(
        mlbseg("split", study, tmp_path / "b", "--between", "C,D", "--shared-slices", 0.5, "--json")
    )
    assert len(blind["blind"]) == 4
    assert [one["cases"] for one in blind["copies"]] != [["a", "b"], ["a", "b"]]
    out = tmp_path / "copies"
    told = mlbseg("split", study, out, "--between", "Ada,Ben", "--shared", 1)
    ada, ben = (out / f"{study.stem}-{name}.mlbseg" for name in ("Ada", "Ben"))
    assert told.stdout == f"{ada}: a and b\n{ben}: a and b\n"
    axis, index = correct(ada, "Ada", 4)
    correct(ben, "Ben", 3)
    assert mlbseg("conflicts", study).stdout == "There are no conflicts.\n"
    assert "Nobody corrected the same slice" in mlbseg("agreement", study).stdout

    merged = document(mlbseg("merge", study, ada, ben, "--json"))
    assert [one["revisions"] for one in merged["merged"]] == [1, 1]
    [conflict] = merged["conflicts"]
    assert (conflict["case"], conflict["axis"], conflict["slice"]) == ("a", axis, index)
    assert [one["by"] for one in conflict["accepted"]] == ["Ada", "Ben"]
    again = mlbseg("merge", study, ben).stdout
    assert again.startswith(f"{ben}: 0 revisions of slices\n")
    assert "Ada (20" in again
    [agreed] = document(mlbseg("agreement", study, "--json"))["agreement"]
    assert (agreed["people"], agreed["slices"]) == (["Ada", "Ben"], 1)
    assert agreed["dice"] == pytest.approx(2 * 9 / (12 + 9))
    assert "Ada and Ben" in mlbseg("agreement", study).stdout

    wrong = mlbseg("choose", study, "a", "--slice", index, "--by", "Cleo", code=1)
    assert "Cleo accepted no mask" in wrong.stderr
    assert "Ada and Ben did" in wrong.stderr
    chosen = mlbseg("choose", study, "a", "--slice", index, "--by", "Ben", "--axis", axis)
    assert chosen.stdout == "There are no conflicts.\n"
    with Study.open(study, writable=False) as opened:
        case = opened.named("a")
        assert opened.slices.mask(SliceKey(case.id, case.axis, 2)).sum() == 9
    none = mlbseg("choose", study, "a", "--slice", index, "--by", "Ben", code=1)
    assert "no conflict in slice" in none.stderr
    assert document(mlbseg("verify", study, "--json"))["sound"]


def test_what_is_left_out_of_a_merge_is_told(study: Path, tmp_path: Path, mlbseg: Mlbseg) -> None:
    mlbseg("split", study, tmp_path / "copies", "--between", "Ada")
    copy = tmp_path / "copies" / f"{study.stem}-Ada.mlbseg"
    mlbseg("remove", study, "a", "--yes")
    told = mlbseg("merge", study, copy, code=4)
    assert "1 things were left out" in told.stderr
    assert "a was removed from this study" in told.stderr

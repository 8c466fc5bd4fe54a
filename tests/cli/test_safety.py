"""verify, repair, backup and log, as a person and as a script see them."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from command_line import Mlbseg
from flipped import flip

from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study


@pytest.fixture
def study(tmp_path: Path, mlbseg: Mlbseg) -> Path:
    """A study of one case with two revisions of slice 4."""
    rng = np.random.default_rng(3)
    for name, high in (("images", 90), ("rough", 2)):
        (tmp_path / name).mkdir()
        voxels = rng.integers(0, high, (20, 24, 9)).astype("i2" if high > 2 else "u1")
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / name / "a.nii.gz")
    path = tmp_path / "cohort.mlbseg"
    mlbseg("init", path, tmp_path / "images", "--labels", tmp_path / "rough", "--classes", "organ")
    with Study.open(path) as opened:
        key = SliceKey("a", opened.case("a").axis, 4)
        shape = opened.case("a").slice_shape(key.axis)
        for value in (0, 1):
            mask = rng.integers(0, 2, shape).astype(np.uint8)
            mask[0, 0] = value
            opened.save_slice(key, mask, SliceState.CLEAN)
    shutil.rmtree(path / "backups")
    return path


def spoil(study: Path) -> None:
    """Flip a bit in the newest mask."""
    with closing(sqlite3.connect(study / "catalogue.sqlite")) as connection:
        (data,) = connection.execute("SELECT data FROM masks ORDER BY number DESC").fetchone()
    flip(study / "catalogue.sqlite", data, at=20)


def document(result: Any) -> Any:
    return json.loads(result.stdout)


def test_a_sound_study_is_told_to_be_sound(study: Path, mlbseg: Mlbseg) -> None:
    assert (
        "Sound: 2 revisions, 2 arrays, 0 checkpoints, 0 backups." in mlbseg("verify", study).stdout
    )
    found = document(mlbseg("verify", study, "--json"))
    assert (found["study"], found["sound"], found["findings"]) == (str(study), True, [])
    assert found["counts"]["revisions"] == 2
    assert "nothing to repair" in mlbseg("repair", study).stdout


def test_damage_is_told_by_verify_and_by_every_command_that_passes_it_over(
    study: Path, tmp_path: Path, mlbseg: Mlbseg
) -> None:
    spoil(study)
    told = mlbseg("verify", study, code=1)
    assert "catalogue: revision 2 is damaged" in told.stdout
    assert f"1 things are damaged. Run: mlbseg repair {study}" in told.stderr
    found = document(mlbseg("verify", study, "--json", code=1))
    assert [one["where"] for one in found["findings"]] == ["catalogue"]
    for arguments in (("info", study), ("export", study, tmp_path / "out")):
        result = mlbseg(*arguments, "--json")
        [line] = document(result)["damage"]
        assert "Revision 1 is shown instead, as a draft" in line
        assert f"note: {line}" in result.stderr
    [provenance] = (tmp_path / "out").glob("*.provenance.json")
    assert json.loads(provenance.read_text())["damaged"] == [line]


def test_repair_tells_what_it_did_and_what_it_could_not_do(study: Path, mlbseg: Mlbseg) -> None:
    spoil(study)
    said = mlbseg("repair", study).stdout
    assert "Revision 2 of slice 4 along axis" in said
    assert "Revision 1 stands in its place, as a draft" in said
    assert document(mlbseg("verify", study, "--json"))["sound"]
    shutil.rmtree(study / "arrays" / "a" / "image.zarr")
    (study.parent / "images" / "a.nii.gz").unlink()
    result = mlbseg("repair", study, "--json", code=4)
    assert document(result)["done"] == []
    assert "a.nii.gz, the source of 'a', is missing" in document(result)["left"][0]
    assert "1 things could not be repaired" in result.stderr


def test_a_backup_names_its_file_and_works_while_somebody_annotates(
    study: Path, mlbseg: Mlbseg
) -> None:
    with Study.open(study):
        path = Path(document(mlbseg("backup", study, "--json"))["backup"])
    assert path.parent == study / "backups"
    assert path.is_file()
    assert document(mlbseg("verify", study, "--json"))["counts"]["backups"] == 1
    assert str(study / "backups") in mlbseg("backup", study).stdout


def test_the_log_tells_who_did_what_and_when(study: Path, mlbseg: Mlbseg) -> None:
    lines = document(mlbseg("log", study, "--json"))["lines"]
    assert [line["number"] for line in lines] == list(range(1, len(lines) + 1))
    assert [line["action"] for line in lines][-2:] == ["save slice"] * 2
    assert lines[-1]["details"]["revision"] == 2
    newest = document(mlbseg("log", study, "-n", 1, "--case", "a", "--json"))["lines"]
    assert newest == lines[-1:]
    words = mlbseg("log", study).stdout.splitlines()
    assert len(words) == len(lines)
    assert words[-1].startswith(f"{lines[-1]['at'][:19]} {lines[-1]['author']}: save slice a (")
    assert "There is no case 'b'" in mlbseg("log", study, "--case", "b", code=1).stderr


def test_a_line_of_the_log_that_cannot_be_read_is_told(study: Path, mlbseg: Mlbseg) -> None:
    flip(study / "catalogue.sqlite", b'"revision": 2}', at=13)
    result = mlbseg("log", study, "--json")
    [line] = document(result)["unreadable"]
    assert "line" in line
    assert len(document(result)["lines"]) == len(document(mlbseg("log", study, "--json"))["lines"])
    assert line in mlbseg("log", study).stderr


@pytest.mark.parametrize("command", ["verify", "repair", "backup", "log"])
def test_what_is_no_study_is_refused(tmp_path: Path, mlbseg: Mlbseg, command: str) -> None:
    assert "is not a study" in mlbseg(command, tmp_path, code=1).stderr

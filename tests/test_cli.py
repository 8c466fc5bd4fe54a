"""The command line as a person and as a script see it."""

import dataclasses
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from command_line import Mlbseg
from nifti_files import load_nifti
from typer.testing import CliRunner

from napari_mlbseg import demo
from napari_mlbseg.cli import app, runs, studies
from napari_mlbseg.cli.progress import follow
from napari_mlbseg.engine import events as ev
from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import (
    EarlierModelChosen,
    Event,
    Failed,
    FellBack,
    Finished,
    Inbox,
    OnlyCleanSlicesLeft,
    RunStarted,
    Stage,
    Stop,
)
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.exporting.export import ExportKind, OutFormat
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.reach import Reach
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study

SHAPE = (20, 24, 9)
# The file's axes run to L, A and S; the display's to S, P and L: y runs against the file.
AFFINE = np.array([[-1.0, 0, 0, 10], [0, 1.0, 0, -5], [0, 0, 3.0, 7], [0, 0, 0, 1]])
CASES = ("a", "b")
PATIENCE_S = 600.0


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Folders images, rough and truth with one blob per case."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    for number, name in enumerate(CASES):
        truth = ((grid**2).sum(axis=0) < 0.5 + 0.1 * number).astype(np.uint8)
        image = (truth * 100 + rng.normal(0, 5, SHAPE)).astype(np.int16)
        for folder, array in (
            ("images", image),
            ("rough", np.roll(truth, 3, axis=0)),
            ("truth", truth),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(array, AFFINE), tmp_path / folder / f"{name}.nii.gz")
    return tmp_path


@pytest.fixture
def study(files: Path, mlbseg: Mlbseg) -> Path:
    path = files / "heart.mlbseg"
    mlbseg("init", path, files / "images", "--labels", files / "rough", "--classes", "left atrium")
    return path


@pytest.fixture
def accepted(study: Path, files: Path, mlbseg: Mlbseg) -> Path:
    for name in CASES:
        truth = files / "truth" / f"{name}.nii.gz"
        mlbseg("accept", study, name, "--slices", "3-5", "--labels", truth)
    return study


def document(result: Any) -> Any:
    return json.loads(result.stdout)


def script() -> str:
    return str(Path(sys.executable).with_name("mlbseg"))


def one_sentence(result: Any) -> str:
    assert result.stdout == ""
    assert result.stderr.startswith("mlbseg: ")
    assert "Traceback" not in result.stderr
    return str(result.stderr)


# --- studies ------------------------------------------------------------------


def test_init_and_info_say_the_same(study: Path, mlbseg: Mlbseg) -> None:
    told = document(mlbseg("info", study, "--json"))
    assert told["classes"][0] | {"value": 1, "name": "left atrium"} == told["classes"][0]
    assert [case["id"] for case in told["cases"]] == list(CASES)
    for case in told["cases"]:
        assert case["shape"] == list(SHAPE)
        assert case["spacing_mm"] == [1.0, 1.0, 3.0]
        assert case["axis"] == 2
        assert case["slices"] == {"draft": 0, "clean": 0, "skipped": 0}
        assert "initial_labels" in case["arrays"]
    assert told["runs"] == []
    assert "left atrium" in mlbseg("info", study).stdout


def test_init_without_labels(files: Path, mlbseg: Mlbseg) -> None:
    mlbseg("init", files / "s.mlbseg", files / "images", "--classes", "organ, lesion")
    told = document(mlbseg("info", files / "s.mlbseg", "--json"))
    assert [(c["value"], c["name"]) for c in told["classes"]] == [(1, "organ"), (2, "lesion")]
    assert all(case["labels"] is None for case in told["cases"])


def said(study: Path, mlbseg: Mlbseg) -> list[tuple[str, int | None, bool]]:
    told = document(mlbseg("info", study, "--json"))
    return [(c["name"], c["most_pieces"], c["no_holes"]) for c in told["classes"]]


def test_what_is_said_of_classes_is_said_at_the_start_or_later(files: Path, mlbseg: Mlbseg) -> None:
    study, options = files / "s.mlbseg", ("--pieces", "lesion=3, organ = 1", "--no-holes", "organ")
    mlbseg("init", study, files / "images", "--classes", "organ, lesion", *options)
    assert said(study, mlbseg) == [("organ", 1, True), ("lesion", 3, False)]
    shown = ["1 organ (one piece, no holes)", "2 lesion (at most 3 pieces)"]
    assert mlbseg("classes", study).stdout.splitlines() == shown
    assert f"classes: {', '.join(shown)}" in mlbseg("info", study).stdout
    told = mlbseg("classes", study, "--pieces", "lesion=any", "--holes", "organ", "--json")
    assert document(told)["classes"] == document(mlbseg("info", study, "--json"))["classes"]
    assert said(study, mlbseg) == [("organ", 1, False), ("lesion", None, False)]
    mlbseg("classes", study, "--no-holes", "lesion,organ")
    assert said(study, mlbseg) == [("organ", 1, True), ("lesion", None, True)]


def test_classes_that_come_with_the_labels_can_be_told_of(files: Path, mlbseg: Mlbseg) -> None:
    study, labels = files / "s.mlbseg", ("--labels", files / "rough")
    name = "class 1"
    mlbseg("init", study, files / "images", *labels, "--pieces", f"{name}=1")
    assert said(study, mlbseg) == [(name, 1, False)]


def test_showing_classes_writes_nothing(study: Path, mlbseg: Mlbseg) -> None:
    with Study.open(study):  # somebody annotates
        assert mlbseg("classes", study).stdout == "1 left atrium\n"
        mlbseg("classes", study, "--no-holes", "left atrium", code=1)


def test_init_takes_in_what_is_sound_and_lists_the_rest(files: Path, mlbseg: Mlbseg) -> None:
    (files / "rough" / "b.nii.gz").write_bytes(b"")
    path = files / "s.mlbseg"
    options = ("--labels", files / "rough", "--json")
    told = mlbseg("init", path, files / "images", *options, code=4)
    assert "b.nii.gz is empty" in told.stderr
    assert "Traceback" not in told.stderr
    (failure,) = document(told)["failures"]
    assert failure["path"] == str(files / "images" / "b.nii.gz")
    names = [case["id"] for case in document(mlbseg("info", path, "--json"))["cases"]]
    assert names == [name for name in CASES if name != "b"]


def test_failed_init_leaves_nothing(files: Path, mlbseg: Mlbseg) -> None:
    for image in (files / "images").iterdir():
        image.write_bytes(b"")
    path = files / "s.mlbseg"
    failed = mlbseg("init", path, files / "images", "--labels", files / "rough", code=1)
    assert "is empty" in failed.stderr
    assert not path.exists()


def test_one_frame_of_files_with_several(files: Path, mlbseg: Mlbseg) -> None:
    frames = np.arange(2 * np.prod(SHAPE), dtype=np.int16).reshape(*SHAPE, 2)
    nib.save(nib.Nifti1Image(frames, AFFINE), files / "four.nii")
    assert "2 frames" in mlbseg("init", files / "s.mlbseg", files / "four.nii", code=1).stderr
    mlbseg("init", files / "s.mlbseg", files / "four.nii", "--frame", "1")
    (case,) = document(mlbseg("info", files / "s.mlbseg", "--json"))["cases"]
    assert case["id"] == "four"
    assert case["shape"] == list(SHAPE)


def test_corrected_labels_may_be_stored_in_another_order(
    study: Path, files: Path, mlbseg: Mlbseg
) -> None:
    truth = load_nifti(files / "truth" / "a.nii.gz")
    turned = truth.as_reoriented([[1, -1], [0, 1], [2, -1]])
    nib.save(turned, files / "turned.nii.gz")
    options = ("--slices", "2", "--labels", files / "turned.nii.gz", "--axis", "2")
    mlbseg("accept", study, "a", *options)
    mlbseg("export", study, files / "out")
    ours = np.asarray(load_nifti(files / "out" / "a.nii.gz").dataobj)
    np.testing.assert_array_equal(ours[:, :, 2], np.asarray(truth.dataobj)[:, :, 2])


def test_init_leaves_an_existing_study_alone(study: Path, files: Path, mlbseg: Mlbseg) -> None:
    one_sentence(mlbseg("init", study, files / "images", code=1))
    assert document(mlbseg("info", study, "--json"))["cases"]


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
def test_accepted_slices_are_those_of_the_file(
    axis: int | None, study: Path, files: Path, mlbseg: Mlbseg
) -> None:
    path = files / "truth" / "a.nii.gz"
    asked = [] if axis is None else ["--axis", axis]
    told = document(
        mlbseg("accept", study, "a", "--slices", "3,6-8:2", "--labels", path, *asked, "--json")
    )
    file_axis = 2 if axis is None else axis
    assert (told["axis"], told["slices"], told["clean_slices"]) == (file_axis, [3, 6, 8], 3)
    truth = np.asarray(load_nifti(path).dataobj)
    mlbseg("export", study, files / "out")
    labels = np.asarray(load_nifti(files / "out" / "a.nii.gz").dataobj)
    rough = np.asarray(load_nifti(files / "rough" / "a.nii.gz").dataobj)
    expected = rough.swapaxes(0, file_axis).copy()
    expected[told["slices"]] = truth.swapaxes(0, file_axis)[told["slices"]]
    np.testing.assert_array_equal(labels.swapaxes(0, file_axis), expected)
    clean = document(mlbseg("info", study, "--json"))["cases"][0]["clean"]
    assert clean == [{"axis": file_axis, "slice": index} for index in told["slices"]]


def test_export_keeps_names_and_geometry(accepted: Path, files: Path, mlbseg: Mlbseg) -> None:
    told = document(mlbseg("export", accepted, files / "out", "--what", "initial", "--json"))
    assert [Path(path).name for path in told["files"]] == [f"{name}.nii.gz" for name in CASES]
    for name in CASES:
        ours = load_nifti(files / "out" / f"{name}.nii.gz")
        theirs = load_nifti(files / "rough" / f"{name}.nii.gz")
        np.testing.assert_array_equal(ours.affine, theirs.affine)
        np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))


def test_export_in_another_format_with_provenance(
    accepted: Path, files: Path, mlbseg: Mlbseg
) -> None:
    out = files / "out"
    told = document(mlbseg("export", accepted, out, "--format", "nrrd", "--json"))
    assert told["format"] == "nrrd"
    assert [Path(path).name for path in told["files"]] == [f"{name}.nrrd" for name in CASES]
    for path, provenance in zip(told["files"], told["provenance"], strict=True):
        known = json.loads(Path(provenance).read_text())
        assert known["file"] == Path(path).name
        # In the file's own axes, as the command line counts them.
        assert [(s["axis"], s["slice"]) for s in known["slices"]] == [(2, 3), (2, 4), (2, 5)]
        (image,) = (p for p in (files / "images").iterdir() if p.name == known["source"]["file"])
        assert known["source"]["sha256"] == hashlib.sha256(image.read_bytes()).hexdigest()


def test_export_of_volumes(accepted: Path, files: Path, mlbseg: Mlbseg) -> None:
    told = document(mlbseg("export", accepted, files / "out", "--what", "volumes", "--json"))
    (table,) = told["files"]
    rows = Path(table).read_text().splitlines()
    assert rows[0] == "case,value,name,voxels,volume_ml"
    assert [row.split(",")[:3] for row in rows[1:]] == [[n, "1", "left atrium"] for n in CASES]


def test_export_of_one_case_and_of_some_of_its_slices(
    accepted: Path, files: Path, mlbseg: Mlbseg
) -> None:
    out = files / "out"
    told = document(mlbseg("export", accepted, out, "--case", "b", "--slices", "2-4:2", "--json"))
    [path] = map(Path, told["files"])
    assert path.name == "b.nii.gz"
    assert told["notes"] == ["Voxels of other slices are 255, which is no class."]
    only = json.loads(Path(told["provenance"][0]).read_text())["only_slices"]
    assert only == {"axis": 2, "slices": [2, 4]}
    found = np.asarray(load_nifti(path).dataobj)
    whole = document(mlbseg("export", accepted, files / "all", "--case", "b", "--json"))
    expected = np.asarray(load_nifti(Path(whole["files"][0])).dataobj)
    np.testing.assert_array_equal(found[..., [2, 4]], expected[..., [2, 4]])
    assert (np.delete(found, [2, 4], axis=2) == 255).all()
    refused = mlbseg("export", accepted, out, "--slices", "2", code=1)
    assert "--case" in refused.stderr
    assert "'z'" in mlbseg("export", accepted, out, "--case", "z", code=1).stderr
    mlbseg("export", accepted, out, "--case", "b", "--slices", "999", code=1)


def test_export_of_a_data_set(accepted: Path, files: Path, mlbseg: Mlbseg) -> None:
    arguments = ("--format", "nnunet", "--what", "accepted", "--json")
    told = document(mlbseg("export", accepted, files / "raw", *arguments))
    root = Path(told["files"][0]).parents[1]
    about = json.loads((root / "dataset.json").read_text())
    assert about["numTraining"] == len(told["files"])
    assert about["labels"] == {"background": 0, "left atrium": 1, "ignore": 2}
    assert Path(told["provenance"][0]).is_file()


def test_export_tells_what_it_tidied(accepted: Path, files: Path, mlbseg: Mlbseg) -> None:
    with Study.open(accepted) as study:
        labels = study.arrays.open("b", ArrayName.INITIAL_LABELS)
        labels[0, 0, 0:2] = labels[8, 0, 0] = 1
    mlbseg("classes", accepted, "--pieces", "left atrium=1", "--no-holes", "left atrium")
    sentence = "b, left atrium: 2 of 3 pieces removed (3 voxels, 9 mm³)."
    told = mlbseg("export", accepted, files / "out")
    assert told.stdout.splitlines()[2:] == [sentence]
    told = document(mlbseg("export", accepted, files / "again", "--json"))
    assert told["tidied_summary"] == [sentence]
    ((one,),) = ([one] for one in told["tidied"]["b"])
    known = json.loads(Path(told["provenance"][1]).read_text())
    assert known["tidied"] == [one]
    assert (one["pieces"]["removed_voxels"], one["holes"]["filled"]) == (3, 0)
    assert told["tidied"]["a"][0]["pieces"]["removed"] == 0
    maps = document(mlbseg("export", accepted, files / "c", "--what", "initial", "--json"))
    assert (maps["tidied"], maps["tidied_summary"]) == ({}, [])


def test_formats_that_make_no_sense_are_refused(
    accepted: Path, files: Path, mlbseg: Mlbseg
) -> None:
    result = mlbseg("export", accepted, files / "out", "--format", "rtstruct", code=1)
    assert "series that a case came from" in result.stderr
    mlbseg("export", accepted, files / "out", "--format", "docx", code=2)
    assert not (files / "out").exists()


def test_the_options_of_export_are_those_of_the_project(mlbseg: Mlbseg) -> None:
    told = mlbseg("export", "--help").stdout
    offered = re.findall(r"--(?:what|format) +[<\[]([^>\]]+)[>\]]", told)
    assert [o.split("|") for o in offered] == [list(ExportKind), list(OutFormat)]


def test_info_while_somebody_writes(study: Path, mlbseg: Mlbseg) -> None:
    with Study.open(study):
        assert document(mlbseg("info", study, "--json"))["cases"]
        mlbseg("run", study, code=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3", [3]), ("44,10", [10, 44]), ("2-5", [2, 3, 4, 5]), ("0-9:4, 1", [0, 1, 4, 8])],
)
def test_parse_slices(text: str, expected: list[int]) -> None:
    assert studies.parse_slices(text, 50) == expected


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "1--2", "1:2:3", "1-4:0", "50", "5-3", "1,"])
def test_parse_slices_refuses(text: str) -> None:
    with pytest.raises(UserError):
        studies.parse_slices(text, 50)


# --- what a person can mend ---------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("info", "nowhere.mlbseg"),
        ("run", "nowhere.mlbseg"),
        ("export", "nowhere.mlbseg", "out"),
        ("init", "wrong_suffix", "images"),
        ("init", "new.mlbseg", "nowhere"),
        ("init", "new.mlbseg", "images", "--classes", "a,,b"),
        ("init", "new.mlbseg", "images", "--classes", "a", "--pieces", "b=1"),
        ("init", "new.mlbseg", "images", "--no-holes", "b"),
        ("classes", "heart.mlbseg", "--pieces", "left atrium"),
        ("classes", "heart.mlbseg", "--pieces", "left atrium=0"),
        ("classes", "heart.mlbseg", "--pieces", "left atrium=one"),
        ("classes", "heart.mlbseg", "--no-holes", "right atrium"),
        ("classes", "heart.mlbseg", "--no-holes", "left atrium", "--holes", "left atrium"),
        ("accept", "heart.mlbseg", "c", "--slices", "1", "--labels", "truth/a.nii.gz"),
        ("accept", "heart.mlbseg", "a", "--slices", "99", "--labels", "truth/a.nii.gz"),
        ("accept", "heart.mlbseg", "a", "--slices", "1", "--labels", "nowhere.nii.gz"),
        ("accept", "heart.mlbseg", "a", "--slices", "1", "--labels", "moved.nii.gz"),
        ("accept", "heart.mlbseg", "a", "--slices", "1", "--labels", "class_9.nii.gz"),
        ("run", "heart.mlbseg", "--steps", "-1"),
        ("run", "heart.mlbseg", "--minutes", "0"),
    ],
)
def test_user_errors(
    arguments: tuple[str, ...],
    study: Path,
    files: Path,
    mlbseg: Mlbseg,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(files)
    moved = AFFINE.copy()
    moved[2, 3] += 3.0
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), moved), "moved.nii.gz")
    nib.save(nib.Nifti1Image(np.full(SHAPE, 9, np.uint8), AFFINE), "class_9.nii.gz")
    one_sentence(mlbseg(*arguments, code=1))
    assert not Path("new.mlbseg").exists()
    assert document(mlbseg("info", study, "--json"))["cases"][0]["slices"]["clean"] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-command",),
        ("info",),
        ("info", "x", "--no-such-option"),
        ("accept", "x", "a", "--slices", "1", "--labels", "y", "--axis", "3"),
        ("run", "x", "--steps", "many"),
        ("run", "x", "--device", "abacus"),
        ("run", "x", "--dimensions", "4d"),
        ("export", "x", "y", "--what", "everything"),
    ],
)
def test_usage_errors(arguments: tuple[str, ...], mlbseg: Mlbseg) -> None:
    result = mlbseg(*arguments, code=2)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_unexpected_errors(mlbseg: Mlbseg, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> None:
        raise ZeroDivisionError("not a\nuser's error")

    monkeypatch.setattr(studies, "info", broken)
    assert "ZeroDivisionError" in one_sentence(mlbseg("info", "x", code=3))
    assert "Traceback" in mlbseg("--debug", "info", "x", code=3).stderr


# --- runs ---------------------------------------------------------------------

STARTED = RunStarted(1, "cpu", "unet", 10, 6, 0, 0)


class FakeBootstrapper:
    """Plays `script`; a callable in it is called with the inbox."""

    script: tuple[Event | Callable[[Inbox], Event], ...] = ()

    def __init__(self, study: Study, config: Config) -> None:
        assert study.writable

    def events(self, inbox: Inbox) -> Iterator[Event]:
        for item in self.script:
            yield item(inbox) if callable(item) else item


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> type[FakeBootstrapper]:
    monkeypatch.setattr(runs, "Bootstrapper", FakeBootstrapper)
    return FakeBootstrapper


def test_failures_tell_the_user_or_the_developer(
    study: Path, mlbseg: Mlbseg, engine: type[FakeBootstrapper], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "script", (STARTED, Failed("Accept a slice first.", "")))
    result = mlbseg("run", study, "--json", code=1)
    assert result.stdout == ""
    assert "mlbseg: Accept a slice first.\n" in result.stderr
    monkeypatch.setattr(engine, "script", (STARTED, Failed("The engine broke.", "in line 7")))
    result = mlbseg("run", study, code=3)
    assert "The engine broke." in result.stderr
    assert "line 7" not in result.stderr
    assert "line 7" in mlbseg("--debug", "run", study, code=3).stderr


def test_dimensions_reach_the_engine(
    study: Path, mlbseg: Mlbseg, engine: type[FakeBootstrapper], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def told(self: FakeBootstrapper, study: Study, config: Config) -> None:
        asked.append(config.dimensions)

    monkeypatch.setattr(engine, "__init__", told)
    monkeypatch.setattr(engine, "script", (STARTED, Finished(1, 40, False, 2.0)))
    mlbseg("run", study)
    mlbseg("run", study, "--dimensions", "2.5d")
    assert asked == ["auto", "2.5d"]


def test_interrupt_asks_the_engine_to_stop(
    study: Path, mlbseg: Mlbseg, engine: type[FakeBootstrapper], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(inbox: Inbox) -> Event:
        os.kill(os.getpid(), signal.SIGINT)
        stopped = inbox.drain(timeout_s=PATIENCE_S) == [Stop()]
        return Finished(1, 40, stopped, 2.0)

    monkeypatch.setattr(engine, "script", (STARTED, interrupted))
    before = signal.getsignal(signal.SIGINT)
    told = document(mlbseg("run", study, "--json", code=130))
    assert told["stopped"] is True
    assert told["step"] == 40
    assert signal.getsignal(signal.SIGINT) is before


def test_second_interrupt_leaves_at_once(
    study: Path, mlbseg: Mlbseg, engine: type[FakeBootstrapper], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted_twice(inbox: Inbox) -> Event:
        os.kill(os.getpid(), signal.SIGINT)
        assert inbox.drain(timeout_s=PATIENCE_S) == [Stop()]
        os.kill(os.getpid(), signal.SIGINT)
        inbox.drain(timeout_s=PATIENCE_S)
        raise AssertionError("still there")

    monkeypatch.setattr(engine, "script", (STARTED, interrupted_twice))
    mlbseg("run", study, code=130)
    # Nothing stays locked.
    Study.open(study).close()


def without_torch(*arguments: object) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, where torch cannot be imported."""
    code = (
        "import sys; sys.modules['torch'] = None; from napari_mlbseg.cli import main;"
        "sys.argv[0] = 'mlbseg'; main()"
    )
    words = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S)


@pytest.mark.parametrize(
    ("command", "options", "reason"),
    [
        (("run",), (), "No slice has been accepted yet"),
        (("export",), ("out", "--what", "probabilities"), "no trained network yet"),
        (("model", "export"), ("--format", "onnx", "--out", "out"), "no trained network yet"),
    ],
)
def test_what_is_missing_is_said_before_torch_is_loaded(
    study: Path, command: tuple[str, ...], options: tuple[str, ...], reason: str
) -> None:
    refused = without_torch(*command, study, *options)
    assert refused.returncode == 1, refused.stderr
    assert reason in refused.stderr.replace("\n", " ")


def test_run_then_export(accepted: Path, files: Path, mlbseg: Mlbseg) -> None:
    options = ("--steps", 3, "--base-steps", 3, "--device", "cpu", "--network", "unet")
    told = document(mlbseg("run", accepted, *options, "--json"))
    assert told["stopped"] is False
    assert told["device"] == "cpu"
    assert told["training_slices"] + told["validation_slices"] == 6
    case = document(mlbseg("info", accepted, "--json"))
    assert case["runs"][0]["outcome"] == "finished"
    for what, count in (("prediction", 2), ("labels", 2), ("weights", 4), ("probabilities", 2)):
        out = files / what
        written = document(mlbseg("export", accepted, out, "--what", what, "--json"))["files"]
        assert len(written) == count
        for path in written:
            np.testing.assert_allclose(load_nifti(path).affine, AFFINE)


@contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, which does not outlive the test.

    With one thread: two that share a core with something else spin while they wait for each other,
    and a step takes a minute.
    """
    process = subprocess.Popen(
        [script(), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def lines_until(process: subprocess.Popen[str], last: str) -> list[str]:
    """What the process says of itself up to a line."""
    assert process.stderr is not None
    said: list[str] = []
    for line in process.stderr:
        said.append(line.strip())
        if said[-1] == last:
            return said
    raise AssertionError(f"{last!r} was not said: {said}")


def steps_are_logged(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until the bootstrapping has taken a step."""
    with Study.open(path, writable=False) as study:
        while not study.runs.metrics(study.runs.all()[-1].id, "pseudo labels"):
            assert process.poll() is None
            time.sleep(0.05)


def test_interrupted_process_resumes(accepted: Path, files: Path, mlbseg: Mlbseg) -> None:
    # Only between clean slices is anything learnt from open ones.
    mlbseg("accept", accepted, "a", "--slices", "1,7", "--labels", files / "truth" / "a.nii.gz")
    options = ("--base-steps", "5", "--device", "cpu", "--network", "unet", "--json")
    with running("run", accepted, "--steps", 100000, *options) as process:
        said = lines_until(process, Stage.BOOTSTRAPPING.value)
        steps_are_logged(accepted, process)
        process.send_signal(signal.SIGINT)
        said += lines_until(process, "Stopping; press Ctrl-C again to leave at once.")
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, (said, err)
    assert "Traceback" not in err
    stopped = json.loads(out)
    assert stopped["stopped"] is True
    assert stopped["step"] > 5

    again = document(mlbseg("run", accepted, "--steps", stopped["step"], *options))
    assert again["resumed_step"] == stopped["step"]
    assert again["stopped"] is False
    assert again["step"] >= stopped["step"]
    fresh = document(mlbseg("run", accepted, "--steps", 1, *options, "--fresh"))
    assert fresh["resumed_step"] == 0
    outcomes = [run["outcome"] for run in document(mlbseg("info", accepted, "--json"))["runs"]]
    assert outcomes == ["stopped", "finished", "finished"]


def test_a_run_can_be_told_to_learn_more_carefully_or_afresh(
    accepted: Path, mlbseg: Mlbseg, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Config] = []

    def events(self: Bootstrapper, inbox: Inbox) -> Iterator[Event]:
        asked.append(self._config)
        yield FellBack("The training became unstable. It goes on.", "", 3, 1e-4)
        yield OnlyCleanSlicesLeft("Every slice is clean or skipped.")
        yield EarlierModelChosen("The training begins with the model of a.", used=True)
        yield Finished(1, 3, False, 0.1)

    monkeypatch.setattr(Bootstrapper, "events", events)
    told = mlbseg("run", accepted, "--learning-rate", "0.0002", "--fresh", "--json")
    said = told.stderr
    assert document(told)["earlier_model_used"] is True
    mlbseg("run", accepted, "--json")
    assert [(c.learning_rate, c.resume) for c in asked] == [(2e-4, False), (1e-3, True)]
    assert "The training became unstable." in said
    assert "Every slice is clean" in said
    assert "begins with the model of a." in said
    mlbseg("run", accepted, "--from", "other.mlbseg", "--json")
    assert [c.begin_with for c in asked] == [None, None, str(Path("other.mlbseg").absolute())]
    wrong = mlbseg("run", accepted, "--learning-rate", "0", code=1)
    assert "learning_rate is 0.0; it must be more than 0" in wrong.stderr


# --- the rest -----------------------------------------------------------------


@pytest.mark.slow
def test_demo_improves_the_labels_and_is_told_again(
    tmp_path: Path, mlbseg: Mlbseg, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However busy the machine is, the demo takes all of its steps.
    whole = dataclasses.replace(demo.CONFIG, minutes=None)
    monkeypatch.setattr(demo, "CONFIG", whole)
    told = document(mlbseg("demo", tmp_path / "demo", "--json"))
    assert told["dice_after"]["mean"] > told["dice_before"]["mean"]
    assert all(Path(path).exists() for path in told["files"].values())
    assert document(mlbseg("demo", tmp_path / "demo", "--json")) == told
    assert "before" in mlbseg("demo", tmp_path / "demo").stdout


def test_demo_leaves_other_folders_alone(tmp_path: Path, mlbseg: Mlbseg) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    one_sentence(mlbseg("demo", tmp_path, code=1))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_script_helps() -> None:
    done = subprocess.run([script(), "--help"], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0
    for command in ("init", "info", "accept", "run", "export", "gui", "demo"):
        assert command in done.stdout


def test_version() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert done.stdout.startswith("napari-mlbseg ")


def test_keys_are_of_the_display_frame(accepted: Path) -> None:
    with Study.open(accepted, writable=False) as study:
        assert {key.axis for key in study.slices.clean()} == {0}
        assert study.slices.record(SliceKey("a", 0, 3)) is not None


# --- effort -------------------------------------------------------------------


def test_suggest_names_open_slices_of_the_file(accepted: Path, mlbseg: Mlbseg) -> None:
    for name in CASES:  # so that no end is asked for
        mlbseg("extent", accepted, name, "--first", 0, "--last", SHAPE[2] - 1)
    told = document(mlbseg("suggest", accepted, "-n", "7", "--json"))["suggestions"]
    assert len(told) == 7
    assert {one["axis"] for one in told} == {2}
    assert {one["asks_for"] for one in told} == {None}
    named = {(one["case"], one["slice"]) for one in told}
    assert len(named) == 7
    assert named <= {(c, i) for c in CASES for i in range(SHAPE[2]) if i not in (3, 4, 5)}
    assert {one["gain"] for one in told} == {None}
    assert "spread evenly" in mlbseg("suggest", accepted).stdout


def test_suggest_asks_for_ends_first_in_the_order_of_the_file(
    study: Path, files: Path, mlbseg: Mlbseg
) -> None:
    with Study.open(study) as opened:
        opened.set_axis("a", opened.case("a").geometry.display_axis(1))  # against the display
    told = document(mlbseg("suggest", study, "-n", "4", "--json"))["suggestions"]
    rough = np.asarray(load_nifti(files / "rough" / "a.nii.gz").dataobj)
    shown = np.flatnonzero(rough.any(axis=(0, 2)))
    ends = {
        one["asks_for"]: (one["axis"], one["slice"], one["words"])
        for one in told
        if one["case"] == "a"
    }
    assert ends == {
        "first": (1, int(shown[0]), "mark where 'left atrium' begins"),
        "last": (1, int(shown[-1]), "mark where 'left atrium' ends"),
    }
    said = " ".join(mlbseg("suggest", study).stdout.split())
    assert "mark where" in said
    assert "mlbseg extent STUDY CASE" in said
    assert "never looked at come next" in said


def test_simulate_measures_once_and_only_reads_the_study(
    accepted: Path, files: Path, mlbseg: Mlbseg
) -> None:
    file, before = files / "effort.json", document(mlbseg("info", accepted, "--json"))
    options: tuple[object, ...] = (
        "--truth",
        files / "truth",
        "--budget",
        "2",
        "--policy",
        "even",
        "--seeds",
        "1",
    )
    options += ("--holdout", "b", "--base-steps", "2", "--steps", "1", "--json", file)
    first = mlbseg("simulate", accepted, *options)
    assert "held_out" in first.stdout
    records = json.loads(file.read_text())
    assert [(r["where"], r["class"]) for r in records] == [
        ("exported", "left atrium"),
        ("held_out", "left atrium"),
    ]
    assert "bootstrapping" in first.stderr
    again = mlbseg("simulate", accepted, *options)
    assert again.stderr == ""
    assert json.loads(file.read_text()) == records
    assert document(mlbseg("info", accepted, "--json")) == before


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--marks", "soon", "is not a list of marks"),
        ("--marks", "8,4", "increasing numbers of minutes"),
        ("--budget", "many", "is not a list of budgets"),
        ("--budget", "8,4", "increasing numbers of slices"),
        ("--policy", "best", "no policy 'best'"),
        ("--method", "magic", "no method 'magic'"),
        ("--holdout", "c", "no case 'c'"),
        ("--holdout", "a,b", "No case is left"),
        ("--truth", "nowhere", "nowhere cannot be read"),
    ],
)
def test_simulate_says_what_is_wrong(
    study: Path, files: Path, mlbseg: Mlbseg, option: str, value: str, reason: str
) -> None:
    given = {"--truth": str(files / "truth"), "--budget": "2"} | {option: value}
    arguments = [part for pair in given.items() for part in pair]
    assert reason in one_sentence(mlbseg("simulate", study, *arguments, code=1))


def test_simulate_measures_one_run_at_marks(accepted: Path, files: Path, mlbseg: Mlbseg) -> None:
    file = files / "effort.json"
    options: tuple[object, ...] = ("--truth", files / "truth", "--budget", "2", "--policy", "even")
    options += ("--seeds", "1", "--base-steps", "2", "--steps", "1", "--json", file)
    options += ("--marks", "0.0001,600", "--clock", "processor", "--threads", "1")
    first = mlbseg("simulate", accepted, *options)
    assert "first shown after" in first.stdout
    records = json.loads(file.read_text())
    assert [r["mark_min"] for r in records] == [0.0001, 600, None]
    assert records[-1]["dice"] == records[1]["dice"]
    assert mlbseg("simulate", accepted, *options).stderr == ""
    assert json.loads(file.read_text()) == records


# --- what a run says of itself --------------------------------------------------------------------


def test_what_a_score_says_nothing_about_and_what_was_not_reached_are_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scored = ev.ValidationScored(ev.Stage.BOOTSTRAPPING, 20, 0.81, {1: 0.81}, 0.02, 12)
    left = tuple(SliceKey(case, 0, i) for case in ("a", "b") for i in range(3))
    seen = Reach("a", 0, 88, ends=(0, 55), in_file=(87, 32))  # the file runs against the display
    summary = follow(
        [
            ev.RunStarted(1, "cpu", "2d unet", 10, 5, 2, 0),
            ev.CoverageChanged(41, 88, (seen,)),
            ev.CoverageChanged(41, 88, (seen,)),
            ev.ImportedLabelsKept(True),
            scored,
            ev.StageStarted(ev.Stage.PUBLISHING, 3),
            ev.OutOfTime(left),
            ev.Finished(1, 20, False, 1.0),
        ]
    )
    assert summary["never_looked_at"] == 41
    assert summary["not_corrected"] == "nothing above slice 32 was corrected"
    assert summary["imported_labels_kept"] is True
    assert summary["not_refreshed"] == {"a": 3, "b": 3}
    said = " ".join(capsys.readouterr().err.split())
    unseen = "41 of 88 slices have no clean slice near them: nothing above slice 32 was corrected"
    assert f"0.81 (0.77 to 0.85) on 12 validation slices, but {unseen}" in said
    assert said.count(unseen) == 2  # at the start, and beside the score
    assert "worse than the imported labels" in said
    assert "6 slices of 2 cases" in said


# --- extents ------------------------------------------------------------------


@pytest.fixture
def two_classes(study: Path) -> Path:
    with Study.open(study) as opened:
        opened.set_classes([*opened.classes, LabelClass(2, "scar", (1, 2, 3))])
    return study


def test_an_extent_is_marked_end_by_end_and_cleared(study: Path, mlbseg: Mlbseg) -> None:
    first = document(mlbseg("extent", study, "a", "--first", 2, "--json"))
    assert first["extents"][0]["first"] == 2
    assert first["ends_unknown"] == {"first": [], "last": ["left atrium"]}
    both = document(mlbseg("extent", study, "a", "--last", 6, "--json"))
    assert both["extents"] == [
        {
            "class": {"value": 1, "name": "left atrium"},
            "axis": 2,
            "first": 2,
            "last": 6,
            "with_clean_slices": {"first": 2, "last": 6},
        }
    ]
    assert both["certified_empty"] == {"axis": 2, "slices": [0, 1, 7, 8]}
    assert document(mlbseg("extent", study, "a", "--json")) == both
    assert "from slice 2 to slice 6 along axis 2" in mlbseg("extent", study, "a").stdout
    cleared = document(mlbseg("extent", study, "a", "--clear", "--json"))
    assert cleared["extents"] == []
    assert cleared["certified_empty"]["slices"] == []


def test_slices_and_axes_of_extents_are_those_of_the_file(
    study: Path, files: Path, mlbseg: Mlbseg, tmp_path: Path
) -> None:
    """Axis 1 of the file runs against the display."""
    mlbseg("extent", study, "a", "--first", 10, "--axis", 1)
    told = document(mlbseg("extent", study, "a", "--last", 14, "--axis", 1, "--json"))
    assert [(one["axis"], one["first"], one["last"]) for one in told["extents"]] == [(1, 10, 14)]
    mlbseg("export", study, tmp_path / "out")
    found = np.asarray(load_nifti(tmp_path / "out" / "a.nii.gz").dataobj)
    rough = np.asarray(load_nifti(files / "rough" / "a.nii.gz").dataobj)
    assert rough[:, :10].any()
    assert not found[:, :10].any()
    assert not found[:, 15:].any()
    np.testing.assert_array_equal(found[:, 10:15], rough[:, 10:15])


def test_an_accepted_slice_beyond_an_end_is_told(accepted: Path, mlbseg: Mlbseg) -> None:
    mlbseg("extent", accepted, "a", "--last", 4)
    told = mlbseg("extent", accepted, "a").stdout
    assert "ends at slice 4 (accepted slices show it up to 5)" in told
    assert "nothing says where left atrium begins" in told


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--first", 7, "--last", 3), "begin at slice 7 and end before it, at 3"),
        (("--first", 9), "slices 0 to 8, but got 9"),
        (("--first", -1), "slices 0 to 8, but got -1"),
        (("--first", 1, "--class", "heart"), "no class 'heart'.*Its classes: left atrium"),
        (("--clear", "--first", 1), "leave out --first"),
    ],
)
def test_extents_that_cannot_be_marked(
    study: Path, mlbseg: Mlbseg, options: tuple[object, ...], words: str
) -> None:
    said = one_sentence(mlbseg("extent", study, "a", *options, code=1))
    assert re.search(words, said), said
    assert document(mlbseg("extent", study, "a", "--json"))["extents"] == []


def test_with_several_classes_the_class_is_asked_for(two_classes: Path, mlbseg: Mlbseg) -> None:
    said = one_sentence(mlbseg("extent", two_classes, "a", "--first", 1, code=1))
    assert "--class" in said
    assert "left atrium, scar" in said
    for name, value in (("scar", 2), ("1", 1)):
        told = document(
            mlbseg("extent", two_classes, "a", "--first", value, "--class", name, "--json")
        )
        assert (value, value) in [(e["class"]["value"], e["first"]) for e in told["extents"]]


def test_marks_alone_correct_nothing(study: Path, mlbseg: Mlbseg) -> None:
    mlbseg("extent", study, "a", "--first", 3, "--last", 5)
    assert document(mlbseg("info", study, "--json"))["not_corrected"] == "nothing was corrected yet"


def test_info_says_which_ends_are_known_and_what_nobody_corrected(
    accepted: Path, mlbseg: Mlbseg
) -> None:
    told = document(mlbseg("info", accepted, "--json"))
    assert told["not_corrected"] == "nothing below slice 3 or above slice 5 was corrected"
    mlbseg("extent", accepted, "a", "--first", 1, "--last", 6)
    told = document(mlbseg("info", accepted, "--json"))
    a, b = told["cases"]
    assert a["ends_unknown"] == {"first": [], "last": []}
    assert b["ends_unknown"] == {"first": ["left atrium"], "last": ["left atrium"]}
    assert told["not_corrected"] == ""  # b is like a, in whose empty slices nothing is left to see
    said = mlbseg("info", accepted).stdout
    assert "marked ends: 2; nothing says where a class begins or ends in b" in said

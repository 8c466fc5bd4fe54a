"""Real windows, closed with a study open and with a training under way."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from napari_mlbseg.project.records.slices import SliceState
from napari_mlbseg.project.study import Study

PROGRAM = Path(__file__).with_name("ends.py")
# What napari prints of its notifications: that the study stays open, and that PyQt5 is old.
NOTICES = ("INFO: The study stays open", "WARNING: napari support for the PyQt5 backend")
QUIET = {"QT_LOGGING_RULES": "*=false", "PYTHONWARNINGS": "ignore", "PYTHONFAULTHANDLER": "1"}


@dataclass(frozen=True)
class End:
    """What a window's end printed; the process is over."""

    said: list[str]
    complaints: str
    code: int


def end(study: Path, how: str, kind: str = "nothing", *answers: str) -> End:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(study), how, kind, *answers],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **QUIET},
    )
    said = [line for line in done.stdout.splitlines() if not line.startswith(NOTICES)]
    return End(said, done.stderr, done.returncode)


def check_released(study_path: Path) -> None:
    """The paint is saved, the lock is free, and nobody is named as its holder."""
    assert not (study_path / "writer.json").exists()
    assert not (study_path / "catalogue.sqlite-wal").exists()  # closed, not torn off
    with Study.open(study_path) as study:
        assert [(r.key.index, r.state) for r in study.slices.records()] == [(7, SliceState.DRAFT)]


@pytest.mark.every_binding
@pytest.mark.parametrize(
    "how",
    [
        "window",
        "quit",
        "window after x",
        pytest.param("viewer", marks=pytest.mark.slow),
        pytest.param("application", marks=pytest.mark.slow),
    ],
)
def test_a_window_closes_with_its_study(study_path: Path, how: str) -> None:
    ended = end(study_path, how)
    assert ended == End(["closing", "over"], "", 0)
    check_released(study_path)


@pytest.mark.parametrize(
    "how",
    [
        "window",
        pytest.param("quit", marks=pytest.mark.slow),
        pytest.param("window after x", marks=pytest.mark.slow),
    ],
)
def test_a_training_is_stopped_after_one_question(study_path: Path, how: str) -> None:
    ended = end(study_path, how, "time", "Stop it and close")
    said = ["closing", "chosen: Stop it and close", "asked to stop", "stopped", "over"]
    assert ended == End(said, "", 0)
    check_released(study_path)


def test_a_deaf_training_does_not_keep_the_window(study_path: Path) -> None:
    ended = end(study_path, "window", "deaf", "Stop it and close", "Close at once")
    said = [line for line in ended.said if line != "asked to stop"]
    assert said == ["closing", "chosen: Stop it and close", "chosen: Close at once", "over"]
    assert (ended.complaints, ended.code) == ("", 0)
    check_released(study_path)


@pytest.mark.parametrize("how", ["viewer", pytest.param("application", marks=pytest.mark.slow)])
def test_where_nobody_can_be_asked_the_training_is_stopped(study_path: Path, how: str) -> None:
    ended = end(study_path, how, "heeds")
    assert ended == End(["closing", "asked to stop", "stopped", "over"], "", 0)
    check_released(study_path)


@pytest.mark.parametrize("how", [pytest.param("viewer", marks=pytest.mark.slow), "application"])
def test_a_deaf_training_holds_up_no_program(study_path: Path, how: str) -> None:
    ended = end(study_path, how, "deaf")
    assert ended == End(["closing", "asked to stop", "over"], "", 0)
    check_released(study_path)

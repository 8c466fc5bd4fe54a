"""A few damaged files of each format; `run.py` reads thousands."""

import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(RUN), *arguments], capture_output=True, text=True, timeout=3000
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_damaged_files_are_read_or_refused() -> None:
    assert "396 files" in run("--count", "396", "--without", "checkpoint", "--without", "model")


@pytest.mark.slow
def test_thousands_of_damaged_files_are_read_or_refused() -> None:
    assert "10032 files" in run("--count", "10032")

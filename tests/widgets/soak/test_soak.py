"""What the window holds stays as it is, however often a training is started and stopped in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks the kernel"),
    pytest.mark.one_binding,
]


def soak(*options: str) -> str:
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore", "QT_LOGGING_RULES": "*=false"}
    done = subprocess.run(
        [sys.executable, str(RUN), *options], capture_output=True, text=True, env=quiet
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_a_few_starts_and_stops_leave_nothing_behind() -> None:
    assert "2 rounds" in soak("--rounds", "2")


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_hundred_starts_and_stops_leave_nothing_behind() -> None:
    assert "100 rounds" in soak("--rounds", "100")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_minutes_of_work_leave_nothing_behind() -> None:
    assert "nothing grew" in soak("--minutes", "10")

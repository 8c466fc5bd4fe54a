"""The benchmark of the window runs from start to end, and measures what it says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TICKS = ("ticks, hands off", "ticks, painting")


@pytest.mark.slow
def test_every_row_of_the_table_is_measured(tmp_path: Path) -> None:
    file = tmp_path / "window.json"
    program = ROOT / "benchmarks" / "window.py"
    asked = ("--quick", "--json", str(file))
    done = subprocess.run(
        [sys.executable, str(program), *asked],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    rows = {(row["what"], row["who"]): row for row in json.loads(file.read_text())["rows"]}
    ours = ("ours", "ours, training")
    everybody = ("bare napari", *ours)
    expected = {
        *((what, who) for what in ("change of case", *TICKS) for who in everybody),
        *(("accept by key", who) for who in ours),
        ("the dock opens", "ours"),
        ("stop", "ours, training"),
    }
    assert set(rows) == expected
    for row in rows.values():
        assert row["wall, max"] >= row["wall, median"] > 0
        assert row["main, max"] >= row["main, median"] >= 0

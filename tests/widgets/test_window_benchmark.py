"""The benchmarks of the window run from start to end, and measure what they say."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.one_binding

ROOT = Path(__file__).parents[2]
TICKS = ("ticks, hands off", "ticks, painting")


def carried_out(script: str, folder: Path) -> list[dict[str, Any]]:
    """The rows of the quick form of a benchmark."""
    file = folder / "rows.json"
    asked = ("--quick", "--json", str(file))
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / script), *asked],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(file.read_text())["rows"]
    return found


@pytest.mark.slow
def test_every_row_of_the_table_is_measured(tmp_path: Path) -> None:
    rows = {(row["what"], row["who"]): row for row in carried_out("window.py", tmp_path)}
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


@pytest.mark.slow
def test_a_sitting_corrects_its_slices_with_and_without_the_tools(tmp_path: Path) -> None:
    brush, tools, answer = carried_out("sitting.py", tmp_path)
    assert [row["with"] for row in (brush, tools, answer)] == ["brush", "tools", "answer"]
    for row in (brush, tools, answer):
        assert row["slices"] == 2
        assert row["dice before"] < 0.95 <= row["dice after"]
        assert row["keys"] >= row["slices"]  # each is accepted by a key
        assert row["strokes"] + row["clicks"] > 0
        assert row["window s"] > 0
        assert row["main s"] > 0
    assert tools["clicks"] > 0 == brush["clicks"]
    assert answer["waited s"] > 0 == brush["waited s"]

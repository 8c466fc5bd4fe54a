"""The report of a GPU runs from end to end, here on the CPU and with hardly any work."""

import argparse
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PARTS = {"machine", "checks", "steps", "step_profile", "waits"}


def report(tmp_path: Path, data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    return subprocess.run(
        [ROOT / "scripts" / "gpu_report.sh", wheels, data, tmp_path / "out", *arguments],
        env=os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(1200)
def test_all_parts_leave_their_numbers(tmp_path: Path) -> None:
    data = Path(os.environ.get("MLBSEG_DATA", ROOT.parent / "shared" / "data"))
    learning = {"learning"} if (data / "la").is_dir() else set()  # on real scans alone
    parts = ("--parts", ",".join(sorted(PARTS | learning)))
    done = report(tmp_path, data, "--device", "cpu", "--tiny", *parts)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")}
    assert set(found) == PARTS | {f"{part}_{n}" for part in learning for n in ("eight", "sixteen")}
    assert len(list((tmp_path / "out").iterdir())) <= 8
    assert found["machine"]["copied_gb_per_s"] > 0
    assert {t["result"] for t in found["checks"]["tests"]} == {"passed"}
    assert all(row["step_ms"] > 0 and row["error"] is None for row in found["steps"]["rows"])
    assert found["step_profile"]["2.5d"]["step_ms"] > 0
    assert all(row["seconds"] > 0 for row in found["waits"]["rows"])
    for name in found.keys() - PARTS:
        assert 0 <= found[name]["final"] <= found[name]["best_on_test"] <= 1
    page = (tmp_path / "out" / "gpu.md").read_text()
    assert page.count("Not yet measured") == 2 * (not learning)


def test_a_part_that_is_not_there_is_said(tmp_path: Path) -> None:
    done = report(tmp_path, tmp_path, "--parts", "machine,coffee")
    assert done.returncode != 0
    assert "there is no part coffee" in done.stderr


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    for folder in ("benchmarks/gpu", "benchmarks", "scripts"):
        monkeypatch.syspath_prepend(ROOT / folder)
    return importlib.import_module


def test_a_part_that_is_cut_off_or_fails_does_not_end_the_report(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = script("report")
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(module, "GRACE_S", 0.0)
    (tmp_path / "endless.py").write_text("import time\nwhile True: time.sleep(1)\n")
    (tmp_path / "broken.py").write_text("raise SystemExit(3)\n")
    options = argparse.Namespace(device="cpu", data=tmp_path, out=tmp_path, tiny=False)
    problem = module.carried_out(module.Part("endless", 1.0), 1.0, options)
    assert problem.startswith("cut off")
    assert module.carried_out(module.Part("broken", 1.0), 600.0, options) == "ended with 3"


def test_the_page_is_made_of_what_is_there(script: Any, tmp_path: Path) -> None:
    page = script("page")
    row = {"case": "a|b", "step": "ours", "step_ms": 1234.5, "roofline": 0.1234, "error": None}
    (tmp_path / "steps.json").write_text(json.dumps({"rows": [row], "left_out": ["c"]}))
    page.write(tmp_path)
    text = (tmp_path / page.NAME).read_text()
    assert "| case | step | step ms | roofline |" in text
    assert "| a\\|b | ours | 1,234 | 0.123 |" in text
    assert "Left out for lack of time: c." in text
    assert text.count("Not yet measured.") == 6


def test_packed_scans_keep_within_their_limit(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, source = script("gpu_data"), tmp_path / "data" / "la"
    names = [f"scan{n:02}" for n in range(40)]
    for kind in ("images", "labels"):
        (source / kind).mkdir(parents=True)
        for name in names:
            (source / kind / f"{name}.nii.gz").write_bytes(bytes(1000))
    (source / "splits.json").write_text(json.dumps({"train": names}))
    monkeypatch.setattr(module, "DATA", tmp_path / "data")
    monkeypatch.setattr(sys, "argv", ["gpu_data.py", str(tmp_path / "out"), "--megabytes", "0.05"])
    module.main()
    packed = sorted(p.name for p in (tmp_path / "out" / "la" / "images").iterdir())
    assert packed == [f"{n}.nii.gz" for n in sorted([*names[:12], *names[-10:], *names[12:15]])]

"""The engine's own tests that need a GPU and no window."""

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import _part
import _shared

ROOT = Path(__file__).resolve().parents[2]
TESTS = "tests/engine/test_cuda.py"


def main() -> None:
    options = _part.options(__doc__)
    chosen = ["-m", "cuda"] if options.device == "cuda" else ["-m", "not cuda"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "tests.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", TESTS, *chosen]
        command += ["-o", "filterwarnings=default"]  # some name packages that a bare machine lacks
        run = subprocess.run(
            [*command, f"--junitxml={report}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        tests = results(report) if report.exists() else []
    lines = run.stdout.strip().splitlines()
    said = lines[-1] if lines else run.stderr[-300:]
    _part.write(options.json, {"summary": said, "tests": tests})
    print(run.stdout[-6000:], run.stderr[-3000:])
    _shared.show("Tests", [{"test": t["name"], "result": t["result"]} for t in tests])


def results(report: Path) -> list[dict[str, Any]]:
    """Each test with its result; of one that failed, what it said."""
    found = []
    for case in ET.parse(report).getroot().iter("testcase"):
        result, said = "passed", None
        for kind in ("failure", "error", "skipped"):
            problem = case.find(kind)
            if problem is not None:
                result, said = kind, (problem.get("message") or "")[:1000]
        found.append({"name": case.get("name"), "result": result, "said": said})
    return found


if __name__ == "__main__":
    main()

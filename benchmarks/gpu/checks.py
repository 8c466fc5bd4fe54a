"""The engine's own tests that need a GPU and no window."""

import re
import subprocess
import sys
from pathlib import Path

import _part

ROOT = Path(__file__).resolve().parents[2]
TESTS = "tests/engine/test_cuda.py"
RESULT = re.compile(r"\S+::(?P<test>\S+) (?P<result>PASSED|FAILED|ERROR|SKIPPED)")


def main() -> None:
    options = _part.options(__doc__)
    chosen = ["-m", "cuda"] if options.device == "cuda" else ["-m", "not cuda"]
    chosen += ["-k", "noise"] if options.tiny else []
    # Some filters for warnings name packages that a bare machine lacks.
    settings = ["-p", "no:cacheprovider", "-o", "filterwarnings=default", "--tb=short", "-v"]
    command = [sys.executable, "-m", "pytest", TESTS, *chosen, *settings]
    tests: list[dict[str, str]] = []
    said = ""
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            found = RESULT.match(line)
            if found:
                tests.append({"test": found["test"], "result": found["result"].lower()})
            said = line.strip(" =\n") or said
            _part.write(options.json, {"summary": said, "tests": tests})


if __name__ == "__main__":
    main()

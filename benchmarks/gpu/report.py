"""All measurements on a GPU, part by part, as a page and a few JSON files.

    scripts/gpu_report.sh WHEELS DATA OUT [--minutes 10] [--parts machine,checks]
    python benchmarks/gpu/report.py --data DATA --out OUT

Every part is a process of its own with its share of the time, and writes its results as it goes.
The page is rewritten after each part, so that an interrupted report keeps what was measured.
"""

import argparse
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import page
import torch

HERE = Path(__file__).resolve().parent
GRACE_S = 45.0
"""How long a part may take to finish after its time is over, before it is killed."""


@dataclass(frozen=True)
class Part:
    """A script in this folder, and its share of the time."""

    name: str
    share: float


PARTS = (
    Part("machine", 0.03),
    Part("checks", 0.13),
    Part("steps", 0.18),
    Part("step_profile", 0.06),
    Part("waits", 0.2),
    Part("learning", 0.4),
)


def main() -> None:
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    chosen = [part for part in PARTS if part.name in options.parts]
    whole = sum(part.share for part in chosen)
    problems: list[str] = []
    for part in chosen:
        seconds = 60 * options.minutes * part.share / whole
        problem = carried_out(part, seconds, options)
        problems += [f"!! {part.name}: {problem}"] if problem else []
        page.write(options.out)
    print((options.out / page.NAME).read_text(encoding="utf-8"))
    sys.exit("\n".join(problems) or None)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    known = [part.name for part in PARTS]
    found = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=("cpu", "cuda"), default=found)
    parser.add_argument("--data", type=Path, required=True, help="a folder with la/ in it")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10.0, help="of all parts together")
    parser.add_argument("--tiny", action="store_true", help="hardly any work, to try it out")
    parser.add_argument(
        "--parts", type=lambda text: text.split(","), default=known, help=",".join(known)
    )
    options = parser.parse_args()
    unknown = sorted(set(options.parts) - set(known))
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; the parts are {', '.join(known)}")
    return options


def carried_out(part: Part, seconds: float, options: argparse.Namespace) -> str | None:
    """Run a part; returns what went wrong, or None."""
    command = [str(HERE / f"{part.name}.py"), "--device", options.device]
    command += ["--data", str(options.data), "--seconds", f"{seconds:.0f}"]
    command += ["--json", str(options.out / f"{part.name}.json")]
    began = time.perf_counter()
    print(f"== {part.name}, {seconds:.0f} s", flush=True)
    if options.tiny:
        return at_once([*command, "--tiny"])
    process = subprocess.Popen(
        [sys.executable, *command], env=os.environ | {"PYTHONUNBUFFERED": "1"}
    )
    try:
        code = process.wait(timeout=seconds + GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return f"cut off after {seconds + GRACE_S:.0f} s"
    print(f"== {part.name} took {time.perf_counter() - began:.0f} s", flush=True)
    return None if code == 0 else f"ended with {code}"


def at_once(command: Sequence[str]) -> str | None:
    """Run a tiny part in this process: loading torch for each would take longer than all parts."""
    before, sys.argv = sys.argv, list(command)
    try:
        runpy.run_path(command[0], run_name="__main__")
    except (Exception, SystemExit) as error:
        return f"ended with {type(error).__name__}: {error}"
    finally:
        sys.argv = before
    return None


if __name__ == "__main__":
    main()

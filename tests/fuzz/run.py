"""Reads thousands of damaged files: each is read or refused with a `UserError`, soon and modestly.

    python tests/fuzz/run.py --count 10000

A worker process reads the files, so that a crash or a hang is seen and counted; the run goes on
with a new worker. Exit status 1 if anything but a volume or a `UserError` came of a file.
"""

import argparse
import json
import multiprocessing as mp
import os
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from reading import READ, images
from recipe import SEEDS, mutate, numbered_uids

HANG_SECONDS = 20
"""Of the processor for one file; how long it takes by the clock is up to the machine."""
PATIENCE_SECONDS = 600
MEMORY_MB = 400
"""How much more than at the start a worker may use."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="files over all formats")
    parser.add_argument("--format", choices=sorted(SEEDS), action="append")
    parser.add_argument("--without", choices=sorted(SEEDS), action="append", default=[])
    parser.add_argument("--only", type=int, help="one file by its number")
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args()
    formats = [n for n in options.format or SEEDS if n not in options.without]
    each = -(-options.count // len(formats))
    numbers = [options.only] if options.only is not None else range(each)
    started = time.perf_counter()
    results = [fuzz(name, list(numbers)) for name in formats]
    report = {
        "files": sum(r["files"] for r in results),
        "seconds": round(time.perf_counter() - started, 1),
        "bad": sum(len(r["bad"]) for r in results),
        "formats": results,
    }
    if options.json:
        options.json.write_text(json.dumps(report, indent=2))
    print(f"{report['files']} files in {report['seconds']} s, {report['bad']} bad")
    return 1 if report["bad"] else 0


def fuzz(name: str, numbers: list[int]) -> dict[str, Any]:
    """Read the files of one format, with as many workers as it takes."""
    results: dict[int, tuple[Any, ...]] = {}
    bad = []
    context = mp.get_context("spawn")
    left = list(numbers)
    while left:
        ours, theirs = context.Pipe()
        worker = context.Process(target=work, args=(name, left, theirs))
        worker.start()
        theirs.close()
        done = collect(ours, worker, results)
        left = [number for number in left if number not in results]
        if left and not done:
            bad.append((left[0], f"worker ended or hung, exit code {worker.exitcode}"))
            results[left[0]] = ("crash", 0.0, "")
            left = left[1:]
    bad += [(n, r[2]) for n, r in results.items() if r[0] == "bad"]
    counts = Counter(r[0] for r in results.values())
    slowest = max(results, key=lambda n: results[n][1])
    memory = max((r[3] for r in results.values() if len(r) > 3), default=0)
    print(
        f"{name:18} {len(results):5} files: {dict(counts)}, slowest {results[slowest][1]:.2f} s "
        f"(number {slowest}), {memory:.0f} MB more memory at most",
        *(f"\n   {number}: {said}" for number, said in bad),
        flush=True,
    )
    return {
        "format": name,
        "files": len(results),
        **counts,
        "slowest_s": round(results[slowest][1], 3),
        "memory_mb": round(memory),
        "bad": bad,
    }


def collect(ours: Any, worker: Any, results: dict[int, tuple[Any, ...]]) -> bool:
    """Results as they come; False if the worker died or hung."""
    while True:
        if not ours.poll(PATIENCE_SECONDS):
            worker.kill()
            worker.join()
            return False
        try:
            message = ours.recv()
        except EOFError:
            worker.join()
            return False
        if message is None:
            worker.join()
            return True
        results[message[0]] = message[1:]


def work(name: str, numbers: list[int], pipe: Any) -> None:
    """In a process of its own: make, read, report."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the life of the process
    os.dup2(sys.stderr.fileno(), 2)  # decoders written in C complain there
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        file, seed = SEEDS[name]
        sound = Path(folder) / "sound"
        sound.mkdir()
        numbered_uids()
        seed(sound / file)
        reading = READ.get(name, images)
        first = Path(folder) / "first"
        shutil.copytree(sound, first)
        reading(first)
        before = peak_mb()
        for number in numbers:
            target = Path(folder) / "victim"
            shutil.copytree(sound, target)
            mutate(target / file, number)
            outcome, seconds, said = attempt(reading, target)
            memory = peak_mb() - before
            if outcome != "bad" and (seconds > HANG_SECONDS or memory > MEMORY_MB):
                outcome, said = "bad", f"{seconds:.1f} s, {memory:.0f} MB"
            pipe.send((number, outcome, seconds, said, memory))
            shutil.rmtree(target)
    pipe.send(None)
    pipe.close()


def attempt(reading: Callable[[Path], None], folder: Path) -> tuple[str, float, str]:
    from napari_mlbseg.errors import UserError

    started = time.process_time()
    try:
        reading(folder)
        outcome, said = "read", ""
    except UserError as error:
        outcome, said = "refused", str(error)
        if str(folder) not in said:
            outcome = "bad"
    except BaseException as error:
        outcome, said = "bad", f"{type(error).__name__}: {error}"[:300]
    return outcome, time.process_time() - started, said


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())

"""Shared by the benchmarks: scans, settings, peak memory, tables, and a record of the machine."""

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

DATA = Path(os.environ.get("MLBSEG_DATA", Path(__file__).parents[2] / "shared" / "data"))
"""Real scans, which are not part of the repository."""
LA = DATA / "la"
"""The 2018 Left Atrium challenge: images, labels and lists of cases."""

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The option ``--set``, which `settings` reads."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=lambda text: text.split("=", 1),
        metavar="NAME=JSON",
        help="a setting of the run that differs from the default",
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    """The options of a benchmark of runs of limited time."""
    parser.add_argument("--minutes", type=float, default=5.0, help="of a whole run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="of torch")
    add_settings(parser)
    parser.add_argument("--quick", action="store_true", help="phantoms and hardly any steps")
    parser.add_argument("--json", type=Path)


def add_clock(parser: argparse.ArgumentParser) -> None:
    """The option ``--clock``, which `clock` reads."""
    parser.add_argument(
        "--clock",
        choices=("wall", "processor"),
        default="wall",
        help="of the minutes; processor: of this process, divided by its threads",
    )


def clock(options: argparse.Namespace) -> Callable[[], float]:
    """A function that tells the seconds of the clock that was asked for."""
    if options.clock == "wall":
        return time.perf_counter
    threads = options.threads or os.cpu_count() or 1
    return lambda: time.process_time() / threads


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """The values given with ``--set``, by the name of the setting."""
    return {name: json.loads(value) for name, value in options.set}


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds that passed, and that this process computed."""
    started, computed = time.perf_counter(), time.process_time()
    action()
    return 1e3 * (time.perf_counter() - started), 1e3 * (time.process_time() - computed)


def resident_mb() -> float:
    """Memory of this process that is in use now, in MB (10**6 bytes)."""
    return _status_mb("VmRSS") if _STATUS.exists() else _highest_mb()


def forget_peak() -> None:
    """Reset `peak_mb`, where the system can; elsewhere it is the peak since the process started."""
    if _CLEAR.exists():
        _CLEAR.write_text(_RESET_PEAK)


def peak_mb() -> float:
    """The peak memory of this process since `forget_peak`, as the kernel counted it."""
    return _status_mb("VmHWM") if _STATUS.exists() else _highest_mb()


def machine_memory_mb() -> float:
    """Memory of the whole machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6


def stay_within_memory() -> None:
    """Make this process fail to allocate memory that the machine lacks, instead of being killed."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        left = int(lines["MemAvailable"].split()[0]) * 1024
        limit = int(_status_mb("VmSize") * 1e6 + 0.9 * left)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def about(**versions: str) -> dict[str, Any]:
    """Date, machine and versions, for the head of a JSON file."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}"
    return {"date": datetime.now(UTC).date().isoformat(), "machine": machine, **versions}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows that `write_rows` wrote earlier; none if there is no such file."""
    return list(json.loads(path.read_text())["rows"]) if path.exists() else []


def write_rows(
    path: Path, rows: Sequence[Mapping[str, Any]], config: Mapping[str, Any], **versions: str
) -> None:
    """Write what was measured so far, with the settings of the runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = about(**versions) | {"config": dict(config)}
    path.write_text(json.dumps({"about": head, "rows": list(rows)}, indent=1) + "\n")


def mean_dice(
    rows: Sequence[Mapping[str, Any]], *, by: str, arms: Iterable[str]
) -> list[dict[str, Any]]:
    """Mean Dice over the seeds: a row for each value of `by`, a column for each arm."""
    each: dict[Any, dict[str, list[float]]] = {}
    for row in rows:
        each.setdefault(row[by], {}).setdefault(row["arm"], []).append(row["dice"])
    wanted = list(arms)
    return [
        {by: value} | {arm: fmean(of[arm]) if arm in of else None for arm in wanted}
        for value, of in each.items()
    ]


def show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a table headed by the keys of the first row; plain text if rich is not installed."""
    if not rows:
        return
    cells = [[_text(value) for value in row.values()] for row in rows]
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        print(title, "\t".join(rows[0]), *("\t".join(row) for row in cells), sep="\n")
        return
    table = Table(*rows[0], title=title, title_justify="left")
    for row in cells:
        table.add_row(*row)
    console = Console()
    console.print(table) if console.is_terminal else Console(width=200).print(table)
    sys.stdout.flush()


def _text(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else _plain(value)


def _plain(value: object) -> str:
    return f"{value:.0f}" if isinstance(value, float) else "" if value is None else str(value)


def _status_mb(name: str) -> float:
    line = next(v for v in _STATUS.read_text().splitlines() if v.startswith(name))
    return int(line.split()[1]) * 1024 / 1e6


def _highest_mb() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6

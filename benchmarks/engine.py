"""Our bootstrapping step against the released algorithm's, side by side on one device.

    python benchmarks/engine.py --json docs/engine.json
    python benchmarks/engine.py --cases released 'size*' --device cuda

Both steps have the same network, images and number of noisy and clean slices, and go from slices
on the device to updated parameters. Each case has two rows. With 5 views our step does what the
reference does: five views of every noisy and every clean slice. With 2 views it is the engine's
default: two views drawn anew at every step, clean slices seen once.

Memory is the peak of a step beyond network and slices; on a CPU every step is measured in a
process of its own. `needed_tflop` counts the operations that any implementation of the step needs
(torch's flop counter), `roofline` relates them to the speed of a large matrix product in the same
run. Weight maps are compared with double backward on one noisy slice in two views and one clean
slice, in float32 without TF32 and in float64 (on a CPU: of a smaller slice).

With --json a run resumes where the last one ended: finished rows are kept. No case starts after
--minutes; those of U-Net++, which take minutes each on a CPU, come last there. On a CPU a step that
needs more memory than the machine has left is reported as such.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from fnmatch import fnmatch
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import _measured_step
import _shared
import torch
from _cases import FIVE_VIEWS, Case
from _measured_step import DRAWN_VIEWS, Job

VIEWS = (len(FIVE_VIEWS), DRAWN_VIEWS)
QUICK = (
    Case("defaults", "unet", 2, 1, 32, 1, 1),
    Case("3d, 8 classes", "unet", 3, 8, 16, 1, 1),
)


def main() -> None:
    options = parse()
    cases = QUICK if options.quick else cases_for(options.device)
    if options.cases:
        cases = [c for c in cases if any(fnmatch(c.name, p) for p in options.cases)]
    rows: list[dict[str, Any]] = []
    if options.json and options.json.exists():
        rows = [r for r in json.loads(options.json.read_text())["rows"] if r["ratio"]]
    began = time.perf_counter()
    left_out = 0
    for case in cases:
        late = time.perf_counter() - began > 60 * options.minutes
        if late and missing(case, rows, options.device):
            left_out += 1
            continue
        for row in rows_of(case, rows, options):
            rows.append(row)
            if options.json:
                head = _shared.about(torch=torch.__version__, device=device_name(options.device))
                options.json.write_text(json.dumps({"about": head, "rows": rows}, indent=1) + "\n")
    report(rows)
    if left_out:
        print(f"{left_out} cases were left out for lack of time; run again with --json to go on.")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    found = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=("cpu", "cuda"), default=found)
    parser.add_argument("--cases", nargs="+", help="names or patterns; by default all")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no case after this long")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long a step is repeated")
    parser.add_argument("--threads", type=int, help="of torch on the CPU; by default its own")
    parser.add_argument("--quick", action="store_true", help="two tiny cases, to try it out")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def cases_for(device: str) -> list[Case]:
    """The cases, quick ones first; those that differ from ``defaults`` once show scaling."""
    gpu = device == "cuda"
    size = 256 if gpu else 128
    defaults = Case("defaults", "unet", 2, 1, size, 4, 8, large=gpu)
    solid = Case("3d", "unet", 3, 1, 96 if gpu else 48, 2, 2)
    released = Case("released", "unet++", 2, 1, 144, 1, 2)
    full = [replace(released, name="released, batch 16", batch=16, clean_batch=32)] if gpu else []
    sizes, batches, classes = (96, 128, 192, 256, 384, 512), (1, 8, 16, 32), (2, 4, 8, 16)
    paper = [released, replace(released, name="released, 8 classes", classes=8), *full]
    return [
        defaults,
        replace(defaults, name="defaults, 8 classes", classes=8),
        solid,
        replace(solid, name="3d, 8 classes", classes=8),
        *(paper if gpu else []),
        *(replace(defaults, name=f"size {n}", size=n) for n in sizes if n != size),
        *(replace(defaults, name=f"batch {n}", batch=n) for n in batches),
        *(replace(defaults, name=f"classes {n}", classes=n) for n in classes if n != 8),
        *([] if gpu else paper),
    ]


def missing(case: Case, rows: Sequence[dict[str, Any]], device: str) -> list[tuple[str, int]]:
    """Precision and views of the missing rows of a case."""
    done = {(r["precision"], r["views"]) for r in rows if same_case(r, case, device)}
    precisions = ("tf32", "bfloat16") if device == "cuda" else ("float32",)
    return [(p, v) for p in precisions for v in VIEWS if (p, v) not in done]


def rows_of(
    case: Case, rows: Sequence[dict[str, Any]], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """The rows of a case that are missing: one for each precision and number of views."""
    known = [r for r in rows if same_case(r, case, options.device)]
    shared: dict[str, Any] = dict(known[0]) if known else {}
    ceilings: dict[str, float] = {}
    seconds = 0.0 if options.quick else options.seconds
    for precision, views in missing(case, rows, options.device):
        job = Job("ours", case, options.device, precision, VIEWS[0], seconds, options.threads)
        for what, key in (("reference", "reference"), ("weights", "weight_difference")):
            if key not in shared:
                shared[key] = carry_out(replace(job, what=what))
        if precision not in ceilings:
            ceilings[precision] = carry_out(replace(job, what="ceiling"))["tflop_per_s"]
        ours = carry_out(replace(job, views=views))
        if "error" not in ours:
            ours |= achieved(ours, ceilings[precision])
        yield row(job, views, shared, ours)


def same_case(row: dict[str, Any], case: Case, device: str) -> bool:
    known = {"large": False} | row
    return row["device"] == device and all(known[k] == v for k, v in asdict(case).items())


def achieved(ours: dict[str, Any], ceiling: float) -> dict[str, float]:
    rate = ours["needed_tflop"] / ours["step_s"]
    return {"tflop_per_s": rate, "ceiling_tflop_per_s": ceiling, "roofline": rate / ceiling}


def row(job: Job, views: int, shared: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """The ratio of both steps: above 1 if ours is faster, below 1 if ours needs less memory."""
    reference, ratio = shared["reference"], {}
    if "error" not in reference and "error" not in ours:
        ratio = {
            "step_s": reference["step_s"] / ours["step_s"],
            "noisy_pixels_per_s": ours["noisy_pixels_per_s"] / reference["noisy_pixels_per_s"],
            "peak_memory_mb": ours["peak_memory_mb"] / reference["peak_memory_mb"],
        }
    return {
        **asdict(job.case),
        "device": job.device,
        "precision": job.precision,
        "views": views,
        "reference": reference,
        "ours": ours,
        "ratio": ratio,
        "weight_difference": shared["weight_difference"],
    }


def carry_out(job: Job) -> dict[str, Any]:
    """Measure a row, on a CPU in a process of its own; if it dies, it ran out of memory."""
    if job.device == "cuda":
        return _measured_step.measure(job)
    fork = "forkserver" in multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if fork else "spawn")
    if fork:
        context.set_forkserver_preload(["_measured_step"])  # torch is imported only once
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(job, sender))
    process.start()
    sender.close()
    try:
        found: dict[str, Any] = receiver.recv()
    except EOFError:
        process.join()
        found = {"error": f"the process died (exit code {process.exitcode})"}
    process.join()
    return found


def _answer(job: Job, sender: Connection) -> None:
    _shared.stay_within_memory()
    sender.send(_measured_step.measure(job))


def device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "CPU"


def report(rows: Sequence[dict[str, Any]]) -> None:
    """Print all rows, then the extremes that the goals are about."""
    _shared.show("Reference (ref), ours, and how many times", [shown(r) for r in rows])
    for r in rows:
        for who in ("reference", "ours", "weight_difference"):
            if "error" in r[who]:
                print(f"{r['name']}, {r['views']} views, {who}: {r[who]['error']}")
    fair = [r for r in rows if r["ratio"]]
    for views in sorted({r["views"] for r in fair}, reverse=True):
        some = [r for r in fair if r["views"] == views]
        speed = [r["ratio"]["noisy_pixels_per_s"] for r in some]
        memory = [r["ratio"]["peak_memory_mb"] for r in some]
        print(
            f"{views} views: {min(speed):.1f} to {max(speed):.1f} times the noisy pixels per "
            f"second, {min(memory):.2f} to {max(memory):.2f} times the memory"
        )


def shown(row: dict[str, Any]) -> dict[str, Any]:
    reference, ours, ratio = row["reference"], row["ours"], row["ratio"]
    differences = row["weight_difference"]
    return {
        "case": row["name"],
        "network": f"{row['network']} {row['dims']}-D",
        "size": row["size"],
        "batch": f"{row['batch']}+{row['clean_batch']}",
        "classes": row["classes"],
        "precision": row["precision"],
        "views": row["views"],
        "ref s": reference.get("step_s"),
        "ours s": ours.get("step_s"),
        "ref kpx/s": _thousands(reference.get("noisy_pixels_per_s")),
        "ours kpx/s": _thousands(ours.get("noisy_pixels_per_s")),
        "×": ratio.get("noisy_pixels_per_s"),
        "ref MB": reference.get("peak_memory_mb"),
        "ours MB": ours.get("peak_memory_mb"),
        "× MB": ratio.get("peak_memory_mb"),
        "Δ w 32": differences.get("float32"),
        "Δ w 64": differences.get("float64"),
        "roofline": ours.get("roofline"),
    }


def _thousands(value: float | None) -> float | None:
    return None if value is None else value / 1e3


if __name__ == "__main__":
    main()

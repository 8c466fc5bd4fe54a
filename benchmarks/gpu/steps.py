"""Our bootstrapping step beside the released algorithm's dataflow.

Each network and size has a row with five views, in which our step does what the reference does,
and one with two views, the engine's default. `without graphs` is the same step sent to the GPU
kernel by kernel. The roofline is the speed of a large matrix product in bfloat16.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import _part
import _shared
import torch
from _cases import FIVE_VIEWS, Case
from _measured_step import DRAWN_VIEWS, Job, measure

CASES = (
    Case("large U-Net, 256", "unet", 2, 1, 256, 4, 8, large=True),
    Case("U-Net++ as released, 144", "unet++", 2, 1, 144, 1, 2),
    Case("large 3-D U-Net, 64", "unet", 3, 1, 64, 2, 4, large=True),
    Case("large U-Net, 128", "unet", 2, 1, 128, 4, 8, large=True),
    Case("large U-Net, 256, batch 16", "unet", 2, 1, 256, 16, 32, large=True),
    Case("small U-Net, 256", "unet", 2, 1, 256, 4, 8),
    Case("small U-Net, 128", "unet", 2, 1, 128, 4, 8),
    Case("U-Net++, 144, batch 16", "unet++", 2, 1, 144, 16, 32),
)
TINY = (Case("small U-Net, 32", "unet", 2, 1, 32, 1, 2),)
SECONDS_A_JOB = 0.7


def main() -> None:
    options = _part.options(__doc__)
    began = time.perf_counter()
    seconds = 0.0 if options.tiny else SECONDS_A_JOB
    first = Job("ceiling", TINY[0], options.device, "bfloat16", seconds=seconds)
    ceiling = measure(first)["tflop_per_s"]
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    for case in TINY if options.tiny else CASES:
        if time.perf_counter() - began > options.seconds:
            left_out.append(case.name)
            continue
        for row in rows_of(replace(first, case=case), ceiling):
            rows.append(row)
            _part.write(options.json, {"rows": rows, "ceiling_tflop_per_s": ceiling})
        torch.cuda.empty_cache()
    found = {"rows": rows, "ceiling_tflop_per_s": ceiling, "left_out": left_out}
    _part.write(options.json, found)
    _shared.show("Step against the reference's dataflow", rows)


def rows_of(job: Job, ceiling: float) -> Iterator[dict[str, Any]]:
    """The reference, then our step with the reference's views and with the engine's."""
    reference = measure(replace(job, what="reference", precision="tf32"))
    yield row("reference, TF32", job, reference, reference, None)
    ways = [
        ("ours, 5 views", replace(job, what="ours", views=len(FIVE_VIEWS))),
        ("ours, 2 views", replace(job, what="ours", views=DRAWN_VIEWS)),
    ]
    if job.device == "cuda":
        as_it_runs = ways[1][1]
        ways.append(("ours, 2 views, without graphs", replace(as_it_runs, graphs=False)))
        ways.append(("ours, 2 views, channels last", replace(as_it_runs, channels_last=True)))
        ways.append(("ours, 2 views, TF32", replace(as_it_runs, precision="tf32")))
    for name, way in ways:
        yield row(name, job, measure(way), reference, ceiling)


def row(
    way: str, job: Job, found: dict[str, Any], reference: dict[str, Any], ceiling: float | None
) -> dict[str, Any]:
    speed, theirs = found.get("noisy_pixels_per_s"), reference.get("noisy_pixels_per_s")
    rate = found["needed_tflop"] / found["step_s"] if "needed_tflop" in found else None
    return {
        "case": job.case.name,
        "step": way,
        "step_ms": 1e3 * found["step_s"] if "step_s" in found else None,
        "noisy_mpx_per_s": speed / 1e6 if speed else None,
        "times_reference": speed / theirs if speed and theirs else None,
        "peak_memory_mb": found.get("peak_memory_mb"),
        "tflop_per_s": rate,
        "roofline": rate / ceiling if rate and ceiling else None,
        "error": found.get("error"),
    }


if __name__ == "__main__":
    main()

"""How a step spends its time: kernels, the host waiting for the device, idle share.

The trainer of a run on left atria (phantoms in a tiny report), steps of the bootstrapping stage.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _part
import _shared
import latency
import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.project.arrays.store import ArrayName

STEPS, WARM_UPS, TOP = 20, 40, 12
WAITING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")


def main() -> None:
    options = _part.options(__doc__)
    rows: dict[str, Any] = {}
    for dimensions in ("2.5d",) if options.tiny else ("2.5d", "3d"):
        rows[dimensions] = profiled(dimensions, options)
        _part.write(options.json, rows)
        found = dict(rows[dimensions])
        _shared.show(f"Kernels of {dimensions}, a step", found.pop("kernels"))
        print(found)


def profiled(dimensions: str, options: argparse.Namespace) -> dict[str, Any]:
    setting = argparse.Namespace(cases=1 if options.tiny else 4, phantoms=options.tiny)
    latency.LA = options.data / "la"
    config = Config.from_dict({"device": options.device, "dimensions": dimensions})
    if options.tiny:
        config = Config.from_dict(config.to_dict() | {"slice_size": 32, "threads": 1})
    with tempfile.TemporaryDirectory() as folder:
        study, truth, _ = latency.make_study(Path(folder), setting)
        with study:
            clean, _ = latency.choose(study, truth, *((4, 0) if options.tiny else (16, 0)))
            for key in clean:
                latency.accept(study, key, truth)
            for case in study.cases:
                if case.labels_path is None:
                    study.arrays.create(case.id, ArrayName.INITIAL_LABELS)
            trainer = Trainer(study, config)
            trainer.read_clean_slices()
            return steps_of(trainer, tiny=options.tiny)


def steps_of(trainer: Trainer, *, tiny: bool) -> dict[str, Any]:
    """Time some steps as they are, and some under the profiler."""
    steps, warm_ups = (1, 1) if tiny else (STEPS, WARM_UPS)
    gpu = trainer.device.type == "cuda"
    taken(trainer, warm_ups)
    base_ms = timed(lambda: [trainer.base_step(learning_rate=1e-3) for _ in range(steps)], steps)
    step_ms = timed(lambda: taken(trainer, steps), steps)
    generator = torch.Generator().manual_seed(0)

    def read() -> None:
        for _ in range(steps):
            trainer.source.noisy_batch(trainer.state.batch, generator)

    noisy_batch_ms = timed(read, steps)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    with profile(activities=activities) as found:
        taken(trainer, steps)
        synchronise()
    events = found.key_averages()
    waits = {
        e.key: e.count / steps for e in events if e.key.startswith(WAITING) and e.count >= steps
    }
    on_device = [e for e in events if e.device_type == DeviceType.CUDA]
    busy_ms = busy(found) / steps if gpu else None
    kernels = sorted(on_device, key=lambda e: -e.self_device_time_total)[:TOP]
    return {
        "base_step_ms": base_ms,
        "step_ms": step_ms,
        "noisy_batch_ms": noisy_batch_ms,
        "host_waits_a_step": waits,
        "kernels_a_step": sum(e.count for e in on_device) / steps,
        "device_busy_ms": busy_ms,
        "idle_share": max(0.0, 1 - busy_ms / step_ms) if busy_ms is not None else None,
        "kernels": [
            {
                "kernel": e.key[:90],
                "ms": e.self_device_time_total / 1e3 / steps,
                "count": e.count / steps,
            }
            for e in kernels
        ],
    }


def taken(trainer: Trainer, steps: int) -> None:
    for _ in range(steps):
        trainer.bootstrap_step(learning_rate=1e-3)


def timed(act: Any, steps: int) -> float:
    """Milliseconds a step."""
    synchronise()
    began = time.perf_counter()
    act()
    synchronise()
    return 1e3 * (time.perf_counter() - began) / steps


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def busy(found: Any) -> float:
    """Milliseconds in which at least one kernel or copy ran on the device."""
    total, until = 0.0, 0.0
    for start, end in sorted(intervals(found)):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total / 1e3


def intervals(found: Any) -> Iterator[tuple[float, float]]:
    for event in found.events():
        if event.device_type == DeviceType.CUDA:
            yield event.time_range.start, event.time_range.end


if __name__ == "__main__":
    main()

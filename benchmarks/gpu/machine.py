"""The machine, and its speed for matrix products and copies."""

import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from typing import Any

import _part
import _shared
import torch

SIDE = {"cpu": 1024, "cuda": 8192}
COPIED_BYTES = {"cpu": 2**26, "cuda": 2**31}
REPEATS, WARM_UPS = 10, 3


def main() -> None:
    options = _part.options(__doc__)
    device = options.device
    found = _shared.about(torch=torch.__version__, python=platform.python_version())
    found |= described(device)
    _part.write(options.json, found)
    side = 256 if options.tiny else SIDE[device]
    for name, dtype, tf32 in (
        ("float32", torch.float32, False),
        ("tf32", torch.float32, True),
        ("bfloat16", torch.bfloat16, False),
    ):
        if name == "tf32" and device == "cpu":
            continue
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        found[f"{name}_tflop_per_s"] = 2 * side**3 / seconds(lambda: a @ b, device) / 1e12  # noqa: B023
    source = torch.empty(2**20 if options.tiny else COPIED_BYTES[device], dtype=torch.uint8)
    source = source.to(device).random_(0, 255)
    target = torch.empty_like(source)
    copied = 2 * source.nbytes / seconds(lambda: target.copy_(source), device)
    found["copied_gb_per_s"] = copied / 1e9
    _part.write(options.json, found)
    _shared.show("Machine", [{"": name, "is": value} for name, value in found.items()])


def described(device: str) -> dict[str, Any]:
    if device == "cpu":
        return {"device": "CPU", "threads": torch.get_num_threads()}
    properties = torch.cuda.get_device_properties(0)
    return {
        "device": properties.name,
        "memory_gb": properties.total_memory / 1e9,
        "multiprocessors": properties.multi_processor_count,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "driver": driver(),
    }


def driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def seconds(act: Callable[[], object], device: str) -> float:
    """The median of several repeats."""
    times = []
    for _ in range(WARM_UPS + REPEATS):
        began = time.perf_counter()
        act()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times[WARM_UPS:])


if __name__ == "__main__":
    main()

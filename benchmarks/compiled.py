"""Does torch.compile pay off for the small U-Net, including its start-up?

    python benchmarks/compiled.py --json docs/compiled.json

Forward and backward pass, and the forward-mode product, of eight slices with and without
torch.compile, in processor seconds, and after how many steps the compilation has paid off.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _shared
import torch

from napari_mlbseg.engine.nets.model import as_model
from napari_mlbseg.engine.nets.network import build_network
from napari_mlbseg.engine.steps.meta_weights import logit_derivative

REPEATS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = torch.randn(8, 3, options.size, options.size)
    network = build_network("unet", channels=3, classes=2)
    compiled = torch.compile(network)
    direction = {n: torch.randn_like(p) for n, p in network.named_parameters()}

    def passes(net: Any) -> Callable[[], object]:
        return lambda: net(images).square().mean().backward()

    def product(net: Any) -> Callable[[], object]:
        point = dict(network.named_parameters())
        return lambda: logit_derivative(as_model(net), point, direction, images)

    rows = [
        row("forward and backward", passes(network), passes(compiled)),
        row("forward-mode product", product(network), product(compiled)),
    ]
    _shared.show("torch.compile on one CPU thread", rows)
    if options.json:
        about = _shared.about(torch=torch.__version__, device="CPU", threads="1")
        options.json.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


def row(what: str, eager: Callable[[], object], compiled: Callable[[], object]) -> dict[str, Any]:
    """Processor seconds of both, or the reason why the compiled one does not run."""
    before = least_s(eager)
    try:
        start_up = once_s(compiled)
        after = least_s(compiled)
    except Exception as error:
        return {"what": what, "eager_s": before, "error": f"{type(error).__name__}: {error}"[:120]}
    saved = before - after
    pays = start_up / saved if saved > 0 else None
    return {
        "what": what,
        "eager_s": before,
        "compiled_s": after,
        "start_up_s": start_up,
        "pays_after_steps": pays,
    }


def once_s(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def least_s(act: Callable[[], object]) -> float:
    """The smallest processor time of several repeats."""
    times = []
    for _ in range(REPEATS):
        began = time.process_time()
        act()
        times.append(time.process_time() - began)
    return min(times)


if __name__ == "__main__":
    main()

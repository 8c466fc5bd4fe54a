"""Approximations of the exact directional derivative: how well they agree, what they save.

    python benchmarks/derivatives.py --json docs/derivatives.json

A small U-Net learns sixteen slices of eight left atria (the folder `la` of MLBSEG_DATA). Early and
late in training the exact derivative of the logits along the clean gradient is compared, on slices
of other cases, with a finite difference (one more forward pass; its step is a share of the length
of the parameters) and with a forward-mode product that moves the decoder's parameters
alone. Agreement is measured on the meta-gradients of the predicted labels: Spearman's rank
correlation and the share of equal signs. Times are CPU times, so that other programs matter less;
the logits that the step has anyway do not count for the finite difference.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import _shared
import nibabel as nib
import numpy as np
import torch
from _shared import LA
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional

from napari_mlbseg.engine.nets.model import Model, Parameters, as_model
from napari_mlbseg.engine.nets.network import build_network
from napari_mlbseg.engine.steps.base_model import clean_gradient
from napari_mlbseg.engine.steps.meta_weights import (
    label_prices,
    logit_derivative,
    value_of,
)
from napari_mlbseg.engine.steps.passes import forward

STEPS_OF_LENGTH = (1e-2, 1e-3, 1e-4, 1e-5)
BATCH = 8
UPWARD, HEAD = ".2.", "1."  # in the names of MONAI's U-Net with a linear head
Found = TypeVar("Found")


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    names = json.loads((LA / "splits.json").read_text())["labelled_16"]
    taught = slices_of(names[:8], 2, options.size)
    unseen = slices_of(names[8:12], 2, options.size)
    rows: list[dict[str, Any]] = []
    torch.manual_seed(0)
    network = build_network("unet", channels=1, classes=2)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    model = as_model(network)
    point = dict(network.named_parameters())
    for step in range(1, max(options.at) + 1):
        chosen = torch.randperm(len(taught[0]))[:BATCH]
        gradient, loss = clean_gradient(model, point, taught[0][chosen], taught[1][chosen])
        for name, value in point.items():
            value.grad = gradient[name]
        optimiser.step()
        if step in options.at:
            rows += compared(model, point, taught, unseen[0], step, float(loss))
    _shared.show("Cheaper derivatives against the exact one", rows)
    if options.json:
        about = _shared.about(torch=torch.__version__, device="CPU", threads=str(options.threads))
        options.json.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--at", type=int, nargs="+", default=[100, 800], help="training steps")
    parser.add_argument("--size", type=int, default=96, help="pixels a side")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _voxels(path: Path) -> NDArray[Any]:
    image: Any = nib.load(path)
    return np.asarray(image.dataobj)


def slices_of(names: Sequence[str], count: int, size: int) -> tuple[Tensor, Tensor]:
    """Standardised slices and labels, `count` per case, between 30 and 70 percent of the height."""
    images, labels = [], []
    for name in names:
        image, label = (_voxels(LA / folder / f"{name}.nii.gz") for folder in ("images", "labels"))
        for height in np.linspace(0.3, 0.7, count):
            at = round(float(height) * (image.shape[2] - 1))
            images.append(_resized(image[..., at].astype(np.float32), size, "bilinear"))
            labels.append(_resized(label[..., at].astype(np.float32), size, "nearest"))
    stacked = torch.cat(images)
    mean, std = stacked.mean((2, 3), keepdim=True), stacked.std((2, 3), keepdim=True)
    return (stacked - mean) / std, torch.cat(labels)[:, 0].long()


def _resized(plane: Any, size: int, mode: str) -> Tensor:
    return functional.interpolate(torch.from_numpy(plane)[None, None], (size, size), mode=mode)


def compared(
    model: Model,
    point: Parameters,
    taught: tuple[Tensor, Tensor],
    images: Tensor,
    step: int,
    loss: float,
) -> list[dict[str, Any]]:
    """One row for each way to compute the derivative."""
    half = len(taught[0]) // 2
    direction, _ = clean_gradient(model, point, taught[0][:half], taught[1][:half])
    (logits, exact), slow = timed(lambda: logit_derivative(model, point, direction, images))
    ways: dict[str, Callable[[], Tensor]] = {
        f"finite difference, {share:g}": lambda share=share: finite_difference(  # type: ignore[misc]
            model, point, direction, images, logits, share
        )
        for share in STEPS_OF_LENGTH
    }
    ways["decoder only"] = lambda: decoder_only(model, point, direction, images)
    labels = logits.argmax(dim=1)
    expected = value_of(label_prices(logits, exact), labels).flatten()
    rows: list[dict[str, Any]] = [
        {"step": step, "loss": loss, "way": "exact", "rank": 1.0, "signs": 1.0, "cpu_s": slow}
    ]
    for way, act in ways.items():
        derivative, seconds = timed(act)
        found = value_of(label_prices(logits, derivative), labels).flatten()
        rows.append(
            {
                "step": step,
                "loss": loss,
                "way": way,
                "rank": float(spearmanr(found, expected).statistic),
                "signs": float((found.sign() == expected.sign()).float().mean()),
                "cpu_s": seconds,
            }
        )
    return [row | {"times_faster": slow / row["cpu_s"]} for row in rows]


def finite_difference(
    model: Model,
    point: Parameters,
    direction: Parameters,
    images: Tensor,
    logits: Tensor,
    share: float,
) -> Tensor:
    """Forward difference with a step of `share` of the length of all parameters."""
    step = share * _length(point) / _length(direction)
    moved = {n: value.detach() + step * direction[n] for n, value in point.items()}
    return (forward(model, moved, images) - logits) / step


def decoder_only(model: Model, point: Parameters, direction: Parameters, images: Tensor) -> Tensor:
    """Exact along the parameters of the way up and the head; no tangent on the way down."""
    fixed = {n: value.detach() for n, value in point.items()}
    upper = {n: value for n, value in fixed.items() if n.startswith(HEAD) or UPWARD in n}
    along = {n: direction[n] for n in upper}
    with torch.no_grad():
        found = torch.func.jvp(lambda p: model({**fixed, **p}, images), (upper,), (along,))
    derivative: Tensor = found[1]
    return derivative


def _length(vectors: Parameters) -> float:
    return float(torch.stack([v.detach().square().sum() for v in vectors.values()]).sum().sqrt())


def timed(act: Callable[[], Found]) -> tuple[Found, float]:
    """The result of an action, and the smallest CPU time of three runs."""
    times = []
    for _ in range(3):
        began = time.process_time()
        found = act()
        times.append(time.process_time() - began)
    return found, min(times)


if __name__ == "__main__":
    main()

"""Affine resampling in pixel units, in two and three dimensions.

A matrix maps positions of the output to positions of the input, both counted in pixels from the
centre of their array, the last array axis first (x, y, then z), as
`torch.nn.functional.grid_sample` orders them.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from napari_mlbseg.engine.nets.labels import IGNORE

Matrices = Float[Tensor, "batch dims affine"]


def resample(
    images: Float[Tensor, "batch channels *space"],
    matrices: Matrices,
    size: tuple[int, ...],
    *,
    mode: str = "bilinear",
    padding: str = "border",
) -> Tensor:
    """Images on a grid of `size`; positions outside are padded with the border or with zeros."""
    theta = _normalised(matrices, images.shape[2:], size)
    grid: Tensor = functional.affine_grid(theta, [len(images), 1, *size], align_corners=False)
    sampled: Tensor = functional.grid_sample(images, grid, mode, padding, align_corners=False)
    return sampled


def resample_labels(labels: Tensor, matrices: Matrices, size: tuple[int, ...]) -> Tensor:
    """Nearest labels (``batch *space``, integers) on a grid of `size`; `IGNORE` outside."""
    shifted = (labels - IGNORE).unsqueeze(1).to(matrices.dtype)
    sampled = resample(shifted, matrices, size, mode="nearest", padding="zeros")
    return sampled.squeeze(1).round().long() + IGNORE


def compose(outer: Matrices, inner: Matrices) -> Matrices:
    """The matrix that applies `inner` first, then `outer`."""
    return (_square(outer) @ _square(inner))[:, :-1]


def invert(matrices: Matrices) -> Matrices:
    """The matrix that undoes another."""
    inverse: Tensor = torch.linalg.inv(_square(matrices))
    return inverse[:, :-1]


def _square(matrices: Tensor) -> Tensor:
    last = torch.zeros_like(matrices[:, :1])
    last[..., -1] = 1
    return torch.cat([matrices, last], dim=1)


def _normalised(matrices: Tensor, source: tuple[int, ...], target: tuple[int, ...]) -> Tensor:
    half_in = torch.tensor(source[::-1], dtype=matrices.dtype, device=matrices.device) / 2
    half_out = torch.tensor(target[::-1], dtype=matrices.dtype, device=matrices.device) / 2
    linear = matrices[:, :, :-1] * half_out / half_in[:, None]
    return torch.cat([linear, matrices[:, :, -1:] / half_in[:, None]], dim=2)

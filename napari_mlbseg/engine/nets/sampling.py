"""Affine resampling in pixel units, in two and three dimensions.

A matrix maps positions in the output to positions in the input, both in pixels from the centre of
their array and with the last array axis first (x, y, then z), as
`torch.nn.functional.grid_sample` orders them.

Matrices stay on the CPU, whatever device the images are on: a GPU would make every small product
and inverse wait. Only the finished matrix is sent there, without waiting.
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
    """Resample images to a grid of `size`; padding outside is the border or zeros."""
    placed = normalised(matrices, images.shape[2:], size)
    placed = placed.to(images.device, images.dtype, non_blocking=True)
    return sample(images, placed, size, mode=mode, padding=padding)


def sample(
    images: Float[Tensor, "batch channels *space"],
    placed: Matrices,
    size: tuple[int, ...],
    *,
    mode: str = "bilinear",
    padding: str = "border",
) -> Tensor:
    """Like `resample`, with matrices that are `normalised` and on the device of the images."""
    grid: Tensor = functional.affine_grid(placed, [len(images), 1, *size], align_corners=False)
    sampled: Tensor = functional.grid_sample(images, grid, mode, padding, align_corners=False)
    return sampled


def resample_labels(labels: Tensor, matrices: Matrices, size: tuple[int, ...]) -> Tensor:
    """Resample labels (``batch *space``, integers) to a grid of `size` by nearest neighbour.

    Positions outside are `IGNORE`.
    """
    shifted = (labels - IGNORE).unsqueeze(1).to(torch.float32)
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


def normalised(matrices: Matrices, source: tuple[int, ...], target: tuple[int, ...]) -> Matrices:
    """Convert matrices from pixels to torch's units, where half an array is 1."""
    half_in = torch.tensor(source[::-1], dtype=matrices.dtype) / 2
    half_out = torch.tensor(target[::-1], dtype=matrices.dtype) / 2
    linear = matrices[:, :, :-1] * half_out / half_in[:, None]
    return torch.cat([linear, matrices[:, :, -1:] / half_in[:, None]], dim=2)

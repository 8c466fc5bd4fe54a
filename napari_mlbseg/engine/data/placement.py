"""Placement of samples on the grid: as they are, or randomly rotated, zoomed, shifted, mirrored.

Every random number comes from the generator that is passed in. It is on the CPU, so that a run can
be repeated and resumed on any device.
"""

import math

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from napari_mlbseg.engine.nets.sampling import Matrices

Mirrored = tuple[bool, bool]
"""Whether samples are mirrored along x and along y."""


def random_placement(
    count: int,
    generator: Generator,
    *,
    size: int,
    mirrored: Mirrored,
    max_shift: float = 0.1,
) -> Matrices:
    """``count 2 3``: random rotation, zoom, mirroring and shift, in pixels of a grid of `size`."""
    linear = random_turn(count, generator, dims=2, mirrored=mirrored)
    shift = max_shift * size * _symmetric(2 * count, generator).reshape(count, 2)
    return torch.cat([linear, shift[:, :, None]], dim=2)


def random_turn(
    count: int,
    generator: Generator,
    *,
    dims: int,
    mirrored: Mirrored,
    max_degrees: float = 20.0,
    max_log_zoom: float = 0.3,
) -> Float[Tensor, "count dims dims"]:
    """Random rotation in the x-y plane, zoom of all axes (x, y, z), and mirroring.

    Along each axis that `mirrored` names, half of the samples are mirrored.
    """
    angle = math.radians(max_degrees) * _symmetric(count, generator)
    zoom = torch.exp(max_log_zoom * _symmetric(count, generator))
    drawn = torch.randint(0, 2, (count, 2), generator=generator) * torch.tensor(mirrored)
    mirror = torch.ones(count, dims)
    mirror[:, :2] -= 2.0 * drawn
    cosine, sine = torch.cos(angle), torch.sin(angle)
    in_plane = torch.stack([cosine, -sine, sine, cosine], dim=1).reshape(count, 2, 2)
    rotation = torch.eye(dims).repeat(count, 1, 1)
    rotation[:, :2, :2] = in_plane
    return rotation * zoom[:, None, None] * mirror[:, None, :]


def centred_placement(count: int) -> Matrices:
    """``count 2 3``: the slice as it is, in the middle of the grid."""
    return torch.eye(2, 3).expand(count, 2, 3)


def _symmetric(count: int, generator: Generator) -> Tensor:
    return torch.rand(count, generator=generator) * 2 - 1

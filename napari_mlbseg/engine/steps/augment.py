"""Random appearances of the same anatomy: where it lies on the grid, and how it looks.

Every random number comes from the generator that is passed in, which is on the CPU, so that a run
can be repeated and resumed whatever the device.
"""

import math

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn import functional

from napari_mlbseg.engine.nets.noise import normal
from napari_mlbseg.engine.nets.sampling import Matrices

Mirrored = tuple[bool, bool]
"""Along x and along y."""


def random_placement(
    count: int,
    generator: Generator,
    *,
    size: int,
    mirrored: Mirrored,
    max_shift: float = 0.1,
) -> Matrices:
    """``count 2 3``: a random turn and shift, in pixels of a grid of `size`."""
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
    """Random rotation in the plane of x and y, zoom of all axes (x, y, z), and mirroring.

    `mirrored` tells whether half of the samples are mirrored along x and along y.
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


def random_appearance(
    images: Float[Tensor, "batch channels *space"], generator: Generator
) -> Float[Tensor, "batch channels *space"]:
    """Random contrast, brightness, gamma, smooth bias field, blur and noise, on z-scores."""
    count, dims = len(images), images.ndim - 2
    draw = _Drawer(count, generator, images)
    images = images * torch.exp(0.25 * draw.normal()) + 0.2 * draw.normal()
    images = _gamma(images, torch.exp(0.3 * draw.normal()))
    field = draw.sent(torch.randn(count, 1, *(4,) * dims, generator=generator))
    mode = {2: "bicubic", 3: "trilinear"}[dims]  # torch interpolates volumes linearly at best
    smooth = functional.interpolate(field, images.shape[2:], mode=mode, align_corners=False)
    images = images + 0.2 * smooth
    pool = {2: functional.avg_pool2d, 3: functional.avg_pool3d}[dims]
    blurred = pool(images, 3, stride=1, padding=1, count_include_pad=False)
    images = torch.where(draw.chance(0.2), blurred, images)
    noise = normal(images.shape, generator, like=images)
    return images + 0.1 * draw.normal().abs() * noise


def _gamma(images: Tensor, gamma: Tensor) -> Tensor:
    within = tuple(range(1, images.ndim))
    low = images.amin(dim=within, keepdim=True)
    width = (images.amax(dim=within, keepdim=True) - low).clamp_min(1e-6)
    return ((images - low) / width).clamp(0, 1).pow(gamma) * width + low


class _Drawer:
    """Draws one number an image, shaped to broadcast over it."""

    def __init__(self, count: int, generator: Generator, like: Tensor) -> None:
        self.shape = (count, *(1,) * (like.ndim - 1))
        self.generator, self.like = generator, like

    def normal(self) -> Tensor:
        return self.sent(torch.randn(self.shape, generator=self.generator))

    def chance(self, probability: float) -> Tensor:
        drawn = torch.rand(self.shape, generator=self.generator) < probability
        return drawn.to(self.like.device, non_blocking=True)

    def sent(self, drawn: Tensor) -> Tensor:
        """To where the images are; nobody waits until it is there."""
        return drawn.to(self.like, non_blocking=True)


def _symmetric(count: int, generator: Generator) -> Tensor:
    return torch.rand(count, generator=generator) * 2 - 1

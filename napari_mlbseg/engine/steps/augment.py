"""Random appearances of the same anatomy; its position on the grid does not change.

Every random number comes from the generator that is passed in. It is on the CPU, so that a run can
be repeated and resumed on any device.
"""

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn import functional

from napari_mlbseg.engine.nets.noise import normal


def random_appearance(
    images: Float[Tensor, "batch channels *space"], generator: Generator
) -> Float[Tensor, "batch channels *space"]:
    """Apply random contrast, brightness, gamma, smooth bias field, blur and noise to z-scores."""
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
    """Draws one number per image, shaped to broadcast over it."""

    def __init__(self, count: int, generator: Generator, like: Tensor) -> None:
        self.shape = (count, *(1,) * (like.ndim - 1))
        self.generator, self.like = generator, like

    def normal(self) -> Tensor:
        return self.sent(torch.randn(self.shape, generator=self.generator))

    def chance(self, probability: float) -> Tensor:
        drawn = torch.rand(self.shape, generator=self.generator) < probability
        return drawn.to(self.like.device, non_blocking=True)

    def sent(self, drawn: Tensor) -> Tensor:
        """Send numbers to the device of the images, without waiting for them to arrive."""
        return drawn.to(self.like, non_blocking=True)

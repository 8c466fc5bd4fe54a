"""A network that sees every pixel by itself, so that what happens in one place stays there."""

from collections.abc import Mapping

import torch
from torch import Tensor

from napari_mlbseg.engine.nets.batch import Batch

SIZE = 24


def model(parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """Pixel by pixel, so that what happens in one place stays there."""
    weight = parameters["weight"].reshape(2, 1, 1, 1)
    return torch.nn.functional.conv2d(images, weight)


def batch(seed: int, count: int = 3) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 1, SIZE, SIZE, generator=generator, dtype=torch.float64)
    labels = (torch.rand(count, SIZE, SIZE, generator=generator) > 0.5).long()
    return Batch(images, labels)


def parameters() -> dict[str, Tensor]:
    return {"weight": torch.tensor([0.3, -0.4], dtype=torch.float64)}

"""A step of self-training: what it minimises."""

from collections.abc import Mapping

import torch
from torch import Tensor

from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.losses import clean_loss
from napari_mlbseg.engine.steps.self_training import self_training_gradient

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


def test_noisy_labels_are_learnt_like_clean_ones() -> None:
    noisy, clean = batch(0), batch(1)
    found = self_training_gradient(model, parameters(), noisy, clean, name="pseudo labels")
    point = {n: v.clone().requires_grad_() for n, v in parameters().items()}
    losses = [clean_loss(model(point, b.images), b.labels) for b in (noisy, clean)]
    (expected,) = torch.autograd.grad(torch.stack(losses).sum(), list(point.values()))
    torch.testing.assert_close(found.gradient["weight"], expected)
    assert set(found.losses) == {"clean", "pseudo labels"}

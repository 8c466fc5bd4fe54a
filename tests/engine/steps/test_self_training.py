"""A step of self-training: what it minimises."""

import torch
from pixelwise import batch, model, parameters

from napari_mlbseg.engine.nets.losses import clean_loss
from napari_mlbseg.engine.steps.self_training import self_training_gradient


def test_noisy_labels_are_learnt_like_clean_ones() -> None:
    noisy, clean = batch(0), batch(1)
    found = self_training_gradient(model, parameters(), noisy, clean, name="pseudo labels")
    point = {n: v.clone().requires_grad_() for n, v in parameters().items()}
    losses = [clean_loss(model(point, b.images), b.labels) for b in (noisy, clean)]
    (expected,) = torch.autograd.grad(torch.stack(losses).sum(), list(point.values()))
    torch.testing.assert_close(found.gradient["weight"], expected)
    assert set(found.losses) == {"clean", "pseudo labels"}

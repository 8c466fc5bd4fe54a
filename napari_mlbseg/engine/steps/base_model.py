"""One supervised step on training slices: it makes the base model, where bootstrapping starts."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from napari_mlbseg.engine.nets.losses import clean_loss
from napari_mlbseg.engine.nets.model import Model, Parameters
from napari_mlbseg.engine.steps.chunks import added, chunks
from napari_mlbseg.engine.steps.passes import Recorded, forward, leaves

GROUPS = 4


def clean_gradient(
    model: Model,
    parameters: Parameters,
    images: Float[Tensor, "batch channels *space"],
    labels: Int[Tensor, "batch *space"],
) -> tuple[dict[str, Tensor], Tensor]:
    """Gradient of the clean loss at `parameters`, and the loss.

    Dice is not a sum over chunks of the batch. So a first forward pass, with nothing recorded,
    gives the loss and its gradient with respect to all logits; a second one, chunk by chunk, pulls
    that gradient back to the parameters.
    """
    point = leaves(parameters)
    parts = chunks(images)
    if len(parts) == 1:
        loss = clean_loss(model(point, images), labels)
        gradients = list(torch.autograd.grad(loss, list(point.values())))
        return dict(zip(point, gradients, strict=True)), loss.detach()
    logits = forward(model, parameters, images).requires_grad_()
    loss = clean_loss(logits, labels)
    (cotangent,) = torch.autograd.grad(loss, logits)
    shares = torch.split(cotangent, [len(part) for part in parts])
    gradients = added(
        torch.autograd.grad(model(point, part), list(point.values()), share)
        for part, share in zip(parts, shares, strict=True)
    )
    return dict(zip(point, gradients, strict=True)), loss.detach()


def clean_shares(
    model: Model,
    parameters: Parameters,
    images: Float[Tensor, "batch channels *space"],
    labels: Int[Tensor, "batch *space"],
) -> tuple[list[dict[str, Tensor]], Tensor]:
    """The clean gradient of each of up to `GROUPS` groups of slices, and the loss.

    The loss is that of the whole batch. Each group's share of the gradient is multiplied by the
    number of groups, so that the mean of the shares is the gradient.
    """
    seen = Recorded.forward(model, parameters, images.chunk(GROUPS))
    logits = seen.logits()
    loss = clean_loss(logits, labels)
    (cotangent,) = torch.autograd.grad(loss, logits)
    return seen.shares(len(seen.parts) * cotangent), loss.detach()

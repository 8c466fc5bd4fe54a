"""One supervised step on clean slices: where bootstrapping starts from."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from napari_mlbseg.engine.nets.losses import clean_loss
from napari_mlbseg.engine.steps.meta_weights import Model


def clean_gradient(
    model: Model,
    parameters: Mapping[str, Tensor],
    images: Float[Tensor, "batch channels *space"],
    labels: Int[Tensor, "batch *space"],
) -> tuple[dict[str, Tensor], Tensor]:
    """Gradient of the clean loss at `parameters`, and the loss."""
    point = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    loss = clean_loss(model(point, images), labels)
    gradients = torch.autograd.grad(loss, list(point.values()))
    return dict(zip(point, gradients, strict=True)), loss.detach()

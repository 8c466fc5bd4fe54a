"""Predictions and weight maps of slices as they are, for the eye and for the export."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from napari_mlbseg.engine.steps import meta_weights
from napari_mlbseg.engine.steps.meta_weights import Model


def probabilities(
    model: Model, parameters: Mapping[str, Tensor], images: Float[Tensor, "batch channels y x"]
) -> Float[Tensor, "batch classes y x"]:
    """Class probabilities."""
    with torch.no_grad():
        return model(parameters, images).softmax(dim=1)


def relative_weights(
    prices: Float[Tensor, "batch classes y x"],
    initial: Int[Tensor, "batch y x"],
    pseudo: Int[Tensor, "batch y x"],
) -> tuple[Float[Tensor, "batch y x"], Float[Tensor, "batch y x"]]:
    """Weights of both labels in multiples of the uniform weight of their slice.

    1 is what a pixel would get if all labels of the slice counted alike, 0 a label that the clean
    slices object to.
    """
    maps = [meta_weights.price_of(prices, labels).clamp_min(0) for labels in (initial, pseudo)]
    mean = torch.stack(maps).mean(dim=(0, 2, 3)).clamp_min(torch.finfo(prices.dtype).tiny)
    first, second = (m / mean[:, None, None] for m in maps)
    return first, second

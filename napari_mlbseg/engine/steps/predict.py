"""Predictions and maps of slices and volumes without random placement, to publish and export."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from napari_mlbseg.engine.nets.model import Model, Parameters
from napari_mlbseg.engine.nets.tiling import tiled
from napari_mlbseg.engine.nets.views import View, apply_view
from napari_mlbseg.engine.steps.meta_weights import logit_derivative
from napari_mlbseg.engine.steps.pseudo_labels import average_prediction
from napari_mlbseg.engine.steps.weighting.rule import Scores


def probabilities(
    model: Model,
    parameters: Parameters,
    images: Float[Tensor, "batch channels *space"],
    *,
    views: Sequence[View],
    tile: tuple[int, ...] | None = None,
) -> Float[Tensor, "batch classes *space"]:
    """Class probabilities, averaged over views of the images."""
    with torch.no_grad():
        seen = [
            tiled(lambda part: model(parameters, part), apply_view(view, images), tile=tile)
            for view in views
        ]
        return average_prediction(views, [logits.softmax(dim=1) for logits in seen])[0]


def look_ahead(
    model: Model,
    parameters: Parameters,
    direction: Parameters,
    images: Float[Tensor, "batch channels *space"],
    *,
    views: Sequence[View],
    scores: Sequence[Scores],
    tile: tuple[int, ...] | None = None,
) -> list[Float[Tensor, "batch classes *space"]]:
    """Scores of every class by each rule of `scores`, averaged over views of the images."""

    def network(part: Tensor) -> tuple[Tensor, Tensor]:
        return logit_derivative(model, parameters, direction, part)

    found = [tiled(network, apply_view(view, images), tile=tile) for view in views]
    return [average_prediction(views, [score(*pair) for pair in found])[0] for score in scores]


def relative_weights(
    *weights: Float[Tensor, "batch y x"], valid: Bool[Tensor, "batch y x"]
) -> tuple[Float[Tensor, "batch y x"], ...]:
    """Weights in multiples of the uniform weight of their slice.

    1 is the weight if all labels of the slice counted alike; a label of weight 0 does not count.
    Only `valid` pixels enter the mean, because the grid is larger than most slices. The others get
    1, or labels at the edge of an image would seem to count for less.
    """
    total = torch.stack([(w * valid).sum(dim=(1, 2)) for w in weights]).mean(dim=0)
    mean = total / valid.sum(dim=(1, 2)).clamp_min(1)
    scale = 1 / mean.clamp_min(torch.finfo(mean.dtype).tiny)
    return tuple(torch.where(valid, w * scale[:, None, None], 1.0) for w in weights)

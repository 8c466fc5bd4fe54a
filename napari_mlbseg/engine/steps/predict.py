"""Predictions and weight maps of slices as they are, for the eye and for the export."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from napari_mlbseg.engine.nets.views import View, apply_view
from napari_mlbseg.engine.steps.meta_weights import Model, Scores, logit_derivative
from napari_mlbseg.engine.steps.pseudo_labels import average_prediction


def probabilities(
    model: Model,
    parameters: Mapping[str, Tensor],
    images: Float[Tensor, "batch channels y x"],
    *,
    views: Sequence[View],
) -> Float[Tensor, "batch classes y x"]:
    """Class probabilities, averaged over views of the images."""
    with torch.no_grad():
        seen = [model(parameters, apply_view(view, images)).softmax(dim=1) for view in views]
        return average_prediction(views, seen)[0]


def look_ahead(
    model: Model,
    parameters: Mapping[str, Tensor],
    direction: Mapping[str, Tensor],
    images: Float[Tensor, "batch channels y x"],
    *,
    views: Sequence[View],
    scores: Sequence[Scores],
) -> list[Float[Tensor, "batch classes y x"]]:
    """What each rule makes of every class, averaged over views of the images."""
    found = [
        logit_derivative(model, parameters, direction, apply_view(view, images)) for view in views
    ]
    return [average_prediction(views, [score(*pair) for pair in found])[0] for score in scores]


def relative_weights(
    *weights: Float[Tensor, "batch y x"], valid: Bool[Tensor, "batch y x"]
) -> tuple[Float[Tensor, "batch y x"], ...]:
    """Weights in multiples of the uniform weight of their slice.

    1 is what a pixel would get if all labels of the slice counted alike, 0 a label that counts for
    nothing. Only pixels that are `valid` make the mean: the grid is larger than most slices.
    """
    total = torch.stack([(w * valid).sum(dim=(1, 2)) for w in weights]).mean(dim=0)
    mean = total / valid.sum(dim=(1, 2)).clamp_min(1)
    scale = 1 / mean.clamp_min(torch.finfo(mean.dtype).tiny)
    return tuple(w * scale[:, None, None] for w in weights)

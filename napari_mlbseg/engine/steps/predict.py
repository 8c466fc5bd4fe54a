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
        seen = [_seen_in(view, model, parameters, images, tile) for view in views]
        return average_prediction(views, seen)[0]


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
    """Scores of every class by each rule of `scores`.

    The probabilities that they start from are averaged over the views, as those of `probabilities`
    are. The derivative, which takes three times as long as they do, is that of the first view
    alone, the identity.
    """

    def network(part: Tensor) -> tuple[Tensor, Tensor]:
        return logit_derivative(model, parameters, direction, part)

    logits, derivative = tiled(network, images, tile=tile)
    with torch.no_grad():
        others = [_seen_in(view, model, parameters, images, tile) for view in views[1:]]
        average = average_prediction(views, [logits.softmax(dim=1), *others])[0]
        log_average = average.clamp_min(torch.finfo(average.dtype).tiny).log()
        return [score(log_average, derivative) for score in scores]


def _seen_in(
    view: View,
    model: Model,
    parameters: Parameters,
    images: Float[Tensor, "batch channels *space"],
    tile: tuple[int, ...] | None,
) -> Float[Tensor, "batch classes *space"]:
    """Class probabilities of the images in a view."""
    logits = tiled(lambda part: model(parameters, part), apply_view(view, images), tile=tile)
    return logits.softmax(dim=1)


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

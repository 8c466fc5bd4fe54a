"""Pseudo label enhancement: average the predictions of several views, then harden.

Wei et al. 2023, section 2.2. A view does not count for pixels that it does not see (zooming in
hides the border): the average is over the views that see a pixel.
"""

from collections.abc import Sequence
from itertools import permutations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from napari_mlbseg.engine.nets.labels import IGNORE
from napari_mlbseg.engine.nets.losses import disagreement
from napari_mlbseg.engine.nets.views import IDENTITY, View, apply_view_to_labels, carry


def average_prediction(
    views: Sequence[View], predictions: Sequence[Float[Tensor, "batch classes *space"]]
) -> tuple[Float[Tensor, "batch classes *space"], Float[Tensor, "batch 1 *space"]]:
    """Mean of the views' probabilities, mapped back, and the number of views that see a pixel."""
    total = torch.zeros_like(predictions[0])
    seen = torch.zeros_like(predictions[0][:, :1])
    for view, prediction in zip(views, predictions, strict=True):
        carried, known = carry(prediction, source=view, target=IDENTITY)
        total += carried * known
        seen += known
    return total / seen.clamp_min(1.0), seen


def pseudo_labels(
    views: Sequence[View], predictions: Sequence[Float[Tensor, "batch classes *space"]]
) -> list[Int[Tensor, "batch *space"]]:
    """The hardened average, mapped into each view; `IGNORE` for pixels that no view sees."""
    average, seen = average_prediction(views, [p.detach() for p in predictions])
    hard = torch.where(seen.squeeze(1) > 0, average.argmax(dim=1), IGNORE)
    return [apply_view_to_labels(view, hard, average) for view in views]


def view_disagreement(
    views: Sequence[View], predictions: Sequence[Float[Tensor, "batch classes *space"]]
) -> Float[Tensor, ""]:
    """Mean squared difference of the predictions of two views, over all ordered pairs of views.

    Both orders of each pair count, so that every view gets a gradient from every other.
    """
    pairs = list(permutations(range(len(views)), 2))
    if not pairs:
        return predictions[0].sum() * 0
    losses = []
    for ours, theirs in pairs:
        carried, known = carry(
            predictions[theirs].detach(), source=views[theirs], target=views[ours]
        )
        losses.append(disagreement(predictions[ours], carried, known))
    return torch.stack(losses).mean()

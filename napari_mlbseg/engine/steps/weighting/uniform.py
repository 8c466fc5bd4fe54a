"""The rule ``uniform``: all labels count alike."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from napari_mlbseg.engine.nets.labels import IGNORE
from napari_mlbseg.engine.steps.weighting.rule import Ahead, Weighting


class Uniform(Weighting):
    """All labels get the same weight; the training slices contribute only their loss."""

    def weights(
        self,
        ahead: Ahead,
        initial: Int[Tensor, "batch *space"],
        pseudo: Int[Tensor, "batch *space"],
    ) -> tuple[Float[Tensor, "batch *space"], ...]:
        """The same weight for every label, see `equal_weights`."""
        return equal_weights(initial, pseudo)


def equal_weights(*labels: Int[Tensor, "batch *space"]) -> tuple[Tensor, ...]:
    """The same weight for every label that is not to be ignored, summing to 1 over all maps."""
    valid = [(y != IGNORE).to(torch.get_default_dtype()) for y in labels]
    total = torch.stack([v.sum() for v in valid]).sum().clamp_min(1.0)
    return tuple(v / total for v in valid)

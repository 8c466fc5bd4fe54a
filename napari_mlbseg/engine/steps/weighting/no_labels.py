"""The rule ``none``: initial and pseudo labels are not learnt."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from napari_mlbseg.engine.steps.weighting.rule import Ahead, Weighting


class NoLabels(Weighting):
    """The network learns from training slices and consistency alone."""

    learns_labels = False

    def weights(
        self,
        ahead: Ahead,
        initial: Int[Tensor, "batch *space"],
        pseudo: Int[Tensor, "batch *space"],
    ) -> tuple[Float[Tensor, "batch *space"], ...]:
        """Zero for every label."""
        return tuple(torch.zeros(y.shape, device=y.device) for y in (initial, pseudo))

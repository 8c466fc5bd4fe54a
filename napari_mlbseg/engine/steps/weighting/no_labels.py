"""The rule ``none``: initial and pseudo labels are not learnt."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.model import Model, Parameters
from napari_mlbseg.engine.steps.weighting.rule import Ahead, CleanGuidance, guidance_by_gradient


class NoLabels:
    """The network learns from training slices and consistency alone."""

    learns_labels = False
    judges_imported_labels = False
    scores = None

    def ask(self, model: Model, point: Parameters, clean: Batch) -> CleanGuidance:
        """The direction is the gradient; this rule does not use it."""
        return guidance_by_gradient(model, point, clean)

    def weights(
        self,
        ahead: Ahead,
        initial: Int[Tensor, "batch *space"],
        pseudo: Int[Tensor, "batch *space"],
    ) -> tuple[Float[Tensor, "batch *space"], ...]:
        """Zero for every label."""
        return tuple(torch.zeros(y.shape, device=y.device) for y in (initial, pseudo))

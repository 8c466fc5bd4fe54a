"""The rule ``meta``: equal weights, tilted along the direction that training slices agree on."""

from jaxtyping import Float, Int
from torch import Tensor

from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.model import Model, Parameters
from napari_mlbseg.engine.steps.base_model import clean_shares
from napari_mlbseg.engine.steps.clean_direction import clean_direction, mean_gradient
from napari_mlbseg.engine.steps.meta_weights import LOOK_AHEAD, label_prices, weights_of
from napari_mlbseg.engine.steps.weighting.rule import Ahead, CleanGuidance, Scores, Weighting

LARGEST_TILT = 3.0
"""Largest change of the logarithm of a weight."""


class Meta(Weighting):
    """One step of exponentiated gradient from equal weights, along the agreed direction."""

    judges_imported_labels = True

    @property
    def scores(self) -> Scores:
        """The rule's score of every class: `tilted_weights`."""
        return tilted_weights

    def ask(self, model: Model, point: Parameters, clean: Batch) -> CleanGuidance:
        """Price labels along the direction that groups of training slices agree on."""
        shares, loss = clean_shares(model, point, clean.images, clean.labels)
        return CleanGuidance(mean_gradient(shares), clean_direction(shares, loss), loss)

    def weights(
        self,
        ahead: Ahead,
        initial: Int[Tensor, "batch *space"],
        pseudo: Int[Tensor, "batch *space"],
    ) -> tuple[Float[Tensor, "batch *space"], ...]:
        """Tilted weights, normalised to sum to 1; equal where the training slices say nothing."""
        return weights_of(tilted_weights(*ahead()), initial, pseudo)


def tilted_weights(
    logits: Float[Tensor, "batch classes *space"], derivative: Float[Tensor, "batch classes *space"]
) -> Float[Tensor, "batch classes *space"]:
    """The unnormalised weight of every label: 1 where the training slices say nothing.

    ``exp(a u(y))``, one step of exponentiated gradient on the prices u, starting from equal
    weights; at most ``exp(LARGEST_TILT)`` and at least its inverse.
    """
    tilt = LOOK_AHEAD * label_prices(logits, derivative)
    return tilt.clamp(-LARGEST_TILT, LARGEST_TILT).exp()

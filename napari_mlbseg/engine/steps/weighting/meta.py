"""The rule ``meta``: equal weights, tilted by what the clean slices agree on."""

from jaxtyping import Float, Int
from torch import Tensor

from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.model import Model, Parameters
from napari_mlbseg.engine.steps.base_model import clean_shares
from napari_mlbseg.engine.steps.clean_direction import clean_direction, mean_gradient
from napari_mlbseg.engine.steps.meta_weights import LOOK_AHEAD, label_prices, weights_of
from napari_mlbseg.engine.steps.weighting.rule import Ahead, CleanSay, Scores

LARGEST_TILT = 3.0
"""Of the logarithm of a weight."""


class Meta:
    """One step of exponentiated gradient from equal weights, along the agreed direction."""

    learns_labels = True
    judges_imported_labels = True

    @property
    def scores(self) -> Scores:
        """See `tilted_weights`."""
        return tilted_weights

    def ask(self, model: Model, point: Parameters, clean: Batch) -> CleanSay:
        """The direction is what groups of clean slices agree on."""
        shares, loss = clean_shares(model, point, clean.images, clean.labels)
        return CleanSay(mean_gradient(shares), clean_direction(shares, loss), loss)

    def weights(
        self,
        ahead: Ahead,
        initial: Int[Tensor, "batch *space"],
        pseudo: Int[Tensor, "batch *space"],
    ) -> tuple[Float[Tensor, "batch *space"], ...]:
        """1 where the clean slices say nothing, before all are brought to the sum of 1."""
        return weights_of(tilted_weights(*ahead()), initial, pseudo)


def tilted_weights(
    logits: Float[Tensor, "batch classes *space"], derivative: Float[Tensor, "batch classes *space"]
) -> Float[Tensor, "batch classes *space"]:
    """What learning every label is worth: 1 where the clean slices say nothing.

    ``exp(a u(y))``, one step of exponentiated gradient on the prices u from equal weights; at most
    ``exp(LARGEST_TILT)`` times as much or as little.
    """
    tilt = LOOK_AHEAD * label_prices(logits, derivative)
    return tilt.clamp(-LARGEST_TILT, LARGEST_TILT).exp()

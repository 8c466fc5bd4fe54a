"""The rule ``published``: the positive part of the prices, as in the paper."""

from jaxtyping import Float, Int
from torch import Tensor

from napari_mlbseg.engine.steps.meta_weights import label_prices, weights_of
from napari_mlbseg.engine.steps.weighting.rule import Ahead, Scores, Weighting


class Published(Weighting):
    """One projected gradient step from zero weights, along the gradient of the clean loss."""

    @property
    def scores(self) -> Scores:
        """The rule's score of every class: its price."""
        return label_prices

    def weights(
        self,
        ahead: Ahead,
        initial: Int[Tensor, "batch *space"],
        pseudo: Int[Tensor, "batch *space"],
    ) -> tuple[Float[Tensor, "batch *space"], ...]:
        """The positive part of the prices, normalised; 0 where the training slices object."""
        return weights_of(label_prices(*ahead()), initial, pseudo)

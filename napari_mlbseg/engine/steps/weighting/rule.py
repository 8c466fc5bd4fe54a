"""What every rule answers that makes weights of what the clean slices say."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.model import Model, Parameters
from napari_mlbseg.engine.steps.base_model import clean_gradient

Scores = Callable[[Tensor, Tensor], Tensor]
"""Makes of logits and their derivative what the label of every class is worth."""
Ahead = Callable[[], tuple[Tensor, Tensor]]
"""Logits, and their derivative along `CleanSay.direction`; takes a pass through the network."""


class CleanSay(NamedTuple):
    """What the clean slices say at a point of parameter space.

    Attributes
    ----------
    gradient
        Of the clean loss.
    direction
        Along which labels are priced: the gradient, or what the clean slices agree on of it.
    loss
        The clean loss.
    """

    gradient: Parameters
    direction: Parameters
    loss: Float[Tensor, ""]


@runtime_checkable
class Weighting(Protocol):
    """A rule that weighs the initial and the pseudo labels of a step, pixel by pixel."""

    @property
    def learns_labels(self) -> bool:
        """Whether initial and pseudo labels are learnt at all."""

    @property
    def judges_imported_labels(self) -> bool:
        """Whether imported labels that agree with the network are kept as correct."""

    @property
    def scores(self) -> Scores | None:
        """What it makes of every class, for maps; None where all labels count alike."""

    def ask(self, model: Model, point: Parameters, clean: Batch) -> CleanSay:
        """Gradient of the clean loss at a point, and along which direction labels are priced."""

    def weights(
        self,
        ahead: Ahead,
        initial: Int[Tensor, "batch *space"],
        pseudo: Int[Tensor, "batch *space"],
    ) -> tuple[Float[Tensor, "batch *space"], ...]:
        """Weights of both label maps, summing to 1 over them; `ahead` is asked where needed."""


def ask_plainly(model: Model, point: Parameters, clean: Batch) -> CleanSay:
    """The gradient of all clean slices together is the direction, too."""
    gradient, loss = clean_gradient(model, point, clean.images, clean.labels)
    return CleanSay(gradient, gradient, loss)

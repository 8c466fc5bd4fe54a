"""The interface of the weighting rules."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.model import Model, Parameters
from napari_mlbseg.engine.steps.base_model import clean_gradient

Scores = Callable[[Tensor, Tensor], Tensor]
"""Maps logits and their directional derivative to a score of every class at every pixel."""
Ahead = Callable[[], tuple[Tensor, Tensor]]
"""Returns logits and their derivative along `CleanGuidance.direction`; costs a forward pass."""


class CleanGuidance(NamedTuple):
    """What the training slices say at a point of parameter space.

    Attributes
    ----------
    gradient
        Gradient of the clean loss.
    direction
        Direction along which labels are priced: the gradient, or the part of it that the training
        slices agree on.
    loss
        The clean loss.
    """

    gradient: Parameters
    direction: Parameters
    loss: Float[Tensor, ""]


class Weighting(ABC):
    """A rule that weighs the initial and the pseudo labels of a step, pixel by pixel.

    Attributes
    ----------
    learns_labels
        Whether the network learns from initial and pseudo labels at all.
    judges_imported_labels
        Whether imported labels that agree with the network are kept as correct.
    """

    learns_labels: ClassVar[bool] = True
    judges_imported_labels: ClassVar[bool] = False

    @property
    def scores(self) -> Scores | None:
        """The score of every class, for the maps; None if all labels count alike."""
        return None

    def ask(self, model: Model, point: Parameters, clean: Batch) -> CleanGuidance:
        """The clean loss at a point and its gradient, along which labels are priced, too."""
        gradient, loss = clean_gradient(model, point, clean.images, clean.labels)
        return CleanGuidance(gradient, gradient, loss)

    @abstractmethod
    def weights(
        self,
        ahead: Ahead,
        initial: Int[Tensor, "batch *space"],
        pseudo: Int[Tensor, "batch *space"],
    ) -> tuple[Float[Tensor, "batch *space"], ...]:
        """Weights of both label maps, summing to 1 over both; calls `ahead` only if needed."""

"""Passes through the network, chunk by chunk, that are exact for losses of the whole batch.

A loss that compares the images of a batch with each other (consistency of views, Dice) is computed
from all logits together; its gradient with respect to the logits is then pulled back in chunks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from napari_mlbseg.engine.nets.model import Model, Parameters
from napari_mlbseg.engine.steps.chunks import added, chunks


def forward(
    model: Model, parameters: Parameters, images: Float[Tensor, "batch channels *space"]
) -> Float[Tensor, "batch classes *space"]:
    """Compute logits, with nothing recorded for a backward pass."""
    with torch.no_grad():
        return torch.cat([model(parameters, part) for part in chunks(images)])


@dataclass(frozen=True)
class Recorded:
    """A recorded forward pass: pulls gradients back from the logits to the parameters.

    Attributes
    ----------
    point
        Parameters to differentiate at.
    parts
        Logits of each part of the batch, with their graphs.
    """

    point: Parameters
    parts: list[Tensor]

    @classmethod
    def forward(
        cls,
        model: Model,
        parameters: Parameters,
        parts: Sequence[Float[Tensor, "_ channels *space"]],
    ) -> "Recorded":
        """Run the network on the parts of a batch and keep the activations."""
        point = leaves(parameters)
        return cls(point, [model(point, part) for part in parts])

    def logits(self) -> Float[Tensor, "batch classes *space"]:
        """Logits of the whole batch, as a leaf; `pull_back` takes the gradient at that leaf."""
        return torch.cat([part.detach() for part in self.parts]).requires_grad_()

    def pull_back(
        self, cotangent: Float[Tensor, "batch classes *space"], *, once_more: bool
    ) -> dict[str, Tensor]:
        """Pull the gradient with respect to the logits back to the parameters, by name.

        Unless it is to be called `once_more`, each part's activations are freed after use.
        """
        pulled = added(self._pulled(cotangent, once_more=once_more))
        return dict(zip(self.point, pulled, strict=True))

    def shares(self, cotangent: Float[Tensor, "batch classes *space"]) -> list[dict[str, Tensor]]:
        """Each part's share of the gradient that `pull_back` returns; frees the activations."""
        pulled = self._pulled(cotangent, once_more=False)
        return [dict(zip(self.point, share, strict=True)) for share in pulled]

    def _pulled(self, cotangent: Tensor, *, once_more: bool) -> Iterator[tuple[Tensor, ...]]:
        of_parts = torch.split(cotangent, [len(part) for part in self.parts])
        for part, of_part in zip(self.parts, of_parts, strict=True):
            yield torch.autograd.grad(
                part, list(self.point.values()), of_part, retain_graph=once_more
            )


def leaves(parameters: Parameters) -> dict[str, Tensor]:
    """The parameters as detached leaves that require gradients."""
    return {name: value.detach().requires_grad_() for name, value in parameters.items()}

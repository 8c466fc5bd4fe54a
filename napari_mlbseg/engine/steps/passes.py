"""Passes through the network, chunk by chunk, that are exact for losses of the whole batch.

A loss that compares the images of a batch with each other (views that should agree, Dice) is taken
of all logits together; its gradient with respect to the logits is then pulled back in chunks.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from napari_mlbseg.engine.steps.chunks import added, chunks
from napari_mlbseg.engine.steps.meta_weights import Model


def forward(
    model: Model, parameters: Mapping[str, Tensor], images: Float[Tensor, "batch channels *space"]
) -> Float[Tensor, "batch classes *space"]:
    """Logits, with nothing recorded."""
    with torch.no_grad():
        return torch.cat([model(parameters, part) for part in chunks(images)])


@dataclass(frozen=True)
class Recorded:
    """Logits of a batch, and what it takes to pull gradients back from them to the parameters."""

    point: Mapping[str, Tensor]
    parts: list[Tensor]

    @classmethod
    def forward(
        cls,
        model: Model,
        parameters: Mapping[str, Tensor],
        images: Float[Tensor, "batch channels *space"],
    ) -> "Recorded":
        """Run the network and keep the activations."""
        point = leaves(parameters)
        return cls(point, [model(point, part) for part in chunks(images)])

    def logits(self) -> Float[Tensor, "batch classes *space"]:
        """Of the whole batch; a leaf whose gradient is what `pull_back` takes."""
        return torch.cat([part.detach() for part in self.parts]).requires_grad_()

    def pull_back(
        self, cotangent: Float[Tensor, "batch classes *space"], *, once_more: bool
    ) -> dict[str, Tensor]:
        """Gradient by parameter name, of that with respect to the logits.

        Without `once_more` each part's activations are freed as soon as they have served.
        """
        shares = torch.split(cotangent, [len(part) for part in self.parts])
        found = (
            torch.autograd.grad(part, list(self.point.values()), share, retain_graph=once_more)
            for part, share in zip(self.parts, shares, strict=True)
        )
        return dict(zip(self.point, added(found), strict=True))


def leaves(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters as a point to differentiate at."""
    return {name: value.detach().requires_grad_() for name, value in parameters.items()}

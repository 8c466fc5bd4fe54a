"""The network as predictions use it. Needs torch only."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_DIMENSIONS = {"flip_x": 3, "flip_y": 2}


class MirrorAveraged(nn.Module):
    """Class probabilities, averaged over an image and its mirror images.

    Parameters
    ----------
    network
        From ``batch channels y x`` to logits ``batch classes y x``.
    mirrors
        Some of ``flip_x`` and ``flip_y``.
    """

    def __init__(self, network: Callable[..., Any], mirrors: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.dimensions = [_DIMENSIONS[name] for name in mirrors]

    def forward(self, images: Tensor) -> Tensor:
        """``batch channels y x`` to probabilities ``batch classes y x``."""
        total: Tensor = self.network(images).softmax(dim=1)
        for dimension in self.dimensions:
            mirrored = torch.flip(images, (dimension,))
            total = total + torch.flip(self.network(mirrored).softmax(dim=1), (dimension,))
        return total / (1 + len(self.dimensions))

"""A network as a function of its parameters, which is how every step uses it."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

Parameters = Mapping[str, Tensor]
"""One tensor for each parameter name; also gradients and directions, which have the same shapes."""
Model = Callable[[Parameters, Tensor], Tensor]
"""Maps parameters and images (``batch channels *space``) to logits (``batch classes *space``)."""


def as_model(network: nn.Module, precision: torch.dtype = torch.float32) -> Model:
    """Turn a network into a function of its parameters and images.

    If `precision` is lower than float32, it computes in that and returns logits in float32.
    """

    def model(parameters: Parameters, images: Tensor) -> Tensor:
        logits: Tensor = torch.func.functional_call(network, dict(parameters), (images,))
        return logits

    def in_lower_precision(parameters: Parameters, images: Tensor) -> Tensor:
        lower = {name: value.to(precision) for name, value in parameters.items()}
        return model(lower, images.to(precision)).float()

    return model if precision is torch.float32 else in_lower_precision

"""The precision that a network computes in: one in which torch can differentiate it."""

import logging

import torch
from torch import nn

from napari_mlbseg.engine.data.grid import SampleShape
from napari_mlbseg.engine.nets.device import is_out_of_memory
from napari_mlbseg.engine.nets.model import Model, as_model
from napari_mlbseg.engine.steps.meta_weights import logit_derivative

logger = logging.getLogger(__name__)


def differentiable(
    network: nn.Module, precision: torch.dtype, sample: SampleShape, device: torch.device
) -> Model:
    """The network in this precision, or in float32 if torch cannot differentiate it there."""
    model, point = as_model(network, precision), dict(network.named_parameters())
    if device.type != "cuda" or precision is torch.float32:
        return model
    image = torch.zeros(1, sample.channels, *(32,) * sample.dimensions, device=device)
    try:
        logit_derivative(model, point, point, image)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        logger.warning("%s: the network computes in float32 (%s)", device, error)
        return as_model(network)
    return model

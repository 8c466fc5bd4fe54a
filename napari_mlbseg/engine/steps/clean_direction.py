"""The clean direction: where the training slices want the network to move, as far as they agree.

The gradient of the clean loss is a mean over a few slices. While the network is young, all of them
pull it the same way. Once the network fits them, what remains of each gradient is specific to its
slices, and the mean is noise that says nothing about any other slice. So the loss is split into
groups of slices, and every parameter tensor of the mean is scaled by how much of it the groups
have in common: with m groups and ``g = mean_i g_i``,

    agreement = max(0, mean_{i != j} <g_i, g_j>) / |g|^2,

an unbiased estimate of the squared length of the common part, divided by the squared length of the
mean (the shrinkage of James & Stein 1961, with one factor per tensor). If the groups have nothing
in common, the direction is zero.

The length is that of Polyak's step (1969), ``L / |g|^2`` times the mean gradient, at which the
linearised loss would vanish. It is large while there is much to learn, and does not depend on the
scale of network or loss.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from napari_mlbseg.engine.nets.model import Parameters


def mean_gradient(gradients: Sequence[Parameters]) -> dict[str, Tensor]:
    """The mean of several gradients, by parameter name."""
    return {n: torch.stack([g[n] for g in gradients]).mean(dim=0) for n in gradients[0]}


def agreement(gradients: Sequence[Tensor]) -> Tensor:
    """The share of the mean of one tensor's gradients that they have in common, from 0 to 1.

    It is 0 for a single gradient, which has none to agree with.
    """
    stack = torch.stack([g.flatten() for g in gradients])
    count = len(stack)
    if count == 1:
        return torch.zeros_like(stack[0, 0])
    of_sum, of_each = stack.sum(dim=0).square().sum(), stack.square().sum()
    common = (of_sum - of_each) / (count * (count - 1))
    of_mean = (of_sum / count**2).clamp_min(torch.finfo(stack.dtype).tiny)
    return (common / of_mean).clamp(0, 1)


def clean_direction(gradients: Sequence[Parameters], loss: Tensor) -> dict[str, Tensor]:
    """The part of the gradient that the groups agree on, scaled to Polyak's step.

    Parameters
    ----------
    gradients
        Gradient of the clean loss of each group of slices, by parameter name.
    loss
        Mean clean loss of the groups.
    """
    mean = mean_gradient(gradients)
    squared = torch.stack([g.square().sum() for g in mean.values()]).sum()
    step = loss / squared.clamp_min(torch.finfo(squared.dtype).tiny)
    return {n: agreement([g[n] for g in gradients]) * step * mean[n] for n in mean}

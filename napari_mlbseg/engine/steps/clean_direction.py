"""Which way the clean slices want the network to move, as far as they agree.

The gradient of the clean loss is a mean over a few slices. While the network is young all of them
pull it the same way. Later they are fitted, what is left of each gradient is particular to its
slices, and the mean is noise that says nothing about any other slice. So the loss is split into
groups of slices, and every parameter tensor of the mean is scaled by how much of it the groups
share: with m groups and ``g = mean_i g_i``,

    agreement = max(0, mean_{i != j} <g_i, g_j>) / |g|^2,

the unbiased estimate of the squared length of what they have in common over the squared length of
the mean (the shrinkage of James & Stein 1961, one factor a tensor). Where nothing is in common the
direction is zero.

The length is that of Polyak's step (1969), ``L / |g|^2`` times the mean gradient, at which the
linearised loss would vanish: large while there is much to learn, whatever the scale of network
and loss.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from napari_mlbseg.engine.nets.model import Parameters


def mean_gradient(gradients: Sequence[Parameters]) -> dict[str, Tensor]:
    """The mean of gradients by parameter name."""
    return {n: torch.stack([g[n] for g in gradients]).mean(dim=0) for n in gradients[0]}


def agreement(gradients: Sequence[Tensor]) -> Tensor:
    """How much of the mean of one tensor's gradients they have in common, from 0 to 1.

    A single gradient has nobody to agree with: 0.
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
    """The agreed gradient, as long as Polyak's step.

    Parameters
    ----------
    gradients
        Of the clean loss of each group of slices, by parameter name.
    loss
        Mean clean loss of the groups.
    """
    mean = mean_gradient(gradients)
    squared = torch.stack([g.square().sum() for g in mean.values()]).sum()
    step = loss / squared.clamp_min(torch.finfo(squared.dtype).tiny)
    return {n: agreement([g[n] for g in gradients]) * step * mean[n] for n in mean}

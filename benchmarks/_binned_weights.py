"""Weights of labels that a few features of a pixel decide: a table, learnt or known.

A label belongs to a bin by its class, by the probability that a network gives it, by how near its
border it lies and by what the imported label says there; all labels of a bin have the same weight.
So the prices of all its pixels are summed before they decide anything (the idea of Meta-Weight-Net,
Shu et al., arXiv 1902.07379, with a table in place of a network).
"""

import torch
from torch import Tensor
from torch.nn import functional

from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.labels import IGNORE, one_hot
from napari_mlbseg.engine.nets.losses import pixel_cross_entropy
from napari_mlbseg.engine.nets.model import Model, Parameters
from napari_mlbseg.engine.steps.chunks import chunks
from napari_mlbseg.engine.steps.passes import Recorded

CONFIDENCES = (0.1, 0.5, 0.9, 0.99)
DISTANCES = (2, 4, 8)
"""From a pixel with another label, along the rows or columns, in pixels."""
SAYINGS = 3
"""Of the imported labels: nothing, the same, something else."""

MEMORY = 0.98
"""Of what a table remembers, per step that it learns from."""
STRENGTH = 4.0
"""Of weights: the largest logarithm, of a bin whose prices are all alike."""

_DICE_SMOOTH = 1e-5
"""As in the Dice loss of MONAI."""


def bin_count(classes: int) -> int:
    """The number of bins."""
    return classes * (len(CONFIDENCES) + 1) * (len(DISTANCES) + 1) * SAYINGS


def bins(
    labels: Tensor,
    probabilities: Tensor,
    imported: Tensor,
) -> Tensor:
    """The bin of every label (``batch *space``); pixels to ignore have the bin of background.

    `probabilities` are ``batch classes *space``; `imported` are the label channels of the images,
    see `as_input`, of which there may be none.
    """
    known = labels.clamp_min(0)
    own = probabilities.gather(1, known.unsqueeze(1)).squeeze(1)
    confidence = torch.bucketize(own, own.new_tensor(CONFIDENCES))
    found = known * (len(CONFIDENCES) + 1) + confidence
    found = found * (len(DISTANCES) + 1) + _distance(known)
    return found * SAYINGS + _saying(known, imported)


def _distance(labels: Tensor) -> Tensor:
    """Which of `DISTANCES` another label is within; their number beyond all of them."""
    values = labels.unsqueeze(1).float()
    pool = functional.max_pool2d if values.ndim == 4 else functional.max_pool3d
    beyond = [
        pool(values, 2 * by + 1, stride=1, padding=by)
        == -pool(-values, 2 * by + 1, stride=1, padding=by)
        for by in DISTANCES
    ]
    return torch.stack(beyond).sum(dim=0).squeeze(1)


def _saying(labels: Tensor, imported: Tensor) -> Tensor:
    """Whether the imported label says nothing (0), the same (1) or something else (2)."""
    if not imported.shape[1]:
        return torch.zeros_like(labels)
    outside = -imported.amax(dim=1, keepdim=True)
    said = torch.cat([outside, imported], dim=1).argmax(dim=1)
    return torch.where((imported != 0).any(dim=1), 1 + (said != labels).long(), 0)


def binned_loss(
    logits: Tensor,
    labels: Tensor,
    weights: Tensor,
) -> Tensor:
    """Cross-entropy plus Dice over the batch, in which every pixel counts by its weight.

    With equal weights it is the loss of clean slices, `clean_loss`.
    """
    counted = weights * (labels != IGNORE)
    everywhere = [0, *range(2, logits.ndim)]
    target = one_hot(labels, classes=logits.shape[1], dtype=logits.dtype)[:, 1:]
    found = logits.softmax(dim=1)[:, 1:]
    shared = (counted.unsqueeze(1) * found * target).sum(dim=everywhere)
    marked = (counted.unsqueeze(1) * (found + target)).sum(dim=everywhere)
    dice = 1 - (2 * shared + _DICE_SMOOTH) / (marked + _DICE_SMOOTH)
    total = counted.sum().clamp_min(torch.finfo(logits.dtype).tiny)
    return (counted * pixel_cross_entropy(logits, labels)).sum() / total + dice.mean()


def bin_prices(
    logits: Tensor,
    derivative: Tensor,
    labels: Tensor,
    numbers: Tensor,
    weights: Tensor,
) -> Tensor:
    """The price of each bin: how much lower the clean loss would be with more weight.

    `logits` and their `derivative` along the clean gradient are ``batch classes *space``, `labels`
    and the `numbers` of their bins ``batch *space``.

    That is ``-dL_clean / dw``, per unit learning rate, after one virtual step of gradient
    descent on `binned_loss`. With ``s`` the derivative, the clean loss falls by ``<dL/dz, s>`` to
    first order. The weights enter through ``dL/dz`` alone: no pass through the network is needed.
    """
    point = logits.detach().requires_grad_()
    asked = weights.detach().requires_grad_()
    loss = binned_loss(point, labels, asked[numbers])
    (slope,) = torch.autograd.grad(loss, point, create_graph=True)
    (found,) = torch.autograd.grad((slope * derivative).sum(), asked)
    return found


class Learnt:
    """The weights of the bins, learnt from their prices.

    The logarithm of a weight is `STRENGTH` times the running mean of its price over the root of
    its running square, so it depends neither on the scale of the prices nor on the size of the bin.
    Weights are 1 as long as prices say nothing.
    """

    def __init__(self, count: int) -> None:
        self._mean = torch.zeros(count, dtype=torch.float64)
        self._square = torch.zeros(count, dtype=torch.float64)

    def note(self, prices: Tensor) -> None:
        """Take the prices of a step into account; bins with the price 0 were not seen."""
        seen = (1 - MEMORY) * (prices != 0)
        self._mean += seen * (prices - self._mean)
        self._square += seen * (prices.square() - self._square)

    @property
    def weights(self) -> Tensor:
        """The weight of each bin, from ``exp(-STRENGTH)`` to ``exp(STRENGTH)``."""
        spread = self._square.sqrt().clamp_min(torch.finfo(self._square.dtype).tiny)
        return torch.exp(STRENGTH * self._mean / spread).float()


class Known:
    """The weights of the bins by how often their labels are right, which only the truth can tell.

    A bin in which every label is right has the weight 1, one in which half of them are wrong
    hardly any.
    """

    def __init__(self, count: int) -> None:
        self._right = torch.ones(count, dtype=torch.float64)
        self._all = torch.ones(count, dtype=torch.float64)

    def note(self, numbers: Tensor, right: Tensor) -> None:
        """Take the labels of a step into account."""
        for total, asked in ((self._right, numbers[right]), (self._all, numbers)):
            total *= MEMORY
            total += torch.bincount(asked, minlength=len(total))

    @property
    def weights(self) -> Tensor:
        """The weight of each bin, from 0 to 1."""
        return (2 * self._right / self._all - 1).clamp_min(0).float()


def noisy_gradient(
    model: Model, student: Parameters, noisy: Batch, weights: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Gradient of `binned_loss` by parameter name, and the loss; `weights` are ``batch *space``."""
    recorded = Recorded.forward(model, student, chunks(noisy.images))
    logits = recorded.logits()
    loss = binned_loss(logits, noisy.labels, weights)
    (cotangent,) = torch.autograd.grad(loss, logits)
    return recorded.pull_back(cotangent, once_more=False), loss.detach()

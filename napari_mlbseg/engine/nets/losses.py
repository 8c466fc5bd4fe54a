"""Losses that leave out pixels to be ignored."""

import torch
from jaxtyping import Float, Int
from monai.losses import MaskedDiceLoss
from torch import Tensor
from torch.nn import functional

from napari_mlbseg.engine.nets.labels import IGNORE, one_hot


def clean_loss(
    logits: Float[Tensor, "batch classes *space"], labels: Int[Tensor, "batch *space"]
) -> Float[Tensor, ""]:
    """Cross-entropy plus Dice over the batch, on the pixels whose label is not `IGNORE`."""
    valid = (labels != IGNORE).unsqueeze(1).to(logits.dtype)
    target = one_hot(labels, classes=logits.shape[1], dtype=logits.dtype)
    dice = MaskedDiceLoss(include_background=False, batch=True)
    cross_entropy = (pixel_cross_entropy(logits, labels)).sum() / valid.sum().clamp_min(1.0)
    return cross_entropy + torch.as_tensor(dice(logits.softmax(dim=1), target, valid))


def pixel_cross_entropy(
    logits: Float[Tensor, "batch classes *space"], labels: Int[Tensor, "batch *space"]
) -> Float[Tensor, "batch *space"]:
    """Cross-entropy at every pixel; 0 where the label is `IGNORE`."""
    return functional.cross_entropy(logits, labels, reduction="none", ignore_index=IGNORE)


def weighted_loss(
    logits: Float[Tensor, "batch classes *space"],
    labels: Int[Tensor, "batch *space"],
    weights: Float[Tensor, "batch *space"],
) -> Float[Tensor, ""]:
    """Sum over pixels of weight times cross-entropy."""
    return (weights * pixel_cross_entropy(logits, labels)).sum()


def disagreement(
    ours: Float[Tensor, "batch classes *space"],
    theirs: Float[Tensor, "batch classes *space"],
    known: Float[Tensor, "batch 1 *space"],
) -> Float[Tensor, ""]:
    """Mean squared difference of probabilities where `known` is 1; no gradient into `theirs`."""
    squared = (ours - theirs.detach()).square().mean(dim=1, keepdim=True)
    return (squared * known).sum() / known.sum().clamp_min(1.0)

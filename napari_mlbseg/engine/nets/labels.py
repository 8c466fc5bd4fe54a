"""Labels as networks see them: class indices from 0, and `IGNORE` for pixels to leave out."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

IGNORE = -1


def as_input(
    labels: Int[Tensor, "*space"], *, classes: int
) -> Float[Tensor, "foreground_classes *space"]:
    """Labels as channels of an image: 1 inside of a foreground class, -1 outside.

    0 is left for "not known", so a network can tell a label that is empty from none at all.
    """
    inside = functional.one_hot(labels.clamp_min(0), classes).movedim(-1, 0)[1:]
    return 2.0 * inside.float() - 1.0


def one_hot(
    labels: Int[Tensor, "batch *space"], *, classes: int, dtype: torch.dtype
) -> Float[Tensor, "batch classes *space"]:
    """One channel per class; pixels to ignore count as background."""
    return functional.one_hot(labels.clamp_min(0), classes).movedim(-1, 1).to(dtype)

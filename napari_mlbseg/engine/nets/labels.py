"""Labels as networks see them: class indices from 0, and `IGNORE` for pixels to leave out."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

IGNORE = -1


def one_hot(
    labels: Int[Tensor, "batch *space"], *, classes: int, dtype: torch.dtype
) -> Float[Tensor, "batch classes *space"]:
    """One channel per class; pixels to ignore count as background."""
    return functional.one_hot(labels.clamp_min(0), classes).movedim(-1, 1).to(dtype)

"""How well predictions agree with clean slices."""

from collections.abc import Iterable

import torch
from jaxtyping import Int
from torch import Tensor


def dice_per_class(
    pairs: Iterable[tuple[Int[Tensor, "y x"], Int[Tensor, "y x"]]], *, classes: int
) -> dict[int, float]:
    """Dice of each foreground class index over all pairs of prediction and truth together.

    Pooling the pixels keeps slices that hardly show a class from deciding its score. A class that
    neither shows is left out.
    """
    overlap = torch.zeros(classes, dtype=torch.float64)
    total = torch.zeros(classes, dtype=torch.float64)
    for predicted, truth in pairs:
        both = predicted[predicted == truth]
        overlap += torch.bincount(both.flatten(), minlength=classes).cpu()
        total += torch.bincount(predicted.flatten(), minlength=classes).cpu()
        total += torch.bincount(truth.flatten(), minlength=classes).cpu()
    return {c: float(2 * overlap[c] / total[c]) for c in range(1, classes) if total[c] > 0}

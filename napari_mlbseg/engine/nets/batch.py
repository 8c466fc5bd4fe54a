"""A batch: samples and their labels."""

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor


class Batch(NamedTuple):
    """Slices or patches, and their labels (class indices, `IGNORE` where there is no label)."""

    images: Float[Tensor, "batch channels *space"]
    labels: Int[Tensor, "batch *space"]

"""Tiled inference for volumes that are larger than the network sees at once.

Tiles have the size that the network was trained on. They overlap, and a Gaussian that favours their
middle blends the results (`monai.inferers`; the same as nnU-Net's). A slice is one tile.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from jaxtyping import Float
from monai.inferers import sliding_window_inference
from torch import Tensor

OVERLAP = 0.5
"""Share of a tile that the next one overlaps."""
TILES_AT_ONCE = 2

Found = TypeVar("Found", Tensor, tuple[Tensor, Tensor])


def tiled(
    network: Callable[[Tensor], Found],
    images: Float[Tensor, "batch channels *space"],
    *,
    tile: tuple[int, ...] | None,
) -> Found:
    """Apply `network` to images tile by tile; to the whole at once if `tile` is None."""
    if tile is None:
        return network(images)
    found: Any = sliding_window_inference(
        images, tile, TILES_AT_ONCE, network, overlap=OVERLAP, mode="gaussian"
    )
    return cast(Found, found)

"""A volume that is larger than what a network sees at once, tile by tile.

What the network says of overlapping tiles of the size that it was trained on is put together with a
Gaussian that trusts their middle (`monai.inferers`; the same as nnU-Net's). A slice is one tile.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from jaxtyping import Float
from monai.inferers import sliding_window_inference
from torch import Tensor

OVERLAP = 0.5
"""Share of a tile that the next one covers again."""
TILES_AT_ONCE = 2

Found = TypeVar("Found", Tensor, tuple[Tensor, Tensor])


def tiled(
    network: Callable[[Tensor], Found],
    images: Float[Tensor, "batch channels *space"],
    *,
    tile: tuple[int, ...] | None,
) -> Found:
    """What `network` says of images, tile by tile; at once where `tile` is None."""
    if tile is None:
        return network(images)
    found: Any = sliding_window_inference(
        images, tile, TILES_AT_ONCE, network, overlap=OVERLAP, mode="gaussian"
    )
    return cast(Found, found)

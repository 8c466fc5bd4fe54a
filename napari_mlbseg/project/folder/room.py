"""Checks space before storing: on the disk, and in memory."""

import shutil
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Final

from napari_mlbseg.errors import UserError
from napari_mlbseg.volume import VoxelSource

MOST_IN_MEMORY: Final = 1 << 28
"""Bytes of a row of chunks, which is in memory as a whole while an image is stored."""


def require_room(folder: Path, path: Path, sources: Sequence[VoxelSource]) -> None:
    """Refuse data that may not fit onto the disk of a folder, before anything is written.

    The chunks will be compressed, by an unknown factor; data that fits uncompressed will fit.
    """
    needed = sum(prod(source.geometry.shape) * source.dtype.itemsize for source in sources)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{path} announces {_size(needed)} of voxels, but the disk of {folder} has "
            f"{_size(free)} free. Free some space, keep the study on another disk, or check "
            "whether this is the right file."
        )


def within_memory(
    chunks: tuple[int, int, int], shape: tuple[int, int, int], itemsize: int
) -> tuple[int, int, int]:
    """Sides of chunks such that a row of them across any axis takes at most `MOST_IN_MEMORY`.

    Only images with very large slices get thinner chunks.
    """
    sides = list(chunks)
    for k, side in enumerate(sides):
        slice_bytes = prod(shape) // shape[k] * itemsize
        sides[k] = max(1, min(side, MOST_IN_MEMORY // slice_bytes))
    return sides[0], sides[1], sides[2]


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"

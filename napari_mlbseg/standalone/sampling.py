"""Resampling along one axis as a matrix: onto the grid of the network, and back.

Needs numpy only.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]


def to_grid(
    count: int, spacing_mm: float, size: int, resolution_mm: float, *, middle: bool = False
) -> Matrix:
    """``size count``: from the pixels of a file to those of a grid with the same centre.

    Pixels much finer than the grid are averaged first: picking single ones would alias. With
    `middle` the one in the middle of each block is picked all the same.
    """
    by = max(1, int(resolution_mm / spacing_mm + 1e-6))
    shrunken = -(-count // by)
    averaged = np.zeros((shrunken, count))
    for k in range(shrunken * by):
        picked = float(k % by == by // 2)
        averaged[k // by, min(k, count - 1)] += picked if middle else 1 / by
    from_centre = (np.arange(size) + 0.5 - size / 2) * resolution_mm / spacing_mm
    positions = (from_centre + count / 2) / by - 0.5
    return (linear(positions, shrunken) @ averaged).astype(np.float32)


def to_pixels(count: int, spacing_mm: float, size: int, resolution_mm: float) -> Matrix:
    """``count size``: from the pixels of the grid to those of the file."""
    from_centre = (np.arange(count) + 0.5 - count / 2) * spacing_mm / resolution_mm
    return linear(from_centre + size / 2 - 0.5, size).astype(np.float32)


def linear(positions: NDArray[Any], count: int) -> NDArray[np.float64]:
    """``positions count``: weights of linear interpolation, constant beyond the ends."""
    inside = positions.clip(0, count - 1)
    below = np.floor(inside).astype(int).clip(0, max(0, count - 2))
    share = inside - below
    weights = np.zeros((len(positions), count))
    rows = np.arange(len(positions))
    weights[rows, below] = 1 - share
    weights[rows, np.minimum(below + 1, count - 1)] += share
    return weights

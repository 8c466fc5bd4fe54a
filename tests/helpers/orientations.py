"""Grids of every orientation, for property tests."""

from collections.abc import Sequence
from itertools import permutations, product

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Grid = tuple[tuple[int, int, int], NDArray[np.float64]]
ORIENTATIONS = [
    (axes, signs) for axes in permutations(range(3)) for signs in product((1, -1), repeat=3)
]

spacings = st.tuples(*[st.floats(0.2, 8.0)] * 3)
shapes = st.tuples(*[st.integers(1, 6)] * 3)
origins = st.tuples(*[st.floats(-300, 300)] * 3)
tilts = st.tuples(*[st.floats(-0.5, 0.5)] * 3)


def oriented(
    axes: Sequence[int],
    signs: Sequence[int],
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    origin: Sequence[float] = (0.0, 0.0, 0.0),
) -> NDArray[np.float64]:
    """File axis k runs along RAS axis ``axes[k]`` in the direction ``signs[k]``."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for k in range(3):
        affine[axes[k], k] = signs[k] * spacing[k]
    affine[:3, 3] = origin
    return affine


def rotation(angles: Sequence[float]) -> NDArray[np.float64]:
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        a, b = [k for k in range(3) if k != axis]
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Shape and affine of a file: any orientation, tilted, left-handed too, down to one voxel."""
    axes, signs = draw(st.sampled_from(ORIENTATIONS))
    affine = oriented(axes, signs, draw(spacings), draw(origins))
    affine[:3, :3] = rotation(draw(tilts)) @ affine[:3, :3]
    return draw(shapes), affine

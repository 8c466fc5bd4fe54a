"""A volume in the display frame, and the exact way back to the frame of its file.

Inside the project every array is ordered ``z y x`` and follows the closest anatomical axes:
z runs to superior, y to posterior and x to the patient's left (LPS), so that an axial slice is
shown as a radiologist expects it. Getting there only permutes and flips axes, never resamples.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

AXIS_NAMES = ("z", "y", "x")
SAME_PLACE_VOXELS = 0.1
"""How far apart, in voxels, two positions may lie and still count as one: tools round headers."""

UPRIGHT_MM = 1e-5
"""How far the last voxel of an upright grid may lie from where spacing and origin place it."""

LPS_TO_RAS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
"""4 x 4: from LPS positions to RAS positions, and back."""

_RAS_AXIS_OF_DISPLAY = (2, 1, 0)
_RAS_SIGN_OF_DISPLAY = (1.0, -1.0, -1.0)


@dataclass(frozen=True)
class Geometry:
    """Where the voxels of a file lie in the patient, and how they are ordered for display.

    Attributes
    ----------
    file_shape
        Shape of the array as the file stores it (three axes).
    affine
        4 x 4, row by row: from the indices of the file's array to RAS positions in mm.
    file_axes
        For each display axis (z, y, x) the axis of the file's array that it shows.
    flipped
        For each display axis (z, y, x) whether it runs against the file's axis.
    """

    file_shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    file_axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]

    @classmethod
    def from_affine(cls, file_shape: tuple[int, int, int], affine: NDArray[Any]) -> "Geometry":
        """Choose the display axes that are closest to the anatomical ones.

        Of all assignments of file axes to anatomical axes the one with the largest sum of
        direction cosines is taken, so oblique and degenerate affines still get a permutation.

        >>> import numpy as np
        >>> axial = np.diag([-0.7, -0.7, 3.0, 1.0])  # mm: x to the left, y to posterior, z up
        >>> geometry = Geometry.from_affine((320, 256, 24), axial)
        >>> geometry.shape, geometry.spacing_mm
        ((24, 256, 320), (3.0, 0.7, 0.7))
        """
        matrix = np.asarray(affine, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise ValueError(f"an affine is a finite 4 x 4 matrix, got {matrix!r}")
        axes = _closest_axes(matrix[:3, :3])
        columns = matrix[:3, :3]
        flipped = tuple(
            bool(columns[_RAS_AXIS_OF_DISPLAY[k], axes[k]] * _RAS_SIGN_OF_DISPLAY[k] < 0)
            for k in range(3)
        )
        rows = tuple(tuple(float(v) for v in row) for row in matrix)
        shape = (int(file_shape[0]), int(file_shape[1]), int(file_shape[2]))
        return cls(shape, rows, axes, (flipped[0], flipped[1], flipped[2]))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the display array (z y x)."""
        return _pick(self.file_shape, self.file_axes)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along z, y and x in mm."""
        columns = np.asarray(self.affine)[:3, :3]
        return tuple(float(np.linalg.norm(columns[:, a])) for a in self.file_axes)  # type: ignore[return-value]

    @property
    def origin_mm(self) -> tuple[float, float, float]:
        """LPS position in mm of the first display voxel, ordered z y x."""
        index = [0.0, 0.0, 0.0, 1.0]
        for k in range(3):
            if self.flipped[k]:
                index[self.file_axes[k]] = float(self.file_shape[self.file_axes[k]] - 1)
        left, posterior, superior = (self.lps_affine @ np.asarray(index))[:3]
        return float(superior), float(posterior), float(left)

    @property
    def lps_affine(self) -> NDArray[np.float64]:
        """4 x 4: from the indices of the file's array to LPS positions in mm."""
        return np.asarray(LPS_TO_RAS @ np.asarray(self.affine))

    @property
    def default_axis(self) -> int:
        """Display axis along which slices are annotated unless the user chooses another.

        The axis with the largest spacing; the last axis of the file's array when all spacings
        agree within one percent.
        """
        spacing = self.spacing_mm
        if max(spacing) <= 1.01 * min(spacing):
            return self.display_axis(2)
        return int(np.argmax(spacing))

    def display_axis(self, file_axis: int) -> int:
        """The display axis (0 z, 1 y, 2 x) that shows an axis of the file's array."""
        return self.file_axes.index(file_axis)

    def display_index(self, file_axis: int, file_index: int) -> int:
        """The display index of a slice given by axis and index of the file's array.

        >>> import numpy as np
        >>> upside_down = Geometry.from_affine((320, 256, 24), np.diag([-1.0, -1.0, -3.0, 1.0]))
        >>> upside_down.display_index(2, 0)
        23
        """
        size = self.file_shape[file_axis]
        if not 0 <= file_index < size:
            raise IndexError(f"slice {file_index} is outside 0 to {size - 1}")
        return size - 1 - file_index if self.flipped[self.display_axis(file_axis)] else file_index

    def file_index(self, axis: int, index: int) -> int:
        """The index in the file's array of a slice given by display axis and index."""
        return self.display_index(self.file_axes[axis], index)

    def to_display(self, array: NDArray[Any]) -> NDArray[Any]:
        """View an array of the file's frame in the display frame (z y x)."""
        if array.shape != self.file_shape:
            raise ValueError(f"expected the file's shape {self.file_shape}, got {array.shape}")
        return array.transpose(self.file_axes)[self._flips()]

    def to_file(self, array: NDArray[Any]) -> NDArray[Any]:
        """View a display array (z y x) in the file's frame: the inverse of `to_display`."""
        if array.shape != self.shape:
            raise ValueError(f"expected the display shape {self.shape}, got {array.shape}")
        return array[self._flips()].transpose(tuple(np.argsort(self.file_axes)))

    @property
    def display_affine(self) -> NDArray[np.float64]:
        """4 x 4: from display indices (z, y, x) to RAS positions in mm."""
        to_file = np.zeros((4, 4))
        to_file[3, 3] = 1
        for k in range(3):
            axis = self.file_axes[k]
            to_file[axis, k] = -1 if self.flipped[k] else 1
            to_file[axis, 3] = self.file_shape[axis] - 1 if self.flipped[k] else 0
        return np.asarray(self.affine) @ to_file

    @property
    def upright(self) -> bool:
        """Whether the axes run along the patient's, so that spacing and origin place all voxels."""
        steps = self.display_affine[:3, :3]
        exact = np.zeros((3, 3))
        for k, spacing in enumerate(self.spacing_mm):
            exact[_RAS_AXIS_OF_DISPLAY[k], k] = _RAS_SIGN_OF_DISPLAY[k] * spacing
        return bool((np.abs(steps - exact) @ self.shape).max() <= UPRIGHT_MM)

    def as_displayed(self) -> "Geometry":
        """The same voxels, shown alike, in a file whose array is the display array."""
        affine = tuple(tuple(float(v) for v in row) for row in self.display_affine)
        return Geometry(self.shape, affine, (0, 1, 2), (False, False, False))

    def transposed(self) -> "Geometry":
        """The same voxels, shown alike, in a file whose array has its axes in reverse order."""
        affine = tuple((*row[2::-1], row[3]) for row in self.affine)
        a, b, c = self.file_axes
        return Geometry(self.file_shape[::-1], affine, (2 - a, 2 - b, 2 - c), self.flipped)

    def aligned_with(self, other: "Geometry") -> "Geometry | None":
        """The same file, shown in the display order of `other`; None if the grids differ.

        Two files may store one grid with the axes in another order or direction; the result shows
        every voxel where `other` shows the voxel at the same position.
        """
        placed = self.placed_in(other)
        if placed is None or placed.first != (0, 0, 0) or placed.geometry.shape != other.shape:
            return None
        return placed.geometry

    def placed_in(self, other: "Geometry") -> "Placed | None":
        """Where this file lies in `other`; None unless all its voxels lie on voxels of `other`.

        A voxel lies on another if it is no more than `SAME_PLACE_VOXELS` away.
        """
        step = np.linalg.solve(other.display_affine, np.asarray(self.affine))
        turn = np.rint(step[:3, :3]).astype(int)
        if sorted(np.abs(turn).sum(0)) != [1, 1, 1] or sorted(np.abs(turn).sum(1)) != [1, 1, 1]:
            return None
        axes = [int(np.flatnonzero(turn[k])[0]) for k in range(3)]
        down = [bool(turn[k, axes[k]] < 0) for k in range(3)]
        found = replace(
            self,
            file_axes=(axes[0], axes[1], axes[2]),
            flipped=(down[0], down[1], down[2]),
        )
        theirs = np.linalg.solve(other.display_affine, found.display_affine)
        first = np.rint(theirs[:3, 3]).astype(int)
        last = np.array([*found.shape, 1]) - [1, 1, 1, 0]
        exact = np.column_stack([np.eye(3), first])
        # The error of a position is linear in the index, so no voxel is worse than this.
        worst = float((np.abs(theirs[:3] - exact) @ last).max())
        inside = all(0 <= first[k] <= other.shape[k] - found.shape[k] for k in range(3))
        if worst > SAME_PLACE_VOXELS or not inside:
            return None
        return Placed(found, (int(first[0]), int(first[1]), int(first[2])), worst)

    def _flips(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1) if f else slice(None) for f in self.flipped)


@dataclass(frozen=True)
class Placed:
    """Where a file lies in the grid of another one.

    Attributes
    ----------
    geometry
        The file, shown in the display order of the other one.
    first
        Index (z y x) of its first voxel in the other one.
    apart
        No voxel is further than this, in voxels, from the one that it lies on.
    """

    geometry: Geometry
    first: tuple[int, int, int]
    apart: float


@dataclass(frozen=True)
class Volume:
    """Voxels in the display frame (z y x) with their geometry."""

    voxels: NDArray[Any]
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.voxels.shape != self.geometry.shape:
            raise ValueError(
                f"voxels of shape {self.voxels.shape} do not fit a geometry of "
                f"{self.geometry.shape}"
            )

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the voxels."""
        return self.voxels.dtype

    def slabs(self) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """The voxels as one slab, see `VoxelSource`."""
        yield 0, 0, self.voxels


class VoxelSource(Protocol):
    """Voxels that come slab by slab: from a volume in memory, or from a file being read."""

    @property
    def geometry(self) -> Geometry:
        """Where the voxels lie."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the voxels."""

    def slabs(self) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Display axis, index of the first slice, and slices (z y x), each slice exactly once.

        All slabs run along the same axis, forwards or backwards without gaps.
        """


def _closest_axes(columns: NDArray[np.float64]) -> tuple[int, int, int]:
    norms = np.linalg.norm(columns, axis=0)
    cosines = np.abs(columns / np.where(norms > 0, norms, 1.0))
    best = max(
        permutations(range(3)),
        key=lambda axes: sum(cosines[_RAS_AXIS_OF_DISPLAY[k], axes[k]] for k in range(3)),
    )
    return best[0], best[1], best[2]


def _pick(values: tuple[int, int, int], axes: tuple[int, int, int]) -> tuple[int, int, int]:
    return values[axes[0]], values[axes[1]], values[axes[2]]

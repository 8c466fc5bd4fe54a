"""Boxes of volumes, shrunken close to the working resolution and read block by block."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import ceil

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_mlbseg.engine.data.grid import Triple
from napari_mlbseg.engine.data.reader import Reader
from napari_mlbseg.engine.nets.sampling import Matrices
from napari_mlbseg.project.arrays.store import CHANNELS, ArrayName
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.slices import SliceKey

# Voxels of the file, the annotated axis first: the size of the blocks that images are stored in.
_BRICK = (32, 128, 128)

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Frame:
    """The coordinate frames of a case, with the annotated axis first.

    Positions are counted from the centre of the volume, in one of three units: working voxels of
    `resolution_mm`, voxels of the file, or shrunken voxels, which are blocks of `factors` voxels of
    the file, counted from its first one.
    """

    case: Case
    resolution_mm: tuple[float, float, float]

    @property
    def axes(self) -> Triple:
        """The display axes, the annotated one first, then rows and columns."""
        rows, columns = (a for a in range(3) if a != self.case.axis)
        return self.case.axis, rows, columns

    @property
    def shape(self) -> Triple:
        """Shape in voxels of the file."""
        along, rows, columns = (self.case.geometry.shape[a] for a in self.axes)
        return along, rows, columns

    @property
    def step(self) -> tuple[float, float, float]:
        """Voxels of the file per working voxel, for each axis."""
        spacing = self.case.geometry.spacing_mm
        along, rows, columns = (
            r / spacing[a] for r, a in zip(self.resolution_mm, self.axes, strict=True)
        )
        return along, rows, columns

    @property
    def factors(self) -> Triple:
        """Voxels of the file per shrunken voxel, for each axis."""
        along, rows, columns = (max(1, int(s + 1e-6)) for s in self.step)
        return along, rows, columns

    @property
    def shrunken(self) -> Triple:
        """Shape in shrunken voxels; the last ones may reach beyond the file."""
        along, rows, columns = (ceil(n / f) for n, f in zip(self.shape, self.factors, strict=True))
        return along, rows, columns

    @property
    def working(self) -> tuple[float, float, float]:
        """Extent in working voxels."""
        along, rows, columns = (n / s for n, s in zip(self.shape, self.step, strict=True))
        return along, rows, columns

    @property
    def to_file(self) -> Matrices:
        """``1 3 4``: matrix from working voxels to voxels of the file."""
        return affine(scale=self.step)

    @property
    def to_shrunken(self) -> Matrices:
        """``1 3 4``: matrix from voxels of the file to shrunken voxels."""
        known = list(zip(self.shape, self.shrunken, self.factors, strict=True))
        scale = [1 / f for _, _, f in known]
        shift = [(size - shrunken * f) / (2 * f) for size, shrunken, f in known]
        return affine(scale=scale, shift=shift)


class Volumes:
    """Reads boxes of shrunken voxels, and caches the bricks that they are made of.

    A shrunken voxel of an image is the mean over its block, which prevents aliasing when sampling;
    of labels it is the voxel in the middle of the block.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def image(self, frame: Frame, box: Box) -> Float[Tensor, "channels z y x"]:
        """A box of every channel, standardised; zeros where the case lacks a channel."""
        size = [high - low for low, high in box]
        return torch.stack(
            [
                self.box(name, frame, box)
                if self._reader.has(frame.case.id, name)
                else torch.zeros(size, device=self._reader.device)
                for name in self._reader.channels
            ]
        )

    def box(self, name: ArrayName, frame: Frame, box: Box) -> Tensor:
        """Standardised intensities (float32) or class indices (uint8) of a box."""
        dtype = torch.float32 if name in CHANNELS else torch.uint8
        sides = [max(1, b // f) for b, f in zip(_BRICK, frame.factors, strict=True)]
        size = [high - low for low, high in box]
        found = torch.empty(size, dtype=dtype, device=self._reader.device)
        ranges = (
            range(low // s, (high - 1) // s + 1) for (low, high), s in zip(box, sides, strict=True)
        )
        for number in product(*ranges):
            read = partial(self._brick, name, frame, number, sides)
            brick = self._reader.cached((name, frame.case.id, number), read)
            target, source = [], []
            for (low, high), n, s, length in zip(box, number, sides, brick.shape, strict=True):
                first, last = max(low, n * s), min(high, n * s + length)
                target.append(slice(first - low, last - low))
                source.append(slice(first - n * s, last - n * s))
            found[tuple(target)] = brick[tuple(source)]
        return found

    def _brick(
        self, name: ArrayName, frame: Frame, number: tuple[int, ...], sides: list[int]
    ) -> Tensor:
        where = [slice(0, 0)] * 3
        for axis, n, s, f, size in zip(
            frame.axes, number, sides, frame.factors, frame.shape, strict=True
        ):
            where[axis] = slice(n * s * f, min((n + 1) * s * f, size))
        array = self._reader.study.arrays.open(frame.case.id, name)
        raw = np.asarray(array[tuple(where)]).transpose(frame.axes)
        if name in CHANNELS:
            shrunk = _mean(self._reader.normalised(raw, frame.case.id, name), frame.factors)
        else:
            key = SliceKey(frame.case.id, frame.case.axis, number[0] * sides[0] * frame.factors[0])
            shrunk = self._reader.classes.indices(_middle(raw, frame.factors), key).to(torch.uint8)
        return shrunk.to(self._reader.device)


def affine(
    *, scale: Sequence[float] = (1.0, 1.0, 1.0), shift: Sequence[float] = (0.0, 0.0, 0.0)
) -> Matrices:
    """``1 3 4``: scale, then shift, both in the order of array axes (z y x)."""
    linear = torch.diag(torch.tensor(scale[::-1], dtype=torch.float32))
    last = torch.tensor(shift[::-1], dtype=torch.float32)[:, None]
    return torch.cat([linear, last], dim=1)[None]


def _padded(voxels: NDArray[np.generic], factors: Triple) -> NDArray[np.generic]:
    """Pad to full blocks by repeating the last voxels."""
    beyond = [(0, -n % f) for n, f in zip(voxels.shape, factors, strict=True)]
    return np.pad(voxels, beyond, mode="edge") if np.any(beyond) else voxels


def _mean(voxels: NDArray[np.float32], factors: Triple) -> Float[Tensor, "z y x"]:
    full = torch.from_numpy(np.ascontiguousarray(_padded(voxels, factors)))
    return functional.avg_pool3d(full[None, None], factors)[0, 0] if max(factors) > 1 else full


def _middle(labels: NDArray[np.generic], factors: Triple) -> NDArray[np.uint8]:
    full = _padded(labels, factors)
    along, rows, columns = (slice(f // 2, None, f) for f in factors)
    return np.ascontiguousarray(full[along, rows, columns]).astype(np.uint8)

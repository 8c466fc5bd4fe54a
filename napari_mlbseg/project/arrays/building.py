"""Building arrays beside their places, and putting them there once complete."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.chunks import (
    EVERY_CHUNK,
    GuardedStore,
    Shape,
    damaged,
    largest_chunk,
    missing_chunks,
)
from napari_mlbseg.project.folder.durable import beside, make_folder, put_in_place, settle
from napari_mlbseg.project.folder.inside import size_of
from napari_mlbseg.project.folder.place import Place
from napari_mlbseg.project.records.masks import plane
from napari_mlbseg.volume import VoxelSource


@dataclass(frozen=True)
class Unfinished:
    """An array (z y x) being built, invisible to readers before `finish`.

    The leftovers of an interrupted one are deleted when the next is begun or the study is opened.
    """

    array: "zarr.Array[Any]"
    path: Path
    folder: Path
    place: Place
    axis: int

    @classmethod
    def begin(
        cls,
        path: Path,
        folder: Path,
        place: Place,
        *,
        shape: Shape,
        dtype: np.dtype[Any],
        chunks: tuple[int, ...],
        axis: int,
    ) -> "Unfinished":
        """Begin an array of zeros for the place `path` in the `folder` of a study."""
        with explained_array(path):
            place.check()
            size_of(path, folder)
            make_folder(path.parent)
            settle(path)
            try:
                array = zarr.create_array(
                    GuardedStore(beside(path), folder, place, largest_chunk(shape), building=True),
                    shape=shape,
                    dtype=dtype,
                    chunks=chunks,
                    compressors=[
                        BloscCodec(cname="lz4", clevel=1, shuffle="shuffle"),
                        Crc32cCodec(),
                    ],
                    config=EVERY_CHUNK,
                    fill_value=0,
                    zarr_format=3,
                    dimension_names=("z", "y", "x"),
                )
            except BaseException:
                shutil.rmtree(beside(path), ignore_errors=True)
                raise
        return cls(array, path, folder, place, axis)

    def write(self, start: int, block: NDArray[Any]) -> None:
        """Write the slices from `start` on along the axis, stacked on the first axis."""
        with explained_array(self.path):
            write_slices(self.array, self.axis, start, block)

    def pour(self, source: VoxelSource) -> None:
        """Store slabs, each chunk once: slices are gathered until a row of chunks is complete."""
        array = self.array
        rows: dict[int, tuple[NDArray[Any], int]] = {}
        for axis, start, slab in source.slabs():
            depth, length = array.chunks[axis], array.shape[axis]
            for row in range(start // depth, (start + slab.shape[axis] - 1) // depth + 1):
                first, last = row * depth, min(length, (row + 1) * depth)
                since, until = max(first, start), min(last, start + slab.shape[axis])
                piece = slab[plane(axis, since - start, until - start)]
                if row not in rows:
                    sides = (last - first if k == axis else n for k, n in enumerate(array.shape))
                    rows[row] = np.empty(tuple(sides), array.dtype), 0
                gathered, filled = rows.pop(row)
                gathered[plane(axis, since - first, until - first)] = piece
                filled += until - since
                if filled < last - first:
                    rows[row] = gathered, filled
                    continue
                with explained_array(self.path):
                    array[plane(axis, first, last)] = gathered

    def finish(self) -> None:
        """Put the array in its place, flushed to the disk; it replaces an earlier one."""
        with explained_array(self.path):
            self.place.check()
            self._fill()
            put_in_place(self.path)
            self.place.check()

    def _fill(self) -> None:
        """Write the chunks of zeros that nobody wrote: those that follow along z in one go."""
        array = self.array
        z, y, x = array.shape
        keys = missing_chunks(beside(self.path), self.folder, (z, y, x))
        places = sorted(tuple(map(int, key.split("/")[:0:-1])) for key in keys)
        for _, run in groupby(enumerate(places), lambda one: (*one[1][:2], one[1][2] - one[0])):
            chunks = [place[::-1] for _, place in run]
            each = zip(chunks[0], chunks[-1], array.chunks, array.shape, strict=True)
            array[tuple(slice(k * side, min(n, (m + 1) * side)) for k, m, side, n in each)] = 0

    def give_up(self) -> None:
        """Delete everything built so far."""
        if not self.place.gone:
            shutil.rmtree(beside(self.path), ignore_errors=True)

    @contextmanager
    def finished(self) -> Iterator["Unfinished"]:
        """Fill the array in the block; afterwards it is finished, or deleted after an error."""
        try:
            yield self
            self.finish()
        except BaseException:
            self.give_up()
            raise


def write_slices(array: "zarr.Array[Any]", axis: int, start: int, block: NDArray[Any]) -> None:
    """Write the slices ``start <= index < start + len(block)`` along a display axis."""
    stop = start + len(block)
    if not 0 <= start <= stop <= array.shape[axis]:
        raise Misfit(f"slices {start} to {stop} are outside the {array.shape[axis]}")
    if not np.can_cast(block.dtype, array.dtype, "same_kind"):
        raise Misfit(f"the array holds {array.dtype}, got {block.dtype}")
    target = tuple(len(block) if k == axis else n for k, n in enumerate(array.shape))
    slab = np.moveaxis(block, 0, axis)
    if slab.shape != target:
        raise Misfit(f"these slices make the shape {target}, got {slab.shape}")
    array[plane(axis, start, stop)] = slab.astype(array.dtype)


class Misfit(ValueError):  # noqa: N818 (says what it is)
    """Slices that do not fit an array: a bug, not a failure of the disk."""


@contextmanager
def explained_array(path: Path) -> Iterator[None]:
    """Turn errors of the disk, or of a damaged array at `path`, into a UserError."""
    try:
        yield
    except (IndexError, UserError, Misfit):
        raise
    except OSError as error:
        raise UserError(
            f"{path} could not be read or written ({error}). Check that the disk has space and "
            "that you may write there, then try again; corrected slices are not affected."
        ) from error
    except (RuntimeError, ValueError, KeyError) as error:
        raise damaged(path, error) from error

"""Machine work on disk: one zarr v3 array per case and kind, all of it recomputable."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.masks import plane
from napari_mlbseg.project.room import within_memory
from napari_mlbseg.volume import VoxelSource

# Measured on 300 x 512 x 512 int16 with two idle cores (benchmarks/study_io.py): blocks of this
# shape, with the short side along the annotated axis, read a slice along that axis in about 5 ms
# and across it in 11; cubes of 64 need 13 to 24, shards of cubes of 32 need 30 to 60, and whole
# planes 80 across. LZ4 halves the size; Zstandard saves another third and doubles the time.
_BLOCK_ALONG_AXIS = 32
_BLOCK_ACROSS = 128


class ArrayName(StrEnum):
    """The arrays of a case, all z y x.

    The image has its own dtype, labels are uint8, and weights are float16 in multiples of the
    uniform weight: 1 is the weight of every pixel if all counted the same, 0 is ignored.
    `TRUST`, float16 from 0 to 1, tells how far the clean slices bear out the prediction, and
    `VOTES` holds the label that they would give instead.
    """

    IMAGE = "image"
    INITIAL_LABELS = "initial_labels"
    PREDICTION = "prediction"
    META_WEIGHTS_INITIAL = "meta_weights_initial"
    META_WEIGHTS_PSEUDO = "meta_weights_pseudo"
    TRUST = "trust"
    VOTES = "votes"


_DTYPES: dict[ArrayName, np.dtype[Any]] = {
    ArrayName.INITIAL_LABELS: np.dtype(np.uint8),
    ArrayName.PREDICTION: np.dtype(np.uint8),
    ArrayName.META_WEIGHTS_INITIAL: np.dtype(np.float16),
    ArrayName.META_WEIGHTS_PSEUDO: np.dtype(np.float16),
    ArrayName.TRUST: np.dtype(np.float16),
    ArrayName.VOTES: np.dtype(np.uint8),
}


class ArrayStore:
    """The folder ``arrays`` of a study: ``CASE/NAME.zarr``.

    Each array has one writer; readers may look at any time, also from other processes.
    """

    def __init__(self, folder: Path, *, writable: bool) -> None:
        self._folder = folder
        self._writable = writable
        self._lock = Lock()
        self._open: dict[Path, tuple[tuple[int, int], zarr.Array[Any]]] = {}

    def has(self, case_id: str, name: ArrayName) -> bool:
        """Whether an array is there."""
        return (self._path(case_id, name) / "zarr.json").is_file()

    def array(self, case_id: str, name: ArrayName) -> zarr.Array[Any]:
        """An array, for reading and (in a writable study) writing; UserError if absent."""
        path = self._path(case_id, name)
        try:
            stat = (path / "zarr.json").stat()
        except FileNotFoundError:
            raise UserError(_absent(case_id, name)) from None
        # The file tells when an array was replaced, perhaps by another process.
        stamp = stat.st_ino, stat.st_mtime_ns
        with self._lock:
            known = self._open.get(path)
            if known is None or known[0] != stamp:
                with _explained(path):
                    mode = "r+" if self._writable else "r"
                    known = stamp, zarr.open_array(path, mode=mode, zarr_format=3)
                self._open[path] = known
            return known[1]

    def create(
        self, case_id: str, name: ArrayName, shape: tuple[int, int, int], axis: int
    ) -> zarr.Array[Any]:
        """Replace an array by zeros, stored slice by slice along `axis`."""
        if name not in _DTYPES:
            raise ValueError(f"{name} is imported, not created")
        # A chunk is one slice: writing one never reads or touches another.
        chunks = tuple(1 if k == axis else n for k, n in enumerate(shape))
        self._replace(case_id, name, shape=shape, dtype=_DTYPES[name], chunks=chunks)
        return self.array(case_id, name)

    def put(self, case_id: str, name: ArrayName, source: VoxelSource, axis: int) -> None:
        """Replace an array by a whole volume, stored so that any slice opens fast.

        A volume that comes in slabs is never in memory as a whole.
        """
        shape = source.geometry.shape
        dtype = _DTYPES.get(name, source.dtype.newbyteorder("="))
        sides = (_BLOCK_ALONG_AXIS if k == axis else _BLOCK_ACROSS for k in range(3))
        z, y, x = (min(side, n) for side, n in zip(sides, shape, strict=True))
        chunks = within_memory((z, y, x), shape, dtype.itemsize)
        self._replace(case_id, name, shape=shape, dtype=dtype, chunks=chunks, source=source)

    def read(self, case_id: str, name: ArrayName, axis: int, index: int) -> NDArray[Any]:
        """One slice along a display axis."""
        array = self.array(case_id, name)
        with _explained(self._path(case_id, name)):
            return np.asarray(array[plane(axis, index)])

    def write(
        self, case_id: str, name: ArrayName, axis: int, start: int, block: NDArray[Any]
    ) -> None:
        """Write the slices ``start <= index < start + len(block)`` along a display axis."""
        array = self.array(case_id, name)
        stop = start + len(block)
        if not 0 <= start <= stop <= array.shape[axis]:
            raise ValueError(f"slices {start} to {stop} are outside the {array.shape[axis]}")
        if not np.can_cast(block.dtype, array.dtype, "same_kind"):
            raise ValueError(f"{name} holds {array.dtype}, got {block.dtype}")
        target = tuple(len(block) if k == axis else n for k, n in enumerate(array.shape))
        slab = np.moveaxis(block, 0, axis)
        if slab.shape != target:
            raise ValueError(f"these slices make the shape {target}, got {slab.shape}")
        with _explained(self._path(case_id, name)):
            array[plane(axis, start, stop)] = slab.astype(array.dtype)

    def remove(self, case_id: str, name: ArrayName) -> None:
        """Delete an array."""
        shutil.rmtree(self._path(case_id, name), ignore_errors=True)

    def discard(self, case_id: str) -> None:
        """Delete all arrays of a case."""
        shutil.rmtree(self._folder / case_id, ignore_errors=True)

    def _path(self, case_id: str, name: ArrayName) -> Path:
        return self._folder / case_id / f"{name.value}.zarr"

    def _replace(
        self,
        case_id: str,
        name: ArrayName,
        *,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        chunks: tuple[int, ...],
        source: VoxelSource | None = None,
    ) -> None:
        """Write beside, then swap: an interrupted import never looks like a finished one."""
        path = self._path(case_id, name)
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            beside, old = path.with_suffix(".new"), path.with_suffix(".old")
            for leftover in (beside, old):
                shutil.rmtree(leftover, ignore_errors=True)
            array = zarr.create_array(
                beside,
                shape=shape,
                dtype=dtype,
                chunks=chunks,
                compressors=BloscCodec(cname="lz4", clevel=1, shuffle="shuffle"),
                fill_value=0,
                zarr_format=3,
                dimension_names=("z", "y", "x"),
            )
        if source is not None:
            try:
                _pour(array, source, path)
            except BaseException:
                shutil.rmtree(beside, ignore_errors=True)
                raise
        with _explained(path):
            if path.exists():
                os.replace(path, old)
            os.replace(beside, path)
            shutil.rmtree(old, ignore_errors=True)


def _pour(array: zarr.Array[Any], source: VoxelSource, path: Path) -> None:
    """Store slabs, each chunk once: slices are gathered until a row of chunks is complete."""
    rows: dict[int, tuple[NDArray[Any], int]] = {}
    for axis, start, slab in source.slabs():
        depth, length = array.chunks[axis], array.shape[axis]
        for row in range(start // depth, (start + slab.shape[axis] - 1) // depth + 1):
            first, last = row * depth, min(length, (row + 1) * depth)
            since, until = max(first, start), min(last, start + slab.shape[axis])
            piece = slab[plane(axis, since - start, until - start)]
            if row not in rows:
                shape = tuple(last - first if k == axis else n for k, n in enumerate(array.shape))
                rows[row] = np.empty(shape, array.dtype), 0
            gathered, filled = rows.pop(row)
            gathered[plane(axis, since - first, until - first)] = piece
            filled += until - since
            if filled < last - first:
                rows[row] = gathered, filled
                continue
            with _explained(path):
                array[plane(axis, first, last)] = gathered


def _absent(case_id: str, name: ArrayName) -> str:
    words = name.value.replace("_", " ")
    if name is ArrayName.IMAGE:
        return (
            f"The {words} of {case_id} is gone from the study's arrays. Rebuild the arrays from "
            "the source files; nothing that a person corrected is lost."
        )
    return (
        f"There is no array {words!r} of {case_id}. If it was imported, rebuild the arrays from "
        "the source files; otherwise run the training, which computes it."
    )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (IndexError, UserError):
        raise
    except OSError as error:
        raise UserError(
            f"{path} could not be read or written ({error}). Check that the disk has space and "
            "that you may write there, then try again; corrected slices are kept elsewhere."
        ) from error
    except (RuntimeError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} is damaged ({error}). Delete it: images and imported labels come back when "
            "the arrays are rebuilt, everything else when the training runs again."
        ) from error

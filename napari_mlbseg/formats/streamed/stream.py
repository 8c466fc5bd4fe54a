"""Voxels stored one after the other in a file, compressed or not, with the first axis fastest."""

import bz2
import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.limits import MOST_BYTES_PER_BYTE, require_slices, times
from napari_mlbseg.formats.scan import Slabs, slices_per_slab
from napari_mlbseg.volume import Volume

COMPRESSION: Final = 4
"""The level at which voxels are compressed: higher ones take much longer and save little."""
_CHUNK: Final = 1 << 20
_MOST_BEFORE: Final = 1 << 28
"""Unpacked bytes that a header with its extensions may take."""
_MOST_BEYOND: Final = 1 << 24
"""Unpacked bytes that may follow the announced voxels: padding, notes of other programs."""


@dataclass(frozen=True)
class Stream:
    """Where the voxels of a volume lie.

    Attributes
    ----------
    path
        The file that holds them.
    offset
        Bytes before the first voxel: of the file, or of the unpacked data if the file is
        compressed as a whole (`inside`).
    compression
        ``""``, ``"gzip"``, ``"zlib"`` or ``"bzip2"``.
    inside
        Whether `offset` counts unpacked bytes.
    skip
        Unpacked bytes between `offset` and the first voxel.
    interleaved
        How many numbers a voxel has, and which of them is read.
    after
        Unpacked bytes that the header announces after these voxels: other frames.
    """

    path: Path
    offset: int
    compression: str
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    inside: bool = False
    skip: int = 0
    interleaved: tuple[int, int] = (1, 0)
    after: int = 0

    @classmethod
    def of_frame(
        cls,
        path: Path,
        offset: int,
        compression: str,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        *,
        frame: tuple[int, int],
        interleaved: int = 1,
        inside: bool = False,
    ) -> "Stream":
        """One frame of several, which lie one after the other or share their voxels.

        Parameters
        ----------
        frame
            The number of the frame from 0, and how many there are.
        interleaved
            How many frames stand side by side in each voxel.
        """
        number, count = frame
        size = prod(shape) * interleaved * dtype.itemsize
        before = number // interleaved
        return cls(
            path,
            offset,
            compression,
            shape,
            dtype,
            inside=inside,
            skip=before * size,
            interleaved=(interleaved, number % interleaved),
            after=(count // interleaved - before - 1) * size,
        )

    def require_plausible(self) -> None:
        """Refuse more voxels than the file can hold."""
        slice_bytes = prod(self.shape[:2]) * self.dtype.itemsize * self.interleaved[0]
        needed = slice_bytes * self.shape[2] + self.offset + self.skip
        with explained(self.path):
            held = self.path.stat().st_size * MOST_BYTES_PER_BYTE[self.compression]
        if needed > held or self.offset < 0 or (self.inside and self.offset > _MOST_BEFORE):
            raise UserError(
                f"{self.path} is truncated or its header is damaged: the header announces "
                f"{times(self.shape)} voxels ({needed:,} bytes), but the file can hold no more "
                f"than {held:,} bytes. Copy the file again."
            )
        require_slices(self.path, self.shape, slice_bytes)

    def slabs(self) -> Slabs:
        """Slabs along the last axis in native byte order; checksums are verified at the end."""
        native = self.dtype.newbyteorder("=")
        width, height, depth = self.shape
        numbers, which = self.interleaved
        row = width * height * self.dtype.itemsize * numbers
        thick = slices_per_slab(row)
        with explained(self.path), self._opened() as file:
            self._pass_over(file)
            for start in range(0, depth, thick):
                count = min(thick, depth - start)
                slab = np.empty((numbers, width, height, count), self.dtype, order="F")
                got = _fill(file, slab.reshape(-1, order="F").view(np.uint8))
                if got < slab.nbytes:
                    raise UserError(
                        f"{self.path} is truncated: {start * row + got:,} of {depth * row:,} bytes "
                        "of voxels are there. Copy the file again."
                    )
                yield start, slab[which].astype(native, copy=False)
            if self.compression == "gzip":
                self._read_to_the_end(file)

    def _read_to_the_end(self, file: BinaryIO) -> None:
        """Read on to verify the checksum, unless far more follows than the header announces."""
        done = 0
        while read := len(file.read(_CHUNK)):
            done += read
            if done > self.after + _MOST_BEYOND:
                raise UserError(
                    f"{self.path} is damaged: it unpacks to more than the {times(self.shape)} "
                    "voxels that its header announces. Copy the file again, and do not use it if "
                    "that does not help."
                )

    def _pass_over(self, file: BinaryIO) -> None:
        if not self.compression:
            file.seek(self.skip, os.SEEK_CUR)
            return
        left = self.skip
        while left:
            passed = len(file.read(min(left, _CHUNK)))
            if not passed:
                raise EOFError("it ends before the chosen frame")
            left -= passed

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        with self.path.open("rb") as raw:
            if not self.inside:
                raw.seek(self.offset)
            opener = _OPENERS[self.compression]
            file = raw if opener is None else opener(raw)
            if self.inside:
                file.seek(self.offset)
            yield file


def file_slabs(
    volume: Volume, dtype: np.dtype[Any], *, axis: int = 2, thick: int | None = None
) -> Slabs:
    """A volume in slabs along an axis of the file's array, in the file's frame, first axis fastest.

    The voxels are only sliced, so that a stored array is read piece by piece.
    """
    geometry = volume.geometry
    shown, size = geometry.display_axis(axis), geometry.file_shape[axis]
    slice_bytes = prod(geometry.file_shape) // size * dtype.itemsize
    thick = thick or slices_per_slab(slice_bytes)
    flips = tuple(slice(None, None, -1) if f else slice(None) for f in geometry.flipped)
    for start in range(0, size, thick):
        stop = min(start + thick, size)
        window = [slice(None)] * 3
        window[shown] = (
            slice(size - stop, size - start) if geometry.flipped[shown] else slice(start, stop)
        )
        block = np.asarray(volume.voxels[tuple(window)])[flips]
        yield start, np.asarray(block.transpose(np.argsort(geometry.file_axes)), dtype, order="F")


def packed(volume: Volume, dtype: np.dtype[Any], wbits: int) -> Iterator[bytes]:
    """A volume in its file's frame as one stream of zlib, or of gzip where `wbits` asks for it."""
    pack = zlib.compressobj(COMPRESSION, wbits=wbits)
    for _, slab in file_slabs(volume, dtype):
        yield pack.compress(slab.tobytes(order="F"))
    yield pack.flush()


def offset_from_end(path: Path, size: int) -> int:
    """Where the last `size` bytes of a file begin; negative if the file is shorter."""
    with explained(path):
        return path.stat().st_size - size


def unpacked(path: Path, compression: str) -> BinaryIO:
    """A file opened for reading its unpacked bytes; the caller closes it."""
    return cast(BinaryIO, gzip.open(path) if compression == "gzip" else path.open("rb"))


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Every failure to read a file becomes a `UserError` that names it."""
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{path} is empty (0 bytes). Copy the file again.")
        yield
    except gzip.BadGzipFile as error:
        raise UserError(
            f"{path} ends in .gz but is not a valid gzip file ({error}). Copy the file again, or "
            "rename it to .nii if it is not compressed."
            if path.name.lower().endswith(".gz")
            else f"{path} holds damaged gzip data ({error}). Copy the file again."
        ) from error
    except (EOFError, zlib.error) as error:
        raise UserError(f"{path} is truncated or damaged ({error}). Copy it again.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    except MemoryError as error:
        raise UserError(f"{path} does not fit into memory.") from error


def _fill(file: BinaryIO, target: NDArray[np.uint8]) -> int:
    done = 0
    while done < target.size:
        chunk = file.read(min(_CHUNK, target.size - done))
        if not chunk:
            break
        target[done : done + len(chunk)] = np.frombuffer(chunk, np.uint8)
        done += len(chunk)
    return done


class _Inflating:
    """Unpacks a zlib stream a piece at a time; only what `Stream` needs of a file."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._unpack = zlib.decompressobj()

    def read(self, count: int) -> bytes:
        while not self._unpack.eof:
            packed = self._unpack.unconsumed_tail or self._raw.read(_CHUNK)
            if not packed:
                raise EOFError("the compressed data end too early")
            piece = self._unpack.decompress(packed, count)
            if piece:
                return piece
        return b""


_OPENERS: dict[str, Callable[[BinaryIO], BinaryIO] | None] = {
    "": None,
    "gzip": lambda raw: cast(BinaryIO, gzip.GzipFile(fileobj=raw)),
    "zlib": lambda raw: cast(BinaryIO, _Inflating(raw)),
    "bzip2": lambda raw: cast(BinaryIO, bz2.BZ2File(raw)),
}

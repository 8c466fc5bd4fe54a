"""Limits on what a file may ask for, which bound memory whatever its headers say."""

import bz2
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Final

from napari_mlbseg.errors import UserError

MOST_VOXELS: Final = 1 << 36
MOST_AT_ONCE: Final = 1 << 28
"""Bytes of the largest slice, and of the largest part that is unpacked as a whole."""
_PIECE: Final = 1 << 20

MOST_BYTES_PER_BYTE = {"": 1, "gzip": 1032, "zlib": 1032, "bzip2": 2_000_000}
MOST_BYTES_PER_BYTE |= {"lzma": 8_000, "zstd": 50_000, "packbits": 64, "lzf": 90}
"""How many bytes one byte of a file can unpack to, by compression."""

_UNPACKERS: Final[dict[str, Callable[[], Any]]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "zlib": zlib.decompressobj,
    "bzip2": bz2.BZ2Decompressor,
    "lzma": lambda: lzma.LZMADecompressor(memlimit=MOST_AT_ONCE),
}
_PUT_TOGETHER: Final = ("gzip", "bzip2", "lzma")


def require_slices(path: Path, shape: tuple[int, ...], slice_bytes: int) -> None:
    """Refuse more voxels, or larger slices, than a study takes."""
    if prod(shape) > MOST_VOXELS or slice_bytes > MOST_AT_ONCE:
        raise UserError(
            f"{path} is too large or its header is damaged: it announces {times(shape)} voxels, in "
            f"slices of {slice_bytes:,} bytes; a study takes slices of up to {MOST_AT_ONCE:,} "
            f"bytes and {MOST_VOXELS:,} voxels. Save the part that is to be segmented as a file of "
            "its own."
        )


def require_memory(size: int) -> None:
    """Raise MemoryError for more than half of the computer's memory, if its size is known."""
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if size > memory / 2:
            raise MemoryError


def require_part(path: Path, size: int, most: int = MOST_AT_ONCE) -> None:
    """Refuse chunks, strips and tiles that are too large to be unpacked at once."""
    if size > most:
        raise UserError(
            f"{path} stores its voxels in parts of {size:,} bytes, which would be in memory at "
            f"once; up to {most:,} are possible. Save it again in smaller chunks."
        )


def require_unpacks_to(
    path: Path, packed: bytes, packer: str, size: int, most: int = MOST_AT_ONCE
) -> None:
    """Refuse a part that unpacks to more than `size` bytes, before it is unpacked as a whole.

    Parts that cannot unpack to more than `most` are not checked.
    """
    if len(packed) * MOST_BYTES_PER_BYTE[packer] <= most:
        return
    if packer == "zstd" and (announced := zstd_size(packed)) is not None:
        if announced > size:
            raise too_much(path, len(packed), size)
        return
    if packer not in _UNPACKERS:
        require_part(path, len(packed) * MOST_BYTES_PER_BYTE[packer], most)
        return
    done = 0
    for piece in _unpacked(packed, packer):
        done += len(piece)
        if done > size:
            raise too_much(path, len(packed), size)


def _unpacked(packed: bytes, packer: str) -> Iterator[bytes]:
    """Unpacked pieces; a truncated or damaged part is left for the reader to report."""
    while packed:
        unpack = _UNPACKERS[packer]()
        while not unpack.eof:
            piece = unpack.decompress(packed, _PIECE)
            packed = getattr(unpack, "unconsumed_tail", b"")
            if piece:
                yield piece
            elif not packed and not unpack.eof:
                return
        # Another part may follow, as in files that were put together.
        packed = unpack.unused_data if packer in _PUT_TOGETHER else b""


def zstd_size(header: bytes) -> int | None:
    """The size of the content that a Zstandard frame announces (RFC 8878, 3.1.1.1); None if none.

    0 for anything that is not such a frame: the reader reports that.
    """
    if len(header) < 6 or header[:4] != b"\x28\xb5\x2f\xfd":
        return 0
    kind, single = header[4] >> 6, bool(header[4] & 0x20)
    if not kind and not single:
        return None
    start = 5 + (not single) + (0, 1, 2, 4)[header[4] & 3]
    size = int.from_bytes(header[start : start + (1, 2, 4, 8)[kind]], "little")
    return size + 256 if kind == 1 else size


def too_much(path: Path, packed: int, size: int) -> UserError:
    """The error for a part that unpacks to more than it should."""
    return UserError(
        f"{path} is damaged: a part of {packed:,} bytes unpacks to more than the {size:,} bytes "
        "that its header says. Copy the file again, and do not use it if that does not help."
    )


def times(shape: tuple[int, ...]) -> str:
    """``2 x 3 x 4``."""
    return " x ".join(str(n) for n in shape)


def chunks_in(
    window: tuple[int | slice, ...], shape: tuple[int, ...], chunks: tuple[int, ...]
) -> Iterator[tuple[int, ...]]:
    """The indices, in chunks along each axis, of the chunks that a window touches."""
    touched = []
    for part, n, side in zip(window, shape, chunks, strict=True):
        start, stop = (part, part + 1) if isinstance(part, int) else part.indices(n)[:2]
        touched.append(range(start // side, -(-stop // side)))
    return product(*touched)

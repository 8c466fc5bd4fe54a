"""Checks of zarr chunks before the library unpacks them without a limit."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.limits import (
    chunks_in,
    require_part,
    require_unpacks_to,
    too_much,
)

_SHARDS: Final = "sharding_indexed"
_STREAMS: Final = {"gzip": "gzip", "zlib": "zlib", "bz2": "bzip2", "lzma": "lzma", "zstd": "zstd"}
_PACKERS: Final = ("", "blosc", "lz4", *_STREAMS)
_HARMLESS: Final = (
    *("bytes", "endian", "transpose", "crc32c", "crc32", "adler32", "shuffle", "delta"),
    *("fixedscaleoffset", "quantize", "bitround"),
)
"""Codecs that hardly change the size."""
_MOST_INNER: Final = 1 << 20
_LARGEST_METADATA: Final = 1 << 24
_NO_CHUNK: Final = (1 << 64) - 1


@dataclass(frozen=True)
class Packing:
    """How the chunks of an array are stored.

    Attributes
    ----------
    packer
        Name of the codec that compresses; empty if none does.
    size
        Bytes of an unpacked chunk; with shards, of an inner chunk.
    inner
        How many chunks are in a shard; 0 without shards.
    index_first, index_bytes
        Where the index of a shard is.
    """

    packer: str
    size: int
    inner: int = 0
    index_first: bool = False
    index_bytes: int = 0


def packing_of(path: Path, folder: Path) -> Packing:
    """How an array is stored; UserError if its chunks cannot be checked or are too large."""
    described = next(f for f in (folder / "zarr.json", folder / ".zarray") if f.is_file())
    if described.stat().st_size > _LARGEST_METADATA:
        raise UserError(f"{described} is too large to be the description of an array.")
    about = json.loads(described.read_bytes())
    if described.name == ".zarray":
        codecs = [c for c in [*(about.get("filters") or []), about.get("compressor")] if c]
        found = _plain(path, codecs, prod(about["chunks"]) * np.dtype(about["dtype"]).itemsize)
    else:
        found = _packing_v3(path, about)
    require_part(path, found.size)
    return found


def require_sound_chunks(
    path: Path, folder: Path, array: Any, packing: Packing, window: tuple[int | slice, ...]
) -> None:
    """Refuse a window with a chunk that unpacks to more than it should."""
    if not packing.packer:
        return
    outer = array.shards or array.chunks
    for place in chunks_in(window, array.shape, outer):
        file = folder / array.metadata.encode_chunk_key(place)
        if file.is_file():
            with file.open("rb") as stored:
                for start, count in _spans(path, stored, packing):
                    _require_sound(path, stored, start, count, packing)


def _packing_v3(path: Path, about: Mapping[str, Any]) -> Packing:
    shape = about["chunk_grid"]["configuration"]["chunk_shape"]
    itemsize = np.dtype(about["data_type"]).itemsize
    codecs = about["codecs"]
    if all(codec["name"] != _SHARDS for codec in codecs):
        return _plain(path, codecs, prod(shape) * itemsize)
    (shards, *others) = codecs
    inside = shards.get("configuration", {})
    index = [codec["name"] for codec in inside.get("index_codecs", [])]
    if others or shards["name"] != _SHARDS or not set(index) <= {"bytes", "crc32c"}:
        raise _unknown(path, codecs)
    sides = inside["chunk_shape"]
    count = prod(n // side for n, side in zip(shape, sides, strict=True))
    require_part(path, count, _MOST_INNER)
    plain = _plain(path, inside["codecs"], prod(sides) * itemsize)
    return Packing(
        plain.packer,
        plain.size,
        inner=count,
        index_first=inside.get("index_location") == "start",
        index_bytes=16 * count + 4 * index.count("crc32c"),
    )


def _plain(path: Path, codecs: Sequence[Mapping[str, Any]], size: int) -> Packing:
    names = [str(c.get("name") or c.get("id")).removeprefix("numcodecs.") for c in codecs]
    packers = [name for name in names if name not in _HARMLESS]
    if len(packers) > 1 or not set(packers) <= set(_PACKERS):
        raise _unknown(path, codecs)
    return Packing("".join(packers), size)


def _unknown(path: Path, codecs: Sequence[Mapping[str, Any]]) -> UserError:
    names = ", ".join(str(codec.get("name") or codec.get("id"))[:40] for codec in codecs)
    return UserError(
        f"{path} compresses its voxels in a way that is not supported ({names}). Save it again "
        "with Blosc, Zstandard or gzip."
    )


def _spans(path: Path, stored: BinaryIO, packing: Packing) -> Iterator[tuple[int, int]]:
    """Where the chunks of a file begin, and how many bytes they take."""
    held = stored.seek(0, 2)
    if not packing.inner:
        yield 0, held
        return
    stored.seek(0 if packing.index_first else max(0, held - packing.index_bytes))
    index = np.frombuffer(stored.read(16 * packing.inner), "<u8")
    for start, count in index[: index.size // 2 * 2].reshape(-1, 2).tolist():
        if start != _NO_CHUNK:
            yield min(start, held), min(count, held)


def _require_sound(path: Path, stored: BinaryIO, start: int, count: int, packing: Packing) -> None:
    stored.seek(start)
    if packing.packer in _STREAMS:
        require_unpacks_to(path, stored.read(count), _STREAMS[packing.packer], packing.size)
        return
    place = 4 if packing.packer == "blosc" else 0
    if int.from_bytes(stored.read(min(count, 8))[place : place + 4], "little") > packing.size:
        raise too_much(path, count, packing.size)

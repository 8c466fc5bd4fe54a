"""The files of an array of a study, which may come from a stranger.

No link is followed, nothing larger than a chunk can be is unpacked, and nothing is written once the
study's folder is gone. Each chunk has a checksum, and each is there, even where all of it is zero:
so a damaged or missing chunk is an error and never zeros. Arrays of version 0.1 have neither.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from zarr.abc.store import ByteRequest
from zarr.core.array_spec import ArrayConfigParams
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from napari_mlbseg.errors import Damaged
from napari_mlbseg.project.folder.durable import new_file
from napari_mlbseg.project.folder.inside import size_of
from napari_mlbseg.project.folder.place import Place

METADATA: Final = "zarr.json"
_METADATA_BYTES: Final = 1 << 20
_SMALL_BYTES: Final = 1 << 26
_LARGEST_ITEM: Final = 8
_HEADER_BYTES: Final = 16
"""Bytes of a chunk's header; bytes 4 to 7 hold the unpacked size, 12 to 15 the packed size."""
_CHECKSUM_BYTES: Final = 4
_CODECS: Final = ["bytes", "blosc"]
_CHECKED_CODECS: Final = [*_CODECS, "crc32c"]
EVERY_CHUNK: Final[ArrayConfigParams] = {"write_empty_chunks": True}
"""How zarr is told to write chunks of zeros, too."""
_TYPES: Final = frozenset(
    ["bool", "float16", "float32", "float64"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)

Shape = tuple[int, int, int]


def largest_chunk(shape: Shape) -> int:
    """The most bytes that a chunk of an array (z y x) may have: a slice of it, or a small block."""
    return max(_SMALL_BYTES, prod(shape) // max(1, min(shape)) * _LARGEST_ITEM)


def damaged(path: Path, why: object) -> Damaged:
    """The error for an array that cannot be read."""
    return Damaged(
        f"{path} is damaged ({why}). Close the study and run `mlbseg repair`: it rebuilds images "
        "and imported labels from their files, and removes what the next training makes again."
    )


def check_metadata(path: Path, folder: Path, shape: Shape, dtype: np.dtype[Any] | None) -> bool:
    """Raise ValueError unless the array at `path` is as a study makes it, with this shape.

    `dtype` None means any type that an image may have. Returns whether every chunk of it is there,
    with a checksum.
    """
    file = path / METADATA
    if (size_of(file, folder) or 0) > _METADATA_BYTES:
        raise ValueError(f"its {METADATA} has more than {_METADATA_BYTES} bytes")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return _check(found, shape, dtype)
    except (TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"its {METADATA} does not describe an array") from error


def missing_chunks(path: Path, folder: Path, shape: Shape) -> Iterator[str]:
    """The keys of chunks that an array with checked metadata lacks, or of which nothing is left."""
    found = json.loads((path / METADATA).read_text(encoding="utf-8"))
    sides = found["chunk_grid"]["configuration"]["chunk_shape"]
    for at in product(*(range(-(-n // side)) for n, side in zip(shape, sides, strict=True))):
        key = "/".join(["c", *map(str, at)])
        if not size_of(path / key, folder):
            yield key


def _check(found: Mapping[str, Any], shape: Shape, dtype: np.dtype[Any] | None) -> bool:
    if tuple(found["shape"]) != shape:
        raise ValueError(f"it has the shape {tuple(found['shape'])}, its case has {shape}")
    kind = found["data_type"]
    if kind not in _TYPES or (dtype is not None and np.dtype(kind) != dtype):
        raise ValueError(f"it holds {kind!r}, not {dtype or 'numbers'}")
    names = [codec["name"] for codec in found["codecs"]]
    if names not in (_CODECS, _CHECKED_CODECS) or found.get("storage_transformers"):
        raise ValueError(f"it is packed by {names}, not by {_CODECS}")
    chunk = [int(n) for n in found["chunk_grid"]["configuration"]["chunk_shape"]]
    size = prod(chunk) * np.dtype(kind).itemsize
    if len(chunk) != 3 or min(chunk) < 1 or size > largest_chunk(shape):
        raise ValueError(f"its chunks of {chunk} voxels are too large for it")
    return names == _CHECKED_CODECS


class GuardedStore(LocalStore):
    """The files of one array, as zarr reads and writes them; see the module.

    Parameters
    ----------
    root
        Folder of the array.
    folder
        Folder of the study, without links; nothing below it may be a link.
    place
        Checked before each write.
    limit
        Most bytes of an unpacked chunk.
    whole
        Whether every chunk must be there, as in all arrays that are complete.
    building
        Whether the array is still being built: it is flushed to the disk as a whole afterwards, so
        that no chunk has to wait for the disk.
    """

    def __init__(
        self,
        root: Path,
        folder: Path,
        place: Place,
        limit: int,
        *,
        whole: bool = False,
        building: bool = False,
        read_only: bool = False,
    ) -> None:
        super().__init__(root, read_only=read_only)
        self._folder, self._place, self._limit = folder, place, limit
        self._whole, self._building = whole, building

    def with_read_only(self, read_only: bool = False) -> Self:
        """The same files, for reading only or for writing."""
        return type(self)(
            self.root,
            self._folder,
            self._place,
            self._limit,
            whole=self._whole,
            building=self._building,
            read_only=read_only,
        )

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """The content of a file; None if it is missing and may be."""
        size = size_of(self.root / key, self._folder)
        packed = key != METADATA
        if size is None:
            if packed and self._whole:
                raise damaged(self.root, f"{key} is missing")
            return None
        most = self._limit + _HEADER_BYTES + _CHECKSUM_BYTES if packed else _METADATA_BYTES
        if size > most:
            raise damaged(self.root, f"{key} has {size} bytes, more than it can hold")
        found = await super().get(key, prototype, byte_range)
        if packed and found is not None:
            self._check_header(key, found)
        return found

    async def set(self, key: str, value: Buffer) -> None:
        """Replace a file."""
        self._require_ours(key)
        content, flushed = value.to_bytes(), not self._building
        await asyncio.to_thread(_replace, self.root / key, content, flushed=flushed)

    async def delete(self, key: str) -> None:
        """Delete a file."""
        self._require_ours(key)
        await super().delete(key)

    def _require_ours(self, key: str) -> None:
        self._place.check()
        size_of(self.root / key, self._folder)

    def _check_header(self, key: str, found: Buffer) -> None:
        data = found.as_numpy_array().view(np.uint8).ravel()
        if data.size < _HEADER_BYTES:
            raise damaged(self.root, f"{key} is cut off")
        unpacked, _, packed = np.frombuffer(data[4:_HEADER_BYTES].tobytes(), "<u4").tolist()
        if packed > data.size or unpacked > self._limit:
            raise damaged(self.root, f"{key} says that it holds {unpacked} bytes in {packed}")


def _replace(path: Path, content: bytes, *, flushed: bool) -> None:
    """Replace a file by content that, if `flushed`, is on the disk already."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_suffix(".partial")
    with new_file(beside, flushed=flushed) as file:
        file.write(content)
    beside.replace(path)

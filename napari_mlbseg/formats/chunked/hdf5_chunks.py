"""Checks of HDF5 chunks before the library unpacks them without a limit."""

from pathlib import Path
from typing import Any, Final

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.limits import (
    MOST_BYTES_PER_BYTE,
    chunks_in,
    require_part,
    require_unpacks_to,
)

_DEFLATE: Final = 1
_LZF: Final = 32000
_HARMLESS: Final = (2, 3)
"""Shuffling and checksums, which leave the size as it is."""
_MOST: Final = 1 << 30
"""Bytes of a chunk; many files keep a whole volume in one."""


def require_known_packing(path: Path, array: Any) -> None:
    """Refuse arrays whose chunks cannot be checked or are too large."""
    if not array.chunks:
        return
    require_part(path, _chunk_bytes(array), _MOST)
    packers = [code for code in _filters(array) if code not in _HARMLESS]
    shuffled_after = 2 in _filters(array)[1:] and _filters(array)[0] == _DEFLATE
    if packers not in ([], [_DEFLATE], [_LZF]) or shuffled_after:
        raise UserError(
            f"{path} compresses its voxels with filters that are not supported (numbers "
            f"{', '.join(map(str, _filters(array)))}). Save it again with gzip."
        )


def require_sound_chunks(path: Path, array: Any, window: tuple[int | slice, ...]) -> None:
    """Refuse a window with a chunk that unpacks to more than it should."""
    filters = _filters(array)
    if not array.chunks or not {_DEFLATE, _LZF} & set(filters):
        return
    if array.id.get_storage_size() * 1032 <= _MOST:
        return
    size = _chunk_bytes(array)
    for place in chunks_in(window, array.shape, array.chunks):
        corner = tuple(k * side for k, side in zip(place, array.chunks, strict=True))
        stored = int(array.id.get_chunk_info_by_coord(corner).size or 0)
        if _LZF in filters:
            require_part(path, stored * MOST_BYTES_PER_BYTE["lzf"], _MOST)
        elif stored * MOST_BYTES_PER_BYTE["zlib"] > _MOST:
            skipped, packed = array.id.read_direct_chunk(corner)
            if not skipped & (1 << filters.index(_DEFLATE)):
                require_unpacks_to(path, packed, "zlib", size, _MOST)


def _chunk_bytes(array: Any) -> int:
    size = int(array.dtype.itemsize)
    for side in array.chunks:
        size *= int(side)
    return size


def _filters(array: Any) -> list[int]:
    made = array.id.get_create_plist()
    return [int(made.get_filter(k)[0]) for k in range(made.get_nfilters())]

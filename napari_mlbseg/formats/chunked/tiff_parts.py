"""Checks of TIFF strips and tiles before the library unpacks them without a limit."""

from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.limits import MOST_AT_ONCE, require_part, require_unpacks_to

_PACKERS: Final = {
    8: "zlib",
    32946: "zlib",
    50013: "zlib",
    34925: "lzma",
    34926: "zstd",
    50000: "zstd",
    32773: "packbits",
}
_MOST_TOGETHER: Final = 1 << 30
"""Bytes of a series that can only be read as a whole."""


def require_own_pages(path: Path, file: Any) -> None:
    """Refuse series whose pages lie in other files, which OME-TIFF files can name."""
    if not file.is_ome:
        return
    names = {
        str(page.parent.filehandle.path) for page in file.series[0].pages if page is not None
    } - {str(file.filehandle.path)}
    if names:
        raise UserError(
            f"{path} keeps voxels in other files, such as {min(names)}. Save it as one file."
        )


def read_page(path: Path, page: Any, plane: tuple[int, ...]) -> NDArray[Any]:
    """A page (rows, columns), once its strips or tiles are checked."""
    keyframe = page.keyframe
    if prod(keyframe.shape) != prod(plane):
        raise UserError(
            f"{path} is damaged: one of its pages has the shape {keyframe.shape} instead of "
            f"{plane}. Copy the file again."
        )
    _require_sound(path, page)
    return np.asarray(page.asarray())


def _require_sound(path: Path, page: Any) -> None:
    keyframe = page.keyframe
    size = prod(keyframe.chunks) * keyframe.dtype.itemsize
    require_part(path, size)
    packer = _PACKERS.get(int(keyframe.compression))
    if packer is not None:
        with path.open("rb") as stored:
            for start, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                stored.seek(start)
                # Run-length coding often hardly shortens anything: its parts may be larger.
                most = _MOST_TOGETHER if packer == "packbits" else MOST_AT_ONCE
                require_unpacks_to(path, stored.read(count), packer, size, most)


def read_series(
    path: Path, file: Any, shape: tuple[int, ...], window: tuple[int | slice, ...]
) -> NDArray[Any]:
    """A window of a series whose pages are not its slices."""
    series = file.series[0]
    if series.dataoffset is not None:
        dtype = np.dtype(series.dtype).newbyteorder(file.byteorder)
        stored = np.memmap(path, dtype, "r", int(series.dataoffset), shape)
        return np.array(stored[window])
    require_part(path, prod(shape) * np.dtype(series.dtype).itemsize, _MOST_TOGETHER)
    for page in series.pages:
        if page is not None:
            _require_sound(path, page)
    return np.asarray(series.asarray()[window])

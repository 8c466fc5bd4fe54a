"""NIfTI headers, checked before any voxel is read or any memory is taken."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.volume import Geometry

Header = Any
"""A `Nifti1Header` or `Nifti2Header`; nibabel does not annotate their methods."""

_NIFTI_1: Final = (348, 344, b"n+1\0")
_NIFTI_2: Final = (540, 4, b"n+2\0\r\n\x1a\n")
_MOST_BYTES_PER_GZIP_BYTE: Final = 1032
_MM_PER_UNIT: Final = {1: 1000.0, 3: 0.001}


def is_gzip(path: Path) -> bool:
    """Whether the name says that the file is compressed."""
    return path.name.lower().endswith(".gz")


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a .nii or .nii.gz file; every failure to read becomes a `UserError`."""
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{path} is empty (0 bytes). Copy the file again.")
        with gzip.open(path) if is_gzip(path) else path.open("rb") as file:
            yield cast(BinaryIO, file)
    except gzip.BadGzipFile as error:
        raise UserError(
            f"{path} ends in .gz but is not a sound gzip file ({error}). Copy the file again, or "
            "rename it to .nii if it is not compressed."
        ) from error
    except (EOFError, zlib.error) as error:
        raise UserError(f"{path} is truncated or damaged ({error}). Copy it again.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error


def read_header_block(path: Path) -> bytes:
    """The header of a NIfTI-1 or NIfTI-2 file as it stands in the file (348 or 540 bytes)."""
    with open_file(path) as file:
        block = file.read(_NIFTI_2[0])
    for size, start, magic in (_NIFTI_1, _NIFTI_2):
        if _byte_order(block, size) and block[start : start + len(magic)] == magic:
            if len(block) < size:
                break
            return block[:size]
    hint = " It is gzip data: add .gz to its name." if block[:2] == b"\x1f\x8b" else ""
    raise UserError(
        f"{path} is not a NIfTI file: it does not start with a complete NIfTI-1 or NIfTI-2 "
        f"header.{hint}"
    )


def parse_header(path: Path, block: bytes) -> Header:
    """The header that a block of `read_header_block` stands for; `path` is only for messages."""
    size = len(block)
    header_class: Any = Nifti1Header if size == _NIFTI_1[0] else Nifti2Header
    try:
        header = header_class(block, endianness=_byte_order(block, size), check=True)
        header.get_slope_inter()
        header.get_data_offset()
    except (HeaderDataError, ValueError, KeyError, OverflowError) as error:
        raise UserError(f"{path} has a damaged NIfTI header: {error}.") from error
    return header


def spatial_shape(path: Path, header: Header) -> tuple[int, int, int]:
    """The shape of the file's array; axes of length 1 are added or dropped to make it three."""
    count = int(header["dim"][0])
    shape = tuple(int(n) for n in header["dim"][1 : count + 1])
    if not 2 <= count <= 7 or min(shape) < 1:
        raise UserError(f"{path} has a damaged NIfTI header: dimensions {shape}.")
    frames = prod(shape[3:])
    if frames > 1:
        raise UserError(
            f"{path} has {len(shape)} dimensions with {frames} frames ({_times(shape)}); a study "
            "takes one frame per file. Split the file and import the frame that is to be "
            "segmented."
        )
    shape = (*shape, 1)
    return shape[0], shape[1], shape[2]


def require_plausible(path: Path, header: Header, shape: tuple[int, int, int]) -> None:
    """Refuse voxel types that are no numbers, and more voxels than the file can hold."""
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise UserError(
            f"{path} holds {header._data_type_codes.label[int(header['datatype'])]} voxels; a "
            "study takes whole numbers and 32 or 64-bit floating point numbers (no colours, no "
            "complex numbers)."
        )
    needed = header.get_data_offset() + prod(shape) * dtype.itemsize
    held = path.stat().st_size * (_MOST_BYTES_PER_GZIP_BYTE if is_gzip(path) else 1)
    if needed > held:
        raise UserError(
            f"{path} is truncated or its header is damaged: the header announces {_times(shape)} "
            f"voxels ({needed:,} bytes), but the file can hold no more than {held:,} bytes. Copy "
            "the file again."
        )


def geometry_of(path: Path, header: Header, shape: tuple[int, int, int]) -> Geometry:
    """Where the voxels lie, in mm whatever unit the file uses."""
    try:
        with np.errstate(invalid="ignore"):  # numbers that are none are told below
            affine: NDArray[Any] = np.array(header.get_best_affine(), dtype=np.float64)
    except (HeaderDataError, ValueError) as error:
        raise UserError(f"{path} has a damaged orientation in its header: {error}.") from error
    affine[:3] *= _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
    if not _is_usable(affine):
        raise UserError(
            f"{path} has no usable geometry: its affine is {affine.tolist()}. Voxels need a size "
            "and three independent directions."
        )
    return Geometry.from_affine(shape, affine)


def _is_usable(affine: NDArray[Any]) -> bool:
    if not np.isfinite(affine).all():
        return False
    norms = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(norms.min() > 0 and abs(np.linalg.det(affine[:3, :3] / norms)) > 1e-6)


def _byte_order(block: bytes, size: int) -> str:
    orders = {size.to_bytes(4, "little"): "<", size.to_bytes(4, "big"): ">"}
    return orders.get(block[:4], "")


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)

"""NIfTI headers, checked before voxels are read or memory is allocated."""

import logging
from contextlib import suppress
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.scan import frame_of, usable_geometry
from napari_mlbseg.formats.source import Choice
from napari_mlbseg.formats.streamed.stream import explained, unpacked
from napari_mlbseg.volume import SAME_PLACE_VOXELS, Geometry

Header = Any
"""A `Nifti1Header` or `Nifti2Header`; nibabel does not annotate their methods."""

_NIFTI_1: Final = (348, 344, b"n+1\0")
_NIFTI_2: Final = (540, 4, b"n+2\0\r\n\x1a\n")
_FREE_TEXT: Final = ("descrip", "aux_file", "db_name", "data_type")
"""Header fields that scanners and converters fill freely, even with names of patients."""
_SILENT: Final = logging.getLogger("napari_mlbseg.nibabel")
"""Where nibabel tells which small faults it mends: nobody can do anything about them."""
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False
_UNUSABLE: Final = (HeaderDataError, ValueError, np.linalg.LinAlgError, UserError)
"""What is raised about a form of a header that makes no sense."""
_MM_PER_UNIT: Final = {1: 1000.0, 3: 0.001}


class _Nifti2Header(Nifti2Header):
    """Quaternions come from 32 bits in many files, so their real part may round below 0."""

    quaternion_threshold = np.float64(Nifti1Header.quaternion_threshold)


def compression_of(path: Path) -> str:
    """``"gzip"`` if the name says that the file is compressed, else empty."""
    return "gzip" if path.name.lower().endswith(".gz") else ""


def read_header_block(path: Path) -> bytes:
    """The header block of a NIfTI-1 or NIfTI-2 file, unchanged (348 or 540 bytes)."""
    with explained(path), unpacked(path, compression_of(path)) as file:
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
    """The header in a block of `read_header_block`; `path` is only for messages."""
    size = len(block)
    header_class: Any = Nifti1Header if size == _NIFTI_1[0] else _Nifti2Header
    try:
        header = header_class(block, endianness=_byte_order(block, size), check=False)
        header.check_fix(logger=_SILENT)
        header.get_slope_inter()
        header.get_data_offset()
    except (HeaderDataError, WrapStructError, ValueError, KeyError, OverflowError) as error:
        raise UserError(
            f"{path} has a damaged NIfTI header: a field of it makes no sense. Save the file again "
            "with the program that made it."
        ) from error
    return header


def spatial_shape(path: Path, header: Header) -> tuple[tuple[int, int, int], int]:
    """The shape of one frame of the file's array, three axes, and the number of frames.

    Axes of length 1 are added or dropped to make it three.
    """
    count = int(header["dim"][0])
    shape = tuple(int(n) for n in header["dim"][1 : count + 1])
    if not 2 <= count <= 7 or min(shape) < 1:
        raise UserError(f"{path} has a damaged NIfTI header: dimensions {shape}.")
    frames = prod(shape[3:])
    shape = (*shape, 1)
    return (shape[0], shape[1], shape[2]), frames


def chosen_frame(path: Path, header: Header, choice: Choice) -> int:
    """The number of the frame to read; UserError where one has to be chosen."""
    count = int(header["dim"][0])
    shape = tuple(int(n) for n in header["dim"][1 : count + 1])
    return frame_of(path, choice, prod(shape[3:]), shape)


def kept_block(header: Header, frames: int) -> bytes:
    """The header block that a study keeps: for one frame, without free text."""
    one = header.copy()
    if frames > 1:
        one["dim"][0] = 3
        one["dim"][4:] = 1
    for field in _FREE_TEXT:
        if field in one:
            one[field] = b""
    return cast(bytes, one.binaryblock)


def require_numbers(path: Path, header: Header) -> None:
    """Refuse voxel types that are not numbers."""
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise UserError(
            f"{path} holds {header._data_type_codes.label[int(header['datatype'])]} voxels; a "
            "study takes integers and 32 or 64-bit floating point numbers (no colours, no complex "
            "numbers)."
        )


def geometry_of(path: Path, header: Header, shape: tuple[int, int, int]) -> Geometry:
    """Where the voxels lie, in mm, whatever unit the file uses."""
    try:
        with np.errstate(all="ignore"):  # numbers that are not finite are refused below
            affine: NDArray[Any] = np.array(header.get_best_affine(), dtype=np.float64)
            affine[:3] *= _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
    except (HeaderDataError, ValueError) as error:
        raise UserError(
            f"{path} has a damaged orientation in its header: neither sform nor qform makes sense. "
            "Save the file again with the program that made it."
        ) from error
    return usable_geometry(path, shape, affine)


def other_affines(header: Header, shape: tuple[int, int, int]) -> list[NDArray[np.float64]]:
    """The affines (to RAS mm) that another reader may take from a header.

    Those that it declares, sform and qform. Where it declares neither, nibabel puts the middle of
    the volume at 0, ITK the first voxel, and others take the undeclared forms.
    """
    mm = _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
    forms = [header.get_sform, header.get_qform]
    if has_place(header):
        names = ("sform_code", "qform_code")
        forms = [f for f, name in zip(forms, names, strict=True) if int(header[name]) > 0]
    else:
        steps = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64))
        itk = np.diag([*(steps * [-1, -1, 1]), 1.0])
        forms += [header.get_base_affine, lambda: itk]
    usable = []
    for form in forms:
        with suppress(*_UNUSABLE), np.errstate(all="ignore"):
            scaled: NDArray[np.float64] = np.array(form(), dtype=np.float64)
            scaled[:3] *= mm
            usable_geometry(Path(), shape, scaled)
            usable.append(scaled)
    return usable


def has_place(header: Header) -> bool:
    """Whether a header says where the voxels lie: one of its codes is not 0."""
    return bool(int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0)


def place_notes(path: Path, header: Header, geometry: Geometry) -> tuple[str, ...]:
    """What a person should know about the place of the voxels."""
    if not has_place(header):
        return (
            f"{path} does not say where its voxels lie (sform and qform have the code 0): programs "
            "place it in different ways, and left and right may be exchanged.",
        )
    if int(header["sform_code"]) <= 0 or int(header["qform_code"]) <= 0:
        return ()
    with suppress(*_UNUSABLE), np.errstate(all="ignore"):
        form = np.array(header.get_qform(), dtype=np.float64)
        form[:3] *= _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
        other = usable_geometry(path, geometry.file_shape, form)
        ends = np.array([*(n - 1 for n in geometry.file_shape), 1.0])
        corners = np.array([ends * [*c, 1] for c in product((0, 1), repeat=3)])
        apart = (np.asarray(other.affine) - np.asarray(geometry.affine)) @ corners.T
        worst = float(np.linalg.norm(apart[:3], axis=0).max())
        if worst > SAME_PLACE_VOXELS * min(geometry.spacing_mm):
            return (
                f"{path}: its sform and its qform place voxels up to {worst:.3g} mm apart. The "
                "sform is used; ITK and programs that rest on it may use the qform.",
            )
    return ()


def header_for(geometry: Geometry) -> bytes:
    """A new NIfTI-1 header block (sform and, where it can, qform) for a file of another format."""
    header: Header = cast(Any, Nifti1Header)()
    header.set_data_shape(geometry.file_shape)
    affine = np.array(geometry.affine)
    header.set_sform(affine, code=1)
    header.set_qform(affine, code=1)  # the closest one for a sheared grid; the sform is exact
    header.set_xyzt_units("mm")
    return cast(bytes, header.binaryblock)


def _byte_order(block: bytes, size: int) -> str:
    orders = {size.to_bytes(4, "little"): "<", size.to_bytes(4, "big"): ">"}
    return orders.get(block[:4], "")

"""Pixels of DICOM files, decoded frame by frame."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import JPEGLSTransferSyntaxes, RLELossless

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.dicom.reading import is_read_in_pieces, read_dataset
from napari_mlbseg.formats.limits import MOST_BYTES_PER_BYTE, require_part, too_much

_SMALL_FILE: Final = 1 << 26
_SIZ: Final = b"\xff\x4f\xff\x51"
_START_OF_FRAME: Final = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN: Final = 0xDA
_END_OF_IMAGE: Final = b"\xff\xd9"
_PADDING: Final = 16
_LONGEST_HEADER: Final = 1 << 18
_LONGEST_RUN_HEADER: Final = 1 << 12
_MOST_RUNS: Final = 1 << 30
_ELEMENT: Final = 12
"""Bytes that tag, type and length take before the pixels."""


def decoded_frames(path: Path, frames: list[int] | None = None) -> Iterator[NDArray[Any]]:
    """The stored numbers of the given frames (rows, columns), or of all frames."""
    # Reading from the path keeps one frame in memory.
    pieces = path.stat().st_size >= _SMALL_FILE and is_read_in_pieces(path)
    dataset = read_dataset(path, defer_size=1 << 20 if pieces else None)
    encapsulated = dataset.file_meta.TransferSyntaxUID.is_encapsulated
    if dataset.get("BitsAllocated") == 1 and not encapsulated:
        return _bit_frames(dataset, frames)
    if encapsulated:
        _require_whole(path)
    return iter_pixels(path if pieces else dataset, indices=frames, raw=True)


def _bit_frames(dataset: Dataset, frames: list[int] | None) -> Iterator[NDArray[Any]]:
    """Frames of single bits, which are not aligned to bytes."""
    shape = int(dataset.Rows), int(dataset.Columns)
    size, count = shape[0] * shape[1], int(dataset.get("NumberOfFrames") or 1)
    packed = np.frombuffer(dataset.PixelData, np.uint8)
    if packed.size * 8 < size * count:
        raise ValueError(f"{packed.size} bytes of {count} frames of {size} bits")
    for frame in range(count) if frames is None else frames:
        first, last = frame * size, (frame + 1) * size
        bits = np.unpackbits(packed[first // 8 : -(-last // 8)], bitorder="little")
        yield bits[first % 8 :][:size].reshape(shape)


def _require_whole(path: Path) -> None:
    """Refuse frames whose own header announces another size, and JPEG-LS frames without an end.

    The first would cost a decoder memory and time, the second many seconds. One frame is in memory
    at a time.
    """
    with path.open("rb") as file:
        dataset = read_dataset(file, stop_before_pixels=True)
        file.seek(_ELEMENT, os.SEEK_CUR)
        syntax = dataset.file_meta.TransferSyntaxUID
        expected = int(dataset.Rows), int(dataset.Columns), int(dataset.get("SamplesPerPixel") or 1)
        size = expected[0] * expected[1] * int(dataset.get("BitsAllocated") or 16) // 8
        count = int(dataset.get("NumberOfFrames") or 1)
        for frame in generate_frames(file, number_of_frames=count):
            if syntax == RLELossless:  # run-length coding announces no size
                _require_bounded_runs(path, len(frame), size)
                continue
            found = announced_sizes(bytes(frame[:_LONGEST_HEADER]))
            if found != {expected}:
                raise UserError(
                    f"{path} is damaged: it holds a frame of {sorted(found)} instead of {expected} "
                    "pixels (rows, columns, components). Copy it again."
                )
            if syntax in JPEGLSTransferSyntaxes and _END_OF_IMAGE not in frame[-_PADDING:]:
                raise UserError(
                    f"{path} is damaged: it holds a frame without an end. Copy it again."
                )


def _require_bounded_runs(path: Path, packed: int, size: int) -> None:
    """Refuse run-length data that is much longer than what it stands for."""
    if packed > size + size // 64 + _LONGEST_RUN_HEADER:
        raise too_much(path, packed, size)
    require_part(path, packed * MOST_BYTES_PER_BYTE["packbits"], _MOST_RUNS)


def announced_sizes(codestream: bytes) -> set[tuple[int, int, int]]:
    """Rows, columns and components that a JPEG, JPEG-LS or JPEG 2000 stream announces."""
    if codestream.startswith(_SIZ) and len(codestream) >= 42:
        right, bottom, left, top = (
            int.from_bytes(codestream[k : k + 4], "big") for k in (8, 12, 16, 20)
        )
        return {(bottom - top, right - left, int.from_bytes(codestream[40:42], "big"))}
    sizes, place = set(), 2
    while len(codestream) >= place + 10 and codestream[place] == 0xFF:
        marker = codestream[place + 1]
        if marker == _START_OF_SCAN:
            break
        if marker in _START_OF_FRAME:
            rows, columns = (codestream[place + k : place + k + 2] for k in (5, 7))
            components = codestream[place + 9]
            sizes.add((int.from_bytes(rows, "big"), int.from_bytes(columns, "big"), components))
        place += 2 + int.from_bytes(codestream[place + 2 : place + 4], "big")
    return sizes

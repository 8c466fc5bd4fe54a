"""DICOM files that are deflated as a whole, which pydicom unpacks without a limit."""

import zlib
from pathlib import Path
from typing import BinaryIO, Final

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.limits import require_part

_DEFLATED: Final = b"1.2.840.10008.1.2.1.99"
_SYNTAX: Final = b"\x10\x00"
_LONG: Final = (b"OB", b"OW", b"UN", b"UT", b"SQ", b"OF", b"OD", b"OL", b"UC", b"UR")
_PREAMBLE: Final = 128
_START: Final = 1 << 16
_PIECE: Final = 1 << 20
_MOST: Final = 1 << 30


def require_bounded(path: Path) -> None:
    """Refuse a file that unpacks to more than may be in memory at once."""
    with path.open("rb") as file:
        if _DEFLATED not in file.read(_START):
            return
        if not _at_deflated(file):
            raise UserError(f"{path} is not a valid DICOM file: its file header is damaged.")
        unpack, done = zlib.decompressobj(wbits=-15), 0
        while packed := file.read(_PIECE):
            while packed and not unpack.eof:
                done += len(unpack.decompress(packed, _PIECE))
                require_part(path, done, _MOST)
                packed = unpack.unconsumed_tail


def _at_deflated(file: BinaryIO) -> bool:
    """Seek to the data after the file header; returns whether they are deflated."""
    file.seek(_PREAMBLE)
    if file.read(4) != b"DICM":
        file.seek(0)
    deflated = False
    while True:
        place = file.tell()
        header = file.read(12)
        if header[:2] != b"\x02\x00" or len(header) < 12:
            file.seek(place)
            return deflated
        is_long = header[4:6] in _LONG
        size = int.from_bytes(header[8:12] if is_long else header[6:8], "little")
        file.seek(place + (12 if is_long else 8))
        if header[2:4] == _SYNTAX:
            deflated = file.read(size).strip(b"\0 ") == _DEFLATED
        else:
            file.seek(size, 1)

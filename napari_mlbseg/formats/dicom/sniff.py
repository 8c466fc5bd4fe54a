"""Recognising DICOM files, which often have no ending, by a few bytes."""

import os
from itertools import islice
from pathlib import Path
from typing import Final

_PREAMBLE: Final = 128
_FILES_LOOKED_AT: Final = 8
SUFFIXES: Final = (".dcm", ".dicom", ".ima")
_NO_IMAGES: Final = {"dicomdir", "thumbs.db"}

_BARE_GROUPS: Final = (b"\x02\x00", b"\x08\x00")
"""First groups of files without a preamble; an even element below 0x0100 follows."""


def is_dicom(path: Path) -> bool:
    """Whether a file starts like DICOM; false if it cannot be read."""
    if path.name.startswith(".") or path.name.lower() in _NO_IMAGES:
        return False
    try:
        with path.open("rb") as file:
            start = file.read(_PREAMBLE + 4)
    except OSError:
        return False
    return start[_PREAMBLE:] == b"DICM" or (
        start[:2] in _BARE_GROUPS and len(start) > 8 and start[2] <= 0x18 and start[3] == 0
    )


def holds_dicom(folder: Path) -> bool:
    """Whether one of the first files directly in a folder is DICOM, or is named like DICOM.

    So a folder of damaged slices counts as a damaged series.
    """
    try:
        with os.scandir(folder) as entries:
            files = (e for e in entries if e.is_file() and not e.name.startswith("."))
            first = [Path(e.path) for e in islice(files, _FILES_LOOKED_AT)]
            return any(f.suffix.lower() in SUFFIXES or is_dicom(f) for f in first)
    except OSError:
        return False

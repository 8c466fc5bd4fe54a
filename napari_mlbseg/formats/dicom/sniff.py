"""Recognising DICOM files, which often have no ending, by a few bytes."""

import os
from itertools import islice
from pathlib import Path
from typing import Final

_PREAMBLE: Final = 128
_FIRST: Final = 16
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
    """Whether a file directly in a folder is DICOM, or is named like DICOM.

    So a folder of damaged slices counts as a damaged series, and previews beside the slices do
    not hide them.
    """
    try:
        with os.scandir(folder) as entries:
            files = [Path(e.path) for e in entries if e.is_file() and not e.name.startswith(".")]
    except OSError:
        return False
    return any(f.suffix.lower() in SUFFIXES for f in files) or any(map(is_dicom, files))


def begins_with_dicom(folder: Path) -> bool:
    """Whether one of the first files of a folder is DICOM, or is named like it."""
    try:
        with os.scandir(folder) as entries:
            files = [Path(e.path) for e in islice(entries, _FIRST) if e.is_file()]
    except OSError:
        return False
    return any(f.suffix.lower() in SUFFIXES or is_dicom(f) for f in files)


def beside_dicom(folder: Path) -> list[Path]:
    """The files in a folder with DICOM that are something else, such as previews and reports."""
    return sorted(
        f
        for f in folder.iterdir()
        if f.is_file()
        and not f.name.startswith(".")
        and f.name.lower() not in _NO_IMAGES
        and f.suffix.lower() not in SUFFIXES
        and f.stat().st_size > 0
        and not is_dicom(f)
    )

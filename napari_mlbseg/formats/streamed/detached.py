"""Headers in a file of their own that names the file with the voxels."""

from pathlib import Path
from typing import Final

from napari_mlbseg.errors import UserError

_NOT_IN_A_NAME: Final = frozenset("%\0")
"""A percent sign starts a pattern for the names of many files."""


def voxel_file(header: Path, name: str) -> Path:
    """The file of voxels that a header names.

    Raises
    ------
    UserError
        If the header names several files, or one outside the header's folder, directly or through
        a link: a header from elsewhere must not decide which of a person's files are read.
    """
    words = name.split()
    if not words or words[0].upper() == "LIST" or _NOT_IN_A_NAME & set(name):
        raise UserError(f"{header} spreads its voxels over several files. Save it as one file.")
    data = header.parent / name
    try:
        found = data.resolve()
        folders = header.parent.resolve(), header.resolve().parent
    except (OSError, RuntimeError) as error:
        raise UserError(f"{header} names the file {data}, whose links form a circle.") from error
    if not any(found.is_relative_to(folder) for folder in folders):
        raise UserError(
            f"{header} keeps its voxels in {found}, outside of its own folder; nothing is read "
            f"from there. If that is the right file, copy it beside the header, and have the "
            f"header name it as {found.name}."
        )
    return data

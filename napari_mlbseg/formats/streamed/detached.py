"""Headers that stand in a file of their own and name the file of their voxels."""

from pathlib import Path

from napari_mlbseg.errors import UserError


def named_beside(header: Path, name: str) -> Path:
    """The file of voxels that a header names.

    Raises
    ------
    UserError
        If it lies outside of the folder of the header, be it by its name or through a link: a
        header from elsewhere must not decide which of a person's files are read.
    """
    data = header.parent / name
    try:
        found = data.resolve()
        folders = header.parent.resolve(), header.resolve().parent
    except (OSError, RuntimeError) as error:
        raise UserError(f"{header} names the file {data}, which leads in a circle.") from error
    if not any(found.is_relative_to(folder) for folder in folders):
        raise UserError(
            f"{header} keeps its voxels in {found}, outside of its own folder; nothing is read "
            f"from there. If that is the right file, copy it beside the header, and have the "
            f"header name it as {found.name}."
        )
    return data

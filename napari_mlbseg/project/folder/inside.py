"""Keeps a study inside its folder, whoever made it: checks names of cases, refuses links."""

import os
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from napari_mlbseg.errors import Damaged, UserError

_MOUNT_POINT = 0xA0000003  # a junction: a Windows folder that leads to another


def is_case_id(name: object) -> bool:
    """Whether a name is nothing but the name of a folder inside another.

    >>> is_case_id("case_01"), is_case_id("../elsewhere")
    (True, False)
    """
    return (
        isinstance(name, str)
        and name not in {"", ".", ".."}
        and not any(c in name for c in "/\\\0")
        and not os.path.splitdrive(name)[0]
    )


def spelled(name: str) -> str:
    """A name in the form in which disks compare it: case and Unicode form ignored."""
    return unicodedata.normalize("NFC", name).casefold()


def require_case_id(name: object) -> str:
    """The name of a case that was read from a study; raises Damaged if it leads elsewhere."""
    if isinstance(name, str) and is_case_id(name):
        return name
    raise Damaged(
        f"The study holds a case named {name!r}, which is not a valid name and could lead out of "
        "the study. This program never makes such a study: do not use it, and ask whoever gave it "
        "to you."
    )


def size_of(path: Path, folder: Path) -> int | None:
    """Size in bytes of a file at `path` in `folder`; None if there is none, or for a folder.

    Raises
    ------
    UserError
        If anything on the way below `folder` is a link, or the path is not a plain file, such as
        a device or a pipe.
    """
    way = path.relative_to(folder)
    for step in (*reversed(way.parents), way):
        if not step.parts:
            continue
        try:
            found = os.lstat(folder / step)
        except (FileNotFoundError, NotADirectoryError):
            return None
        _require_plain(folder / step, found)
    return None if stat.S_ISDIR(found.st_mode) else found.st_size


def require_own(folder: Path, *names: str) -> None:
    """Raise UserError if one of the entries of a study is a link or not a plain file."""
    for name in names:
        size_of(folder / name, folder)


def plain_folders(folder: Path) -> Iterator[Path]:
    """The folders in a folder that are not links; none if it is itself a link, or missing."""
    if folder.is_dir() and not folder.is_symlink():
        with os.scandir(folder) as entries:
            found = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        yield from found


def _require_plain(path: Path, found: os.stat_result) -> None:
    link = stat.S_ISLNK(found.st_mode) or getattr(found, "st_reparse_tag", 0) == _MOUNT_POINT
    if link:
        raise UserError(
            f"{path} is a link, but a study must hold its own files, so it is neither read nor "
            "written. Replace the link with the file or folder that it leads to."
        )
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise UserError(
            f"{path} is neither a file nor a folder, so it is not read. Remove it from the study."
        )

"""Which format a file has, and reading and writing through it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol, runtime_checkable
from uuid import uuid4

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.nifti import NiftiFormat
from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.volume import Volume

__all__ = [
    "Format",
    "SourceInfo",
    "format_of",
    "read_image",
    "read_labels",
    "stem_of",
    "suffix_of",
    "write_labels",
    "write_map",
]


@runtime_checkable
class Format(Protocol):
    """A family of files that can be turned into volumes and back.

    Attributes
    ----------
    name
        What `SourceInfo.format` says.
    suffixes
        Endings of file names in lower case, longer ones first.
    """

    name: str
    suffixes: tuple[str, ...]

    def read_image(self, path: Path) -> tuple[Volume, SourceInfo]:
        """A finite image; raises `UserError` that names the file."""

    def read_labels(self, path: Path) -> tuple[Volume, SourceInfo]:
        """Labels as uint8; raises `UserError` that names the file."""

    def write_labels(self, path: Path, volume: Volume, source: SourceInfo) -> None:
        """Write uint8 labels that lie where the source's voxels lie."""

    def write_map(self, path: Path, volume: Volume, source: SourceInfo) -> None:
        """Write a float32 map that lies where the source's voxels lie."""


_FORMATS: Final[tuple[Format, ...]] = (NiftiFormat(),)


def format_of(path: Path) -> Format | None:
    """The format that a file's name stands for."""
    return next((f for f in _FORMATS if _suffix_in(path, f) is not None), None)


def suffix_of(path: Path) -> str:
    """The known ending of a file's name, spelt as in the name; empty if none is known."""
    found = format_of(path)
    suffix = None if found is None else _suffix_in(path, found)
    return path.name[len(path.name) - len(suffix) :] if suffix else ""


def stem_of(path: Path) -> str:
    """A file's name without its known ending: ``a.b`` for ``a.b.nii.gz``."""
    return path.name.removesuffix(suffix_of(path))


def read_image(path: Path) -> tuple[Volume, SourceInfo]:
    """Read an image; raises `UserError` that names the file."""
    return _format_for(path).read_image(path)


def read_labels(path: Path) -> tuple[Volume, SourceInfo]:
    """Read labels as uint8; raises `UserError` that names the file."""
    return _format_for(path).read_labels(path)


def write_labels(path: Path, volume: Volume, source: SourceInfo) -> None:
    """Write labels as uint8; the file is there whole or not at all."""
    chosen = _format_for_source(path, source)
    with _replacing(path) as temporary:
        chosen.write_labels(temporary, volume, source)


def write_map(path: Path, volume: Volume, source: SourceInfo) -> None:
    """Write a map as float32; the file is there whole or not at all."""
    chosen = _format_for_source(path, source)
    with _replacing(path) as temporary:
        chosen.write_map(temporary, volume, source)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A hidden file in the same folder that takes the place of `path` once it is on the disk."""
    temporary = path.with_name(f".{stem_of(path)}.{uuid4().hex[:8]}{suffix_of(path)}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _suffix_in(path: Path, candidate: Format) -> str | None:
    name = path.name.lower()
    return next((s for s in candidate.suffixes if name.endswith(s)), None)


def _format_for(path: Path) -> Format:
    found = format_of(path)
    if found is None:
        known = ", ".join(suffix for f in _FORMATS for suffix in f.suffixes)
        raise UserError(f"{path} has no known format. Known endings are {known}.")
    return found


def _format_for_source(path: Path, source: SourceInfo) -> Format:
    found = _format_for(path)
    if found.name != source.format:
        raise UserError(f"{path} cannot be written: it belongs to a {source.format} file.")
    return found

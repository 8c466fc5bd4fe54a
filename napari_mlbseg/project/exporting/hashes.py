"""Hashes of exported files, and of the sources that a study names.

The paths of sources stand in the catalogue, which a stranger may have written. So only ordinary
files are read, no further than their size, and no more than `MOST_BYTES` and `MOST_FILES` of them.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

from napari_mlbseg.project.folder.inside import is_case_id

MOST_BYTES: Final = 1 << 36
MOST_FILES: Final = 100_000
_BLOCK: Final = 1 << 20


class NotHashed(StrEnum):
    """Why a source has no hash."""

    ABSENT = "not there any more"
    UNREADABLE = "cannot be read"
    STRANGE = "not an ordinary file"
    ELSEWHERE = "names files outside its folder"
    TOO_LARGE = "too large to be hashed"


@dataclass(frozen=True)
class SourceHash:
    """The hash of a source, or why there is none; one of the two is None."""

    sha256: str | None
    problem: NotHashed | None = None


class _Refused(Exception):  # noqa: N818 (says what it is)
    def __init__(self, problem: NotHashed) -> None:
        super().__init__(problem)
        self.problem = problem


def sha256_of(path: Path, names: Sequence[str] | None = None) -> str:
    """Hash of a file, or of a folder: of the lines that ``sha256sum`` prints for its files.

    `names` are the files of a folder that belong to a case, all of them by default, sorted.
    """
    if path.is_file():
        found = path.stat()
        return _hash(path, found.st_mtime_ns, found.st_size)
    inner = names or [str(f.relative_to(path)) for f in path.rglob("*") if f.is_file()]
    lines = (f"{sha256_of(path / name)}  {name}\n" for name in sorted(set(inner)))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def source_hash(path: Path, names: Sequence[str] | None = None) -> SourceHash:
    """As `sha256_of`, of a path that a study names, whoever made the study.

    A source that is absent, is no ordinary file or folder of such, or is too large has no hash.
    """
    try:
        sizes = [_size(path / name) for name in _inner(path, names)]
        if sum(sizes) > MOST_BYTES:
            return SourceHash(None, NotHashed.TOO_LARGE)
        return SourceHash(sha256_of(path, names))
    except _Refused as refused:
        return SourceHash(None, refused.problem)
    except (FileNotFoundError, NotADirectoryError):
        return SourceHash(None, NotHashed.ABSENT)
    except (OSError, ValueError):
        return SourceHash(None, NotHashed.UNREADABLE)


def _inner(path: Path, names: Sequence[str] | None) -> Sequence[str]:
    """The files to read of a source, by their paths in it; "" for one that is a file."""
    if not stat.S_ISDIR(os.stat(path).st_mode):
        return [""]
    if names is not None:
        if not all(is_case_id(name) for name in names):
            raise _Refused(NotHashed.ELSEWHERE)
        return sorted(set(names))
    seen, files = 0, []
    for parent, folders, entries in os.walk(path):
        seen += len(folders) + len(entries)
        if seen > MOST_FILES:
            raise _Refused(NotHashed.TOO_LARGE)
        files += [file for file in (Path(parent, name) for name in entries) if file.is_file()]
    return [str(file.relative_to(path)) for file in files]


def _size(path: Path) -> int:
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise _Refused(NotHashed.STRANGE)
    return found.st_size


@cache
def _hash(path: Path, changed: int, size: int) -> str:
    digest = hashlib.sha256()
    for block in _blocks(path, size):
        digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while size > 0 and (block := file.read(min(size, _BLOCK))):
            size -= len(block)
            yield block

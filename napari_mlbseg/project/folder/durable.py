"""Flushing files to the disk, and putting complete folders in their places."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def private(path: str, flags: int) -> int:
    """Open a file that only its owner may read if it is new; an `opener` of `open`."""
    return os.open(path, flags, 0o600)


@contextmanager
def new_file(path: Path, *, flushed: bool = True) -> Iterator[BinaryIO]:
    """Fill a new file in the block: on the disk as a whole afterwards, or gone after an error.

    Without `flushed` it is not waited for: whoever makes many files flushes their folder.

    Give the file a name of its own and move it to its place then, see `flush_entries`. Only its
    owner may read it.
    """
    try:
        with open(path, "wb", opener=private) as file:
            yield file
            file.flush()
            if flushed:
                os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, that are still there after a power cut.

    Only their owner may look into new ones.
    """
    missing = [one for one in (path, *path.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)
        flush_entries(one.parent)


def flush(folder: Path) -> None:
    """Wait until a folder and everything in it are on the disk."""
    for parent, _, files in os.walk(folder):
        for name in files:
            flush_file(Path(parent) / name)
        flush_entries(Path(parent))


def flush_file(path: Path) -> None:
    """Wait until a file is on the disk."""
    _sync(path, os.O_RDWR)


def flush_entries(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system supports that."""
    if os.name != "nt":
        with suppress(OSError):  # some network drives cannot do that
            _sync(folder, os.O_RDONLY)


def beside(path: Path) -> Path:
    """Where the replacement of a folder is built."""
    return path.with_suffix(".new")


def before(path: Path) -> Path:
    """Where a folder is kept while another takes its place."""
    return path.with_suffix(".old")


def put_in_place(path: Path) -> None:
    """Let the complete folder `beside` take the place of `path`, also on the disk.

    If that is interrupted, one of the two is at `path` or in the place that `before` gives, and
    `settle` brings it back.
    """
    new, old = beside(path), before(path)
    flush(new)
    if path.exists():
        os.replace(path, old)
    try:
        os.replace(new, path)
    except BaseException:
        settle(path)
        raise
    flush_entries(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def settle(path: Path) -> None:
    """Finish an interrupted `put_in_place`, and delete unfinished and old folders."""
    new, old = beside(path), before(path)
    if old.is_dir() and not old.is_symlink() and not path.exists():
        os.replace(old, path)
    for leftover in (new, old):
        if leftover.is_symlink():
            leftover.unlink()
        shutil.rmtree(leftover, ignore_errors=True)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

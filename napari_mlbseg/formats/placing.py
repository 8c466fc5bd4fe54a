"""Putting files in their places only when complete, several together, even if a process dies.

Files are written into a hidden folder beside their places and flushed to the disk. A list of what
goes where is written there before the first file is moved. A killed process leaves that folder
behind; the next one that writes beside it finishes moves that had begun and deletes the rest.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from filelock import FileLock, Timeout

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.exchange import exchanged

_PREFIX: Final = ".mlbseg-writing-"
_LOCK: Final = "in use"
_LIST: Final = "places.json"
_NEW: Final = "new"
_EARLIER: Final = re.compile(r"\.(.+)\.[0-9a-f]{8}(.*?)(?:\.old)?")
"""What versions up to 0.1.0 left behind: ``.a.0123abcd.nii.gz``, and the same with ``.old``."""

Stamp = list[int] | None
"""Identifies one state of a file; None if the file does not exist."""


@dataclass(frozen=True)
class Workplace:
    """A hidden folder in which files are written before they take their places beside it."""

    folder: Path

    def new(self, path: Path) -> Path:
        """Where to write the file that will become `path`, which lies beside the workplace."""
        return self.folder / _NEW / path.name

    def place(self, files: Sequence[Path], told_by: Sequence[Path] = ()) -> None:
        """Move the files into their places: `files` first, then `told_by`, which describe them.

        The descriptions of the old files are removed before the first new file arrives, so that a
        new file never stands beside an old description.
        """
        moved = [*files, *told_by]
        for path in moved:
            _to_disk(self.new(path))
        places = [
            {"name": path.name, "before": _stamp(path), "after": _stamp(self.new(path))}
            for path in moved
        ]
        content = {"places": places, "gone": [path.name for path in told_by]}
        written = self.folder / f"{_LIST}.part"
        written.write_text(json.dumps(content), encoding="utf-8")
        _to_disk(written)
        written.replace(self.folder / _LIST)
        _finish(self.folder, content)
        _sweep_earlier(self.folder.parent, {path.name for path in moved})


@contextmanager
def workplace(beside: Path) -> Iterator[Workplace]:
    """A workplace in a folder; leftovers there are swept first, see `sweep`."""
    sweep(beside)
    folder, lock = _taken(beside)
    try:
        (folder / _NEW).mkdir()
        yield Workplace(folder)
    finally:
        _cleared(folder, lock)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A hidden path to write to; it replaces `path` once it is on the disk."""
    with explained(path), workplace(path.parent) as work:
        yield work.new(path)
        work.place([path])


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Every failure to write becomes a `UserError` that names the file or folder."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from error


def sweep(folder: Path) -> None:
    """Finish the moves that a killed process had begun, and remove its other leftovers.

    Files that somebody else has changed since stay as they are.
    """
    for left in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError, NotImplementedError, Timeout):
            if not (left / _LOCK).exists():
                left.rmdir()  # being created just now, or left by a kill before or after its use
                continue
            lock = FileLock(left / _LOCK, thread_local=False)
            lock.acquire(timeout=0)
            try:
                _mend(left)
            finally:
                _cleared(left, lock)


def _sweep_earlier(folder: Path, names: set[str]) -> None:
    for left in folder.glob(".*"):
        found = _EARLIER.fullmatch(left.name)
        if found and "".join(found.groups()) in names:
            _removed(left)


def _taken(beside: Path) -> tuple[Path, FileLock]:
    """A new folder; until it is locked, another process may mistake it for a leftover."""
    while True:
        folder = beside / f"{_PREFIX}{uuid4().hex[:8]}"
        folder.mkdir()
        lock = FileLock(folder / _LOCK, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except (FileNotFoundError, Timeout):
            continue
        except (NotImplementedError, OSError):
            return folder, lock  # a disk without locks, where nothing is swept either
        if (folder / _LOCK).exists():
            return folder, lock
        lock.release()


def _cleared(folder: Path, lock: FileLock) -> None:
    """Remove a workplace; the lock goes last, so that the rest is never mistaken for a new one."""
    for inner in folder.iterdir():
        if inner.name != _LOCK:
            _removed(inner)
    lock.release()
    shutil.rmtree(folder, ignore_errors=True)


def _removed(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _mend(folder: Path) -> None:
    """Move what a killed process did not get to, unless somebody has changed the places since."""
    if not (folder / _LIST).exists():
        return
    content = json.loads((folder / _LIST).read_text(encoding="utf-8"))
    if all(_untouched(folder.parent, place) for place in content["places"]):
        _finish(folder, content)


def _untouched(beside: Path, place: Mapping[str, Any]) -> bool:
    now = _stamp(beside / place["name"])
    return now is None or now in (place["before"], place["after"])


def _finish(folder: Path, content: Mapping[str, Any]) -> None:
    """Move what is not yet in its place; after a kill, a second call continues from there."""
    beside = folder.parent
    waiting = [p["name"] for p in content["places"] if _stamp(beside / p["name"]) != p["after"]]
    for name in content["gone"]:
        if name in waiting:
            (beside / name).unlink(missing_ok=True)
    _to_disk(beside)
    for name in waiting:
        _moved(folder / _NEW / name, beside / name)
    _to_disk(beside)
    (folder / _LIST).unlink()


def _moved(new: Path, place: Path) -> None:
    if not place.exists() or not (new.is_dir() or place.is_dir()):
        new.replace(place)
    elif not exchanged(new, place):
        aside = new.with_name(f"{new.name}.old")
        place.replace(aside)
        try:
            new.replace(place)
        except OSError:
            aside.replace(place)
            raise


def _stamp(path: Path) -> Stamp:
    """Identifies a file or folder; moving does not change it."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return [found.st_ino, 0 if path.is_dir() else found.st_mtime_ns]


def _to_disk(path: Path) -> None:
    """Flush a file, or a folder with all its files, so that it survives a loss of power."""
    if path.is_dir():
        for inner in path.rglob("*"):
            if inner.is_file():
                _to_disk(inner)
        if os.name == "nt":  # Windows cannot flush a folder
            return
    number = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)

"""Files that take their places once they are whole, several as one, whenever a process ends.

What is written stands in a hidden folder beside its place until it is on the disk. A list of what
goes where is written there before the first file is moved. A process that was killed leaves that
folder behind, and whoever writes beside it next ends what was begun, or throws away what was not.
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
"""Tells one state of a file from another; None where there is none."""


@dataclass(frozen=True)
class Workplace:
    """A hidden folder in which files are written before they take their places beside it."""

    folder: Path

    def new(self, path: Path) -> Path:
        """Where to write what is to become `path`, which lies beside the workplace."""
        return self.folder / _NEW / path.name

    def place(self, files: Sequence[Path], told_by: Sequence[Path] = ()) -> None:
        """Put what was written in its places: `files` first, then `told_by`, which tell of them.

        What told of the old files is gone before the first new one is there, so that no file ever
        stands beside an older one that tells of it.
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
    """A workplace in a folder, which is swept before: see `sweep`."""
    sweep(beside)
    folder, lock = _taken(beside)
    try:
        (folder / _NEW).mkdir()
        yield Workplace(folder)
    finally:
        _cleared(folder, lock)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A hidden file or folder that takes the place of `path` once it is on the disk."""
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
    """End what a killed process had begun to put in its places, and remove what else it left.

    What has been changed since by somebody else stays as it is.
    """
    for left in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError, NotImplementedError, Timeout):
            if not (left / _LOCK).exists():
                left.rmdir()  # somebody is just taking it, or was killed before or after using it
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
    """A folder of our own; another process may take it for a leftover until it is locked."""
    while True:
        folder = beside / f"{_PREFIX}{uuid4().hex[:8]}"
        folder.mkdir()
        lock = FileLock(folder / _LOCK, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except (FileNotFoundError, Timeout):
            continue
        except (NotImplementedError, OSError):
            return folder, lock  # a disk without locks, where nobody sweeps either
        if (folder / _LOCK).exists():
            return folder, lock
        lock.release()


def _cleared(folder: Path, lock: FileLock) -> None:
    """Remove a workplace; the lock last, so that nobody takes a half of it for a new one."""
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
    """Move what a killed process did not get to, unless somebody changed the places since."""
    if not (folder / _LIST).exists():
        return
    content = json.loads((folder / _LIST).read_text(encoding="utf-8"))
    if all(_untouched(folder.parent, place) for place in content["places"]):
        _finish(folder, content)


def _untouched(beside: Path, place: Mapping[str, Any]) -> bool:
    now = _stamp(beside / place["name"])
    return now is None or now in (place["before"], place["after"])


def _finish(folder: Path, content: Mapping[str, Any]) -> None:
    """Move what is not yet in its place; again after a kill, this goes on where it ended."""
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
    """The same before and after a file or folder is moved."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return [found.st_ino, 0 if path.is_dir() else found.st_mtime_ns]


def _to_disk(path: Path) -> None:
    """Make a file, or a folder with all that is in it, outlive a loss of power."""
    if path.is_dir():
        for inner in path.rglob("*"):
            if inner.is_file():
                _to_disk(inner)
        if os.name == "nt":  # which has no way to do that for a folder
            return
    number = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)

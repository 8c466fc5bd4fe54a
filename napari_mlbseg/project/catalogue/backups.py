"""Backups of a catalogue, beside it in the study: complete, and only so many."""

import sqlite3
from contextlib import closing, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from napari_mlbseg.project.folder.durable import flush_entries, flush_file, make_folder

BACKUPS_NAME: Final = "backups"
KEPT: Final = 7
_NAME: Final = "%Y%m%d-%H%M%S"


def backups_in(study: Path) -> list[Path]:
    """The backups of a study, the oldest first."""
    return sorted(
        path
        for path in (study / BACKUPS_NAME).glob("*.sqlite")
        if _day(path) and not path.is_symlink()
    )


def newest_day(study: Path) -> date | None:
    """The day (UTC) of the newest backup; None without one."""
    found = backups_in(study)
    return _day(found[-1]) if found else None


def back_up(connection: sqlite3.Connection, study: Path) -> Path:
    """Copy a catalogue as it stands into a backup that is on the disk; older ones may be removed.

    Raises sqlite3.Error or OSError on failure, and then no backup is left half done.
    """
    folder = study / BACKUPS_NAME
    make_folder(folder)
    path = folder / f"{datetime.now(UTC):{_NAME}}.sqlite"
    beside = path.with_suffix(".new")
    try:
        beside.unlink(missing_ok=True)
        beside.touch(mode=0o600)
        with closing(sqlite3.connect(beside)) as copy:
            connection.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # all of it in one file
        flush_file(beside)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    for old in backups_in(study)[:-KEPT]:
        old.unlink(missing_ok=True)
    flush_entries(folder)
    return path


def sweep_backups(study: Path) -> None:
    """Delete what a killed process left of a backup."""
    for leftover in (study / BACKUPS_NAME).glob("*.new*"):
        with suppress(OSError):
            leftover.unlink()


def _day(path: Path) -> date | None:
    try:
        return datetime.strptime(path.stem, _NAME).date()
    except ValueError:
        return None

"""Errors of SQLite in words for the user."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_mlbseg.errors import Damaged, UserError

_KEPT = "Everything saved earlier is kept."
_WORDS = {
    sqlite3.SQLITE_FULL: (
        "could not be written: the disk is full ({error}). Free some space and try again. " + _KEPT
    ),
    sqlite3.SQLITE_READONLY: (
        "may not be written ({error}). Get permission to write to its folder and to the files in "
        "it, then try again. " + _KEPT
    ),
    sqlite3.SQLITE_BUSY: (
        "is in use by another program, which did not release it in time ({error}). Close any "
        "program that uses the study's folder, then try again. " + _KEPT
    ),
    sqlite3.SQLITE_CONSTRAINT: (
        "refused a change that contradicts its content ({error}). Nothing was changed. Close "
        "the study and open it again; if that does not help, its catalogue was altered by "
        "another program, so restore it from a backup."
    ),
    sqlite3.SQLITE_TOOBIG: ("cannot hold so much data ({error}). Nothing was changed. " + _KEPT),
}
_WORDS[sqlite3.SQLITE_LOCKED] = _WORDS[sqlite3.SQLITE_BUSY]
_UNSURE = (
    "could not be read or written ({error}). Check that the disk has space and that you may "
    "write to the folder, then try again. " + _KEPT
)
_DAMAGED = (
    "is damaged ({error}). Close the study, then run `mlbseg repair {folder}`: it keeps the "
    "damaged file, and saves what can be read in it and in the backups of the study."
)
_CLOSED = "is no longer open ({error}). Open the study again. " + _KEPT


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn whatever SQLite raises about the file at `path` into a UserError, or Damaged."""
    try:
        yield
    except sqlite3.Error as error:
        words = _words(error)
        kind = Damaged if words is _DAMAGED else UserError
        raise kind(f"{path} {words.format(error=error, folder=path.parent)}") from error
    except UnicodeDecodeError as error:  # SQLite speaks of a name that is damaged
        raise Damaged(f"{path} {_DAMAGED.format(error=error, folder=path.parent)}") from error


def _words(error: sqlite3.Error) -> str:
    # An extended code holds the basic code in its lowest byte; the module's own errors have none.
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in _WORDS:
        return _WORDS[code & 0xFF]
    if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
        return _CLOSED
    unsure = sqlite3.OperationalError, sqlite3.ProgrammingError
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, unsure):
        return _DAMAGED
    return _UNSURE

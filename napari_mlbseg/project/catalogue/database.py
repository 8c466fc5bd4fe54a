"""The SQLite file of a catalogue: connections, durable transactions, errors in plain words."""

import json
import logging
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Event, Lock, RLock, get_ident
from typing import Any

from napari_mlbseg.errors import Damaged, UserError
from napari_mlbseg.project.catalogue import hashes, schema
from napari_mlbseg.project.catalogue.backups import BACKUPS_NAME, back_up, newest_day, sweep_backups
from napari_mlbseg.project.catalogue.complaints import explained
from napari_mlbseg.project.catalogue.connecting import BUSY_TIMEOUT_S, opened, opened_for_reading
from napari_mlbseg.project.catalogue.counter import COUNTER_NAME, read_count, write_count
from napari_mlbseg.project.folder.inside import require_own
from napari_mlbseg.project.folder.place import Place

logger = logging.getLogger(__name__)

# A change waits for another program in steps, after which it notices that the study was closed.
_BUSY_STEP_S = 0.05
_COMPANIONS = ("-wal", "-shm", "-journal")


# Every change but metrics writes a line into the log, which only grows.
_CHANGES = "SELECT coalesce(max(number), 0) FROM audit"


@dataclass(frozen=True)
class Transaction:
    """An open transaction; all its changes carry one time and one author."""

    connection: sqlite3.Connection
    author: str
    at: str

    def execute(self, sql: str, *values: Any) -> int:
        """Run one statement; returns the number of the inserted row."""
        return int(self.connection.execute(sql, values).lastrowid or 0)

    def rows(self, sql: str, *values: Any) -> Sequence[tuple[Any, ...]]:
        """All rows of a query, with what was changed so far."""
        return self.connection.execute(sql, values).fetchall()

    def note(self, action: str, case_id: str | None = None, **details: Any) -> None:
        """Add a row to the audit log."""
        row = (self.at, self.author, action, case_id, json.dumps(details))
        hashes.insert(self.connection, "audit", hashes.LINE, row)


class Database:
    """A connection that writes and one that reads, safe to use from several threads.

    So nothing that reads waits for a change, in this program or in another one, to be on the disk;
    within a transaction its own thread reads what was changed so far. A finished transaction is on
    the disk, in the study at `place`: it survives a killed process and a power cut, and lies in the
    file itself, not only in SQLite's log. Before the first one of a day the catalogue is backed up.
    All errors of SQLite are raised as UserError.

    Attributes
    ----------
    missing
        How many changes that were made are not there, because the log was lost; only a reader
        gets to see such a catalogue.
    """

    def __init__(self, path: Path, place: Place, *, writable: bool, author: str) -> None:
        self.path = path
        self.writable = writable
        self.author = author
        self._place = place
        self._lock, self._reading = RLock(), Lock()
        self._closed = Event()
        self._changing: int | None = None  # the thread with an open transaction
        self._backed_up: date | None = None
        self._changes = self.missing = 0
        own = (path.name, *(path.name + end for end in _COMPANIONS), COUNTER_NAME, BACKUPS_NAME)
        require_own(path.parent, *own)
        with explained(self.path):
            self._connection = opened(path, "rw") if writable else opened_for_reading(path)
        try:
            with explained(self.path):
                self._prepare()
                self._reader = opened(path, "ro") if writable else self._connection
        except BaseException:
            self._connection.close()
            raise
        place.hold(*self._files)

    @classmethod
    def create(cls, path: Path, place: Place, *, author: str) -> "Database":
        """Make an empty catalogue; the file must not exist."""
        with explained(path):
            path.touch(mode=0o600, exist_ok=False)
            with closing(opened(path, "rw")) as connection:
                # Before the tables, so that a reader never sees them in another journal mode.
                connection.execute("PRAGMA journal_mode = WAL")
                schema.migrate(connection)
        return cls(path, place, writable=True, author=author)

    @property
    def _files(self) -> tuple[Path, Path]:
        """The files held open: the database, and the log that receives commits first."""
        return self.path, self.path.with_name(self.path.name + "-wal")

    def close(self) -> None:
        """Close the connections; a second call does nothing. A change that waits is given up."""
        self._closed.set()
        with self._lock, self._reading:
            # SQLite deletes the log when the last connection closes, if that may write.
            self._place.let_go(*self._files)
            self._reader.close()
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All statements or none; when the block ends, they are on the disk."""
        if not self.writable:
            raise UserError(
                f"{self.path.parent} is open for reading only. Open it for writing to change it."
            )
        with self._lock, explained(self.path):
            self._place.check()
            self._back_up_today()
            self._begin()
            self._changing = get_ident()
            try:
                yield Transaction(self._connection, self.author, datetime.now(UTC).isoformat())
                self._place.check()
                self._connection.execute("COMMIT")
            except BaseException:
                # Report the failure itself, not a failure to roll back.
                with suppress(sqlite3.Error):
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                raise
            finally:
                self._changing = None
            # If the folder was removed meanwhile, the commit went with it.
            self._place.check()
            self._settle()

    def rows(self, sql: str, *values: Any) -> Sequence[tuple[Any, ...]]:
        """All rows of a query, from one consistent snapshot."""
        if self._changing == get_ident():
            with explained(self.path):
                return self._connection.execute(sql, values).fetchall()
        with self._reading, explained(self.path):
            return self._reader.execute(sql, values).fetchall()

    def back_up(self) -> Path:
        """Copy the catalogue as it stands into a new backup in the study; returns its path."""
        with self._lock, explained(self.path):
            try:
                return back_up(self._connection, self.path.parent)
            except OSError as error:
                raise UserError(
                    f"{self.path} cannot be backed up ({error}). Free some space, or get "
                    "permission to write to the study's folder, then try again."
                ) from error

    @property
    def version(self) -> int:
        """The version of the catalogue; an older one that is open for reading stays as it is."""
        return int(self.rows("PRAGMA user_version")[0][0])

    def _begin(self) -> None:
        """Begin a transaction as soon as no other program has one."""
        last = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > last or self._closed.is_set():
                    raise

    def _back_up_today(self) -> None:
        """Back up what earlier days left, before the first change of a day; never in the way."""
        today = datetime.now(UTC).date()
        if self._backed_up == today or not self.rows("SELECT 1 FROM cases LIMIT 1"):
            return
        try:
            if newest_day(self.path.parent) != today:
                self.back_up()
        except UserError:
            logger.warning("the catalogue was not backed up today", exc_info=True)
        self._backed_up = today

    def _settle(self) -> None:
        """Bring a commit from SQLite's log into the file itself, and count it outside of both.

        The commit is on the disk already, so that nothing fails if this does.
        """
        [(changes,)] = self.rows(_CHANGES)
        if changes == self._changes:
            return  # metrics of a run
        self._changes = changes
        with suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        with suppress(OSError):
            write_count(self.path.parent, changes)

    def _prepare(self) -> None:
        connection = self._connection
        application = int(connection.execute("PRAGMA application_id").fetchone()[0])
        version, current = schema.version_of(connection), len(schema.MIGRATIONS)
        if application != schema.APPLICATION_ID:
            raise UserError(
                f"{self.path.parent} is not a study: its {self.path.name} is another database. "
                "Choose a folder NAME.mlbseg that was made by this program."
            )
        if version > current:
            raise UserError(
                f"{self.path.parent} was written by a newer version of napari-mlbseg (catalogue "
                f"version {version}, this one knows {current}). Update napari-mlbseg to open it."
            )
        if version < schema.OLDEST_READABLE and not self.writable:
            raise UserError(
                f"{self.path.parent} was written by an older version of napari-mlbseg. Open it "
                "for writing once to bring it up to date."
            )
        strangers = schema.strangers_in(connection)
        if strangers:
            raise Damaged(
                f"{self.path} holds objects that this program does not make "
                f"({', '.join(strangers[:5])}) and that could change a study unseen, so it is not "
                "opened. Ask whoever gave it to you, or run `mlbseg repair`, which makes it again "
                "without them."
            )
        connection.execute("PRAGMA foreign_keys = ON")
        expected = read_count(self.path.parent)  # before the rows: a writer counts after them
        if version:
            [(self._changes,)] = connection.execute(_CHANGES).fetchall()
        self.missing = max(0, expected - self._changes)
        if self.writable:
            connection.execute("PRAGMA synchronous = FULL")
            _check_integrity(connection)
            if self.missing:
                raise Damaged(in_words(self.path, self.missing))
            sweep_backups(self.path.parent)
            if version < current:
                if version:
                    self.back_up()
                schema.migrate(connection)
            connection.execute(f"PRAGMA busy_timeout = {1000 * _BUSY_STEP_S:.0f}")


def sha256_in(database: Database) -> str:
    """The column with the hash of a row; NULL in a catalogue from before there were hashes."""
    return "sha256" if database.version >= schema.WITH_HASHES else "NULL"


def in_words(path: Path, missing: int) -> str:
    """Tell that changes are missing, and what to do."""
    return (
        f"{path.parent} lacks the last {missing} changes that were made to it. They were in "
        f"{path.name}-wal, which was deleted, or left behind when the study was copied. If the "
        "whole folder is still somewhere, copy all of it. Otherwise run `mlbseg repair`, which "
        "goes on without these changes."
    )


def _check_integrity(connection: sqlite3.Connection) -> None:
    # Impossible values are told, row by row, where they are read; the rest of the study works.
    connection.execute("PRAGMA ignore_check_constraints = ON")
    (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    connection.execute("PRAGMA ignore_check_constraints = OFF")
    if answer != "ok":
        raise sqlite3.DatabaseError(answer)

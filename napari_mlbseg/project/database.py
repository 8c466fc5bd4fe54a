"""The SQLite file under a catalogue: connection, durable transactions, errors in plain words."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Any

from napari_mlbseg.errors import UserError
from napari_mlbseg.project import schema

_BUSY_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Transaction:
    """A transaction under way; everything in it carries one time and one author."""

    connection: sqlite3.Connection
    author: str
    at: str

    def execute(self, sql: str, *values: Any) -> int:
        """Run one statement; returns the number of the row that it inserted."""
        return int(self.connection.execute(sql, values).lastrowid or 0)

    def note(self, action: str, case_id: str | None = None, **details: Any) -> None:
        """Add a row to the audit log."""
        self.execute(
            "INSERT INTO audit (created_at, author, action, case_id, details) "
            "VALUES (?, ?, ?, ?, ?)",
            *(self.at, self.author, action, case_id, json.dumps(details)),
        )


class Database:
    """One connection, safe to use from several threads.

    A transaction that has returned is on the disk: it survives a killed process and a power cut.
    """

    def __init__(self, path: Path, *, writable: bool, author: str) -> None:
        self.path = path
        self.writable = writable
        self.author = author
        self._lock = RLock()
        with _explained(self.path):
            self._connection = _connect(path, writable=writable)
        try:
            with _explained(self.path):
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    @classmethod
    def create(cls, path: Path, *, author: str) -> "Database":
        """Make an empty catalogue; the file must not exist."""
        with _explained(path):
            path.touch(exist_ok=False)
            with closing(_connect(path, writable=True)) as connection:
                # Before the tables, so that a reader never meets them in another journal mode.
                connection.execute("PRAGMA journal_mode = WAL")
                schema.migrate(connection)
        return cls(path, writable=True, author=author)

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All statements or none; returning means that they are on the disk."""
        if not self.writable:
            raise UserError(
                f"{self.path.parent} is open for reading only. Open it for writing to change it."
            )
        with self._lock, _explained(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield Transaction(self._connection, self.author, datetime.now(UTC).isoformat())
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, *values: Any) -> Sequence[tuple[Any, ...]]:
        """Every row of a query, from one consistent snapshot."""
        with self._lock, _explained(self.path):
            return self._connection.execute(sql, values).fetchall()

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
        if version < current and not self.writable:
            raise UserError(
                f"{self.path.parent} was written by an older version of napari-mlbseg. Open it "
                "for writing once to bring it up to date."
            )
        connection.execute("PRAGMA foreign_keys = ON")
        if self.writable:
            connection.execute("PRAGMA synchronous = FULL")
            _check_integrity(connection)
            if version < current:
                schema.migrate(connection)


def _connect(path: Path, *, writable: bool) -> sqlite3.Connection:
    # Never "rwc": opening must not make an empty catalogue where one is missing.
    uri = f"{path.absolute().as_uri()}?mode={'rw' if writable else 'ro'}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    if writable:
        return connection
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.OperationalError:
        # A WAL database cannot be read where its index cannot be written (a read-only share),
        # unless it is promised to be immutable. An empty or absent WAL hides no commit.
        connection.close()
        wal = path.with_name(path.name + "-wal")
        if wal.exists() and wal.stat().st_size > 0:
            raise
        connection = sqlite3.connect(
            uri + "&immutable=1", uri=True, isolation_level=None, check_same_thread=False
        )
    except BaseException:
        connection.close()
        raise
    return connection


def _check_integrity(connection: sqlite3.Connection) -> None:
    (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if answer != "ok":
        raise sqlite3.DatabaseError(answer)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise  # mistakes of the program, not of the disk
    except sqlite3.OperationalError as error:
        raise UserError(
            f"{path} could not be read or written ({error}). Check that the disk has "
            "space and that you may write to the folder, then try again; what was saved "
            "before is kept."
        ) from error
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"{path} is damaged ({error}). Copy the whole folder before anything else. "
            "Then restore the file from a backup, or rescue what is readable with "
            f"`sqlite3 {path.name} .recover | sqlite3 rescued.sqlite` and put "
            "rescued.sqlite in its place."
        ) from error

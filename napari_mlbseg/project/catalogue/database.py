"""The SQLite file of a catalogue: connection, durable transactions, errors in plain words."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Any

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.catalogue import schema
from napari_mlbseg.project.catalogue.complaints import explained
from napari_mlbseg.project.folder.inside import require_own
from napari_mlbseg.project.folder.place import Place

_BUSY_TIMEOUT_S = 30.0
_COMPANIONS = ("-wal", "-shm", "-journal")
# Far above what a study needs, far below what a file from a stranger could ask for.
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 1 << 28,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 100,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 50,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 10,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 25_000,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 20,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 100,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 4,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}


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
        self.execute(
            "INSERT INTO audit (created_at, author, action, case_id, details) "
            "VALUES (?, ?, ?, ?, ?)",
            *(self.at, self.author, action, case_id, json.dumps(details)),
        )


class Database:
    """One connection, safe to use from several threads.

    A finished transaction is on the disk, in the study at `place`: it survives a killed process and
    a power cut. All errors of SQLite are raised as UserError.
    """

    def __init__(self, path: Path, place: Place, *, writable: bool, author: str) -> None:
        self.path = path
        self.writable = writable
        self.author = author
        self._place = place
        self._lock = RLock()
        require_own(path.parent, path.name, *(path.name + end for end in _COMPANIONS))
        with explained(self.path):
            self._connection = _connect(path, writable=writable)
        try:
            with explained(self.path):
                self._prepare()
        except BaseException:
            self._connection.close()
            raise
        place.hold(*self._files)

    @classmethod
    def create(cls, path: Path, place: Place, *, author: str) -> "Database":
        """Make an empty catalogue; the file must not exist."""
        with explained(path):
            path.touch(exist_ok=False)
            with closing(_connect(path, writable=True)) as connection:
                # Before the tables, so that a reader never sees them in another journal mode.
                connection.execute("PRAGMA journal_mode = WAL")
                schema.migrate(connection)
        return cls(path, place, writable=True, author=author)

    @property
    def _files(self) -> tuple[Path, Path]:
        """The files held open: the database, and the log that receives commits first."""
        return self.path, self.path.with_name(self.path.name + "-wal")

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        with self._lock:
            # SQLite deletes the log when the last connection closes.
            self._place.let_go(*self._files)
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
            self._connection.execute("BEGIN IMMEDIATE")
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
            # If the folder was removed meanwhile, the commit went with it.
            self._place.check()

    def rows(self, sql: str, *values: Any) -> Sequence[tuple[Any, ...]]:
        """All rows of a query, from one consistent snapshot."""
        with self._lock, explained(self.path):
            return self._connection.execute(sql, values).fetchall()

    @property
    def version(self) -> int:
        """The version of the catalogue; an older one that is open for reading stays as it is."""
        return int(self.rows("PRAGMA user_version")[0][0])

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
            raise UserError(
                f"{self.path} holds objects that this program does not make "
                f"({', '.join(strangers[:5])}) and that could change a study unseen, so it is not "
                "opened. Ask whoever gave it to you, or use a backup from before it was altered."
            )
        connection.execute("PRAGMA foreign_keys = ON")
        if self.writable:
            connection.execute("PRAGMA synchronous = FULL")
            _check_integrity(connection)
            if version < current:
                schema.migrate(connection)


def _connect(path: Path, *, writable: bool) -> sqlite3.Connection:
    # Never "rwc": opening must not create an empty catalogue if it is missing.
    uri = f"{path.absolute().as_uri()}?mode={'rw' if writable else 'ro'}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    _restrain(connection)
    if writable:
        return connection
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.OperationalError:
        # A WAL database cannot be read if its index cannot be written (a read-only share), unless
        # it is declared immutable. An empty or absent WAL hides no commit.
        connection.close()
        wal = path.with_name(path.name + "-wal")
        if wal.exists() and wal.stat().st_size > 0:
            raise
        connection = sqlite3.connect(
            uri + "&immutable=1", uri=True, isolation_level=None, check_same_thread=False
        )
        _restrain(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _restrain(connection: sqlite3.Connection) -> None:
    """Harden the connection: the file may come from a stranger."""
    for limit, value in _LIMITS.items():
        connection.setlimit(limit, value)
    # A damaged text is read, and told by its hash.
    connection.text_factory = lambda text: text.decode(errors="replace")
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0"):
        connection.execute(f"PRAGMA {pragma}")


def _check_integrity(connection: sqlite3.Connection) -> None:
    # Impossible values are told, row by row, where they are read; the rest of the study works.
    connection.execute("PRAGMA ignore_check_constraints = ON")
    (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    connection.execute("PRAGMA ignore_check_constraints = OFF")
    if answer != "ok":
        raise sqlite3.DatabaseError(answer)

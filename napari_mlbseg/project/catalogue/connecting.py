"""Connections to a catalogue, which may come from a stranger, or lie on a read-only share."""

import sqlite3
from pathlib import Path
from typing import Final, Literal

BUSY_TIMEOUT_S: Final = 30.0
"""How long another program that holds the catalogue is waited for."""

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


def opened(path: Path, mode: Literal["rw", "ro"]) -> sqlite3.Connection:
    """Connect to a catalogue that exists."""
    # Never "rwc": opening must not create an empty catalogue if it is missing.
    return _connected(f"{path.absolute().as_uri()}?mode={mode}")


def opened_for_reading(path: Path) -> sqlite3.Connection:
    """Connect to a catalogue that this process does not change, even on a read-only share."""
    connection = opened(path, "ro")
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.OperationalError:
        # A WAL database cannot be read if its index cannot be written (a read-only share), unless
        # it is declared immutable. An empty or absent WAL hides no commit.
        connection.close()
        wal = path.with_name(path.name + "-wal")
        if wal.exists() and wal.stat().st_size > 0:
            raise
        connection = _connected(f"{path.absolute().as_uri()}?mode=ro&immutable=1")
    except BaseException:
        connection.close()
        raise
    return connection


def restrain(connection: sqlite3.Connection) -> None:
    """Harden the connection: the file may come from a stranger."""
    for limit, value in _LIMITS.items():
        connection.setlimit(limit, value)
    # A damaged text is read, and told by its hash.
    connection.text_factory = lambda text: text.decode(errors="replace")
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0"):
        connection.execute(f"PRAGMA {pragma}")


def _connected(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    restrain(connection)
    return connection

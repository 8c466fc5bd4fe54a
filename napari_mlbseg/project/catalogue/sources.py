"""Reads what can be read of damaged catalogues and of backups."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from napari_mlbseg.project.catalogue.connecting import restrain
from napari_mlbseg.project.catalogue.schema import first_columns
from napari_mlbseg.project.catalogue.soundness import Row, holds

Table = dict[int, Row]

_FURTHER = 1000
"""How many numbers beyond the last known row of a damaged table are tried."""
_IS_TABLE = "SELECT 1 FROM sqlite_master WHERE name = ? AND sql LIKE 'CREATE TABLE %'"
_UNREADABLE = (sqlite3.Error, UnicodeDecodeError)  # the second for a damaged name of a column
_WITHOUT_NUMBERS = ("classes", "metrics")


class Sources:
    """The tables of several catalogues, the newest first, as far as they can be read."""

    def __init__(self, connections: Sequence[sqlite3.Connection], counted: int) -> None:
        self._connections, self.counted = connections, counted
        self._read: dict[str, list[tuple[Table, bool]]] = {}

    def tables(self, name: str) -> list[Table]:
        """A table of each catalogue, by row number."""
        return [table for table, _ in self._tables(name)]

    def numbers(self, name: str) -> set[int]:
        """The numbers of all rows that are to be saved.

        Rows that only a backup has count if the newest catalogue cannot be read to its end.
        """
        newest, whole = self._tables(name)[0]
        if whole and not self.missing:
            return set(newest)
        return {number for table in self.tables(name) for number in table}

    @property
    def missing(self) -> int:
        """How many changes the newest catalogue lacks that were counted outside of it."""
        return max(0, self.counted - max(self.tables("audit")[0], default=0))

    def _tables(self, name: str) -> list[tuple[Table, bool]]:
        if name not in self._read:
            self._read[name] = [_rows(c, name, self.counted) for c in self._connections]
        return self._read[name]

    def candidates(self, name: str, number: int) -> Iterator[Row]:
        """The rows of a number, the newest first."""
        return (table[number] for table in self.tables(name) if number in table)

    def table(self, name: str, is_sound: Callable[[Row], bool]) -> Table:
        """For each number the newest sound row."""
        found = {}
        for number in sorted(self.numbers(name)):
            row = next((r for r in self.candidates(name, number) if holds(is_sound, r)), None)
            if row is not None:
                found[number] = row
        return found

    def in_newest(self, revision: Row) -> bool:
        """Whether the newest catalogue itself holds a revision like this, with its mask."""
        rows, masks = (self.tables(name)[0] for name in ("revisions", "masks"))
        row = rows.get(revision["number"])
        same = row is not None and all(revision.get(k) == value for k, value in row.items())
        return same and revision.get("packed") == masks.get(revision["mask"])

    def is_empty(self, name: str) -> bool:
        """Whether the newest catalogue can be read, and has no row in a table."""
        newest, whole = self._tables(name)[0]
        return whole and not newest

    def best(self, name: str, is_sound: Callable[[Row], bool]) -> list[Row]:
        """All rows of the newest catalogue in which every row of a table is sound."""
        sound = (
            t
            for t, whole in self._tables(name)
            if whole and all(holds(is_sound, row) for row in t.values())
        )
        return list(next(sound, {}).values())


def _rows(connection: sqlite3.Connection, table: str, counted: int) -> tuple[Table, bool]:
    """The rows of a table, and whether it could be read to its end.

    Where it could not, rows are read by their numbers, if they have some.
    """
    found: Table = {}
    try:
        if not connection.execute(_IS_TABLE, (table,)).fetchone():
            return {}, False
        for row in _select(connection, table, "1"):
            found[row.get("number", len(found))] = row
        return found, True
    except _UNREADABLE:
        if table in _WITHOUT_NUMBERS:
            return {}, False
    for number in range(1, max(counted, *found, 0) + _FURTHER):
        if number not in found:
            with suppress(*_UNREADABLE):
                for row in _select(connection, table, f"number = {number}"):
                    found[number] = row
    return found, False


def _select(connection: sqlite3.Connection, table: str, where: str) -> Iterator[Row]:
    cursor = connection.execute(f"SELECT * FROM {table} WHERE {where}")
    names = [column[0] for column in cursor.description]
    if not first_columns(table) <= set(names):
        raise sqlite3.DatabaseError(f"the columns of {table} are damaged")
    for row in cursor:
        yield dict(zip(names, row, strict=True))


def opened(path: Path) -> sqlite3.Connection | None:
    """A catalogue to read from; None where nothing of it can be read."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        restrain(connection)
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except _UNREADABLE:
        connection.close()
        return None
    return connection

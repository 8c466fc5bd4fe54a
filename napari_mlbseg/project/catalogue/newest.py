"""The newest revision of every slice at hand: of the catalogue only what is new is read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from napari_mlbseg.project.catalogue.database import Database
from napari_mlbseg.project.records.slices import SliceRecord

Row = tuple[Any, ...]

RECORD_COLUMNS = "number, case_id, axis, slice, state, mask IS NOT NULL, author, created_at"
_NEWEST = (
    f"SELECT {RECORD_COLUMNS} FROM revisions WHERE number IN "
    "(SELECT max(number) FROM revisions GROUP BY case_id, axis, slice) ORDER BY number"
)
_SINCE = f"SELECT {RECORD_COLUMNS} FROM revisions WHERE number > ? ORDER BY number"


@dataclass
class _Newest:
    """The row of a revision, and its record once somebody asked for it."""

    row: Row
    record: SliceRecord | None = None


class NewestRevisions:
    """Follows a table to which rows are only ever added, with growing numbers.

    So what was read stays true until a newer revision of the slice comes, from this process or
    another one. Safe to use from several threads, but not inside of a transaction, which may be
    taken back.
    """

    def __init__(self, database: Database, understood: Callable[[Row], SliceRecord]) -> None:
        """`understood` makes the record of a row; rows that nobody asks for are not looked at."""
        self._database, self._understood = database, understood
        self._lock = Lock()
        self._read_to = 0
        self._slices: dict[Row, _Newest] = {}  # in order of revision

    def records(self, case_id: str | None, state: str | None) -> tuple[SliceRecord, ...]:
        """The newest revision of each slice, in order of revision."""
        # The lock is not held while the database is waited for, which has one of its own.
        read_to = self._read_to
        rows = self._database.rows(*((_SINCE, read_to) if read_to else (_NEWEST,)))
        with self._lock:
            self._take(rows)
            return tuple(
                self._record(newest)
                for newest in self._slices.values()
                if case_id in (None, newest.row[1]) and state in (None, newest.row[4])
            )

    def _take(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if row[0] > self._read_to:  # else another thread was quicker
                self._slices.pop(row[1:4], None)
                self._slices[row[1:4]] = _Newest(row)
                self._read_to = row[0]

    def _record(self, newest: _Newest) -> SliceRecord:
        if newest.record is None:
            newest.record = self._understood(newest.row)
        return newest.record

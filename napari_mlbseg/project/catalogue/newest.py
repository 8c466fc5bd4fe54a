"""The newest sound revision of every slice at hand: of the catalogue only what is new is read."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, Final

from napari_mlbseg.project.catalogue import hashes
from napari_mlbseg.project.catalogue.database import Database
from napari_mlbseg.project.catalogue.schema import WITH_HASHES
from napari_mlbseg.project.records.damage import DamagedRevision
from napari_mlbseg.project.records.slices import SliceKey, SliceRecord, SliceState

Row = tuple[Any, ...]

RECORDING: Final = ("save slice", "set slice state", "take slice")
"""The actions in the log that name the revision that they made."""

MASK, MASK_SHA256, SHA256 = 5, 8, 9
"""Where the number of the mask and the hashes stand in a row of a revision."""


def columns_of(database: Database) -> str:
    """The columns of a revision, and its hash; NULL in a catalogue without hashes."""
    if database.version >= WITH_HASHES:
        return f"{hashes.REVISION}, sha256"
    return hashes.REVISION.replace("mask_sha256", "NULL, NULL")


@dataclass(frozen=True)
class Checks:
    """How rows are judged.

    Attributes
    ----------
    row, mask
        Why a row or its mask cannot be what was saved; None for a sound one.
    place
        Case, axis and index of a row that is damaged itself; None where they are not known.
    understood
        The record of a sound row.
    """

    row: Callable[[Row], str | None]
    mask: Callable[[Row], str | None]
    place: Callable[[Row], SliceKey | None]
    understood: Callable[[Row], SliceRecord]


@dataclass
class _Slice:
    """The sound rows of a slice, oldest first, and why others are damaged, by revision."""

    rows: list[Row] = field(default_factory=list)
    damaged: dict[int, str] = field(default_factory=dict)
    record: SliceRecord | None = None
    """Of the newest row, once somebody asked for it; then its mask was checked, too."""


class NewestRevisions:
    """Follows a table to which rows are only ever added, with growing numbers.

    So what was read stays true until a newer revision of the slice comes, from this process or
    another one. If the newest revision is damaged, the one before is offered, as a draft. Safe to
    use from several threads, but not inside of a transaction, which may be taken back.
    """

    def __init__(self, database: Database, checks: Checks) -> None:
        self._database, self._checks = database, checks
        self._lock = Lock()
        self._columns = ""
        self._read_to = 0
        self._slices: dict[SliceKey, _Slice] = {}
        self._nowhere: list[DamagedRevision] = []

    def records(self, case_id: str | None) -> tuple[SliceRecord, ...]:
        """The newest revision of each slice, in order of revision."""
        with self._read():
            found = [
                record
                for key, one in self._slices.items()
                if case_id in (None, key.case_id) and (record := self._settled(one)) is not None
            ]
        return tuple(sorted(found, key=lambda record: record.revision))

    def record(self, key: SliceKey) -> SliceRecord | None:
        """The newest revision of a slice."""
        with self._read():
            one = self._slices.get(key)
            return None if one is None else self._settled(one)

    def history(self, key: SliceKey) -> tuple[SliceRecord, ...]:
        """All revisions of a slice whose rows are sound, oldest first."""
        with self._read():
            rows = self._slices[key].rows if key in self._slices else []
            return tuple(map(self._checks.understood, rows))

    def damaged(self) -> tuple[DamagedRevision, ...]:
        """The damaged revisions that no later one supersedes, in order of revision."""
        with self._read():
            found = list(self._nowhere)
            for key, one in self._slices.items():
                record = self._settled(one)
                shown = 0 if record is None else record.revision
                if one.damaged and (worst := max(one.damaged)) > shown:
                    found.append(DamagedRevision(worst, key, one.damaged[worst], shown or None))
        return tuple(sorted(found, key=lambda damaged: damaged.revision))

    @contextmanager
    def _read(self) -> Iterator[None]:
        """What is new is read; nothing changes in the block."""
        # The lock is not held while the database is waited for, which has one of its own.
        self._columns = self._columns or columns_of(self._database)
        rows = self._database.rows(
            f"SELECT {self._columns} FROM revisions WHERE number > ? ORDER BY number", self._read_to
        )
        with self._lock:
            self._take(rows)
            yield

    def _take(self, rows: Iterable[Row]) -> None:
        for row in rows:
            number = row[0]
            if number <= self._read_to:
                continue  # another thread was quicker
            self._read_to = number
            why = self._checks.row(row)
            key = SliceKey(*row[1:4]) if why is None else self._checks.place(row)
            if key is None:
                self._nowhere.append(DamagedRevision(number, None, str(why), None))
                continue
            one = self._slices.setdefault(key, _Slice())
            one.record = None
            if why is None:
                one.rows.append(row)
            else:
                one.damaged[number] = why

    def _settled(self, one: _Slice) -> SliceRecord | None:
        """The newest revision of a slice; rows with a damaged mask are passed over."""
        while one.record is None and one.rows:
            row = one.rows[-1]
            why = self._checks.mask(row)
            if why is None:
                one.record = self._offered(self._checks.understood(row), one.damaged)
            else:
                one.damaged[one.rows.pop()[0]] = why
        return one.record

    def _offered(self, record: SliceRecord, damaged: Iterable[int]) -> SliceRecord:
        """A record as it is, or as a draft if a damaged one superseded it."""
        worst = max(damaged, default=0)
        if worst < record.revision:
            return record
        state = SliceState.DRAFT if record.has_mask else SliceState.UNTOUCHED
        return replace(record, state=state, instead_of=worst)

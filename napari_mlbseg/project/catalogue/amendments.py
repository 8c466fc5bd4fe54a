"""What was changed of cases after their import: superseded, never overwritten.

The rows of cases stay as they were imported, so that everything that refers to them stays valid. A
person's name for a case is an amendment; its `id`, by which all else knows it, never changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from napari_mlbseg.project.catalogue import hashes
from napari_mlbseg.project.catalogue.database import Database, Transaction
from napari_mlbseg.project.catalogue.reading import readable
from napari_mlbseg.project.catalogue.schema import WITH_AMENDMENTS


class Standing(StrEnum):
    """Whether a case is in its study: kept, removed (to be restored), or without its arrays."""

    KEPT = "kept"
    REMOVED = "removed"
    DROPPED = "dropped"


@dataclass(frozen=True)
class Amendment:
    """What a case is now; None for what is as it was imported.

    Attributes
    ----------
    edition
        Counts how often the machine's labels were replaced from outside; the arrays of another
        edition do not count.
    """

    name: str | None = None
    image_path: str | None = None
    labels_path: str | None = None
    source_header: bytes | None = None
    source_choice: str | None = None
    edition: int = 0
    standing: Standing = Standing.KEPT


@dataclass(frozen=True, order=True)
class Renamed:
    """When a case was called so, and by whom; of two copies of a study the later one counts."""

    created_at: datetime
    author: str
    name: str


AS_IMPORTED: Final = Amendment()
OF_A_NAMESAKE: Final = "~"
"""Stands in the id of a case before a number if an earlier case has its name as id."""
_NEWEST: Final = (
    f"SELECT {hashes.AMENDMENT}, sha256 FROM amendments WHERE number IN "
    "(SELECT max(number) FROM amendments GROUP BY case_id)"
)
_EDITION: Final = "SELECT edition FROM amendments WHERE case_id = ? ORDER BY number DESC LIMIT 1"
_HISTORY: Final = f"SELECT {hashes.AMENDMENT} FROM amendments WHERE case_id = ? ORDER BY number"
_NAMES: Final = "SELECT name FROM amendments WHERE case_id = ? AND name IS NOT NULL ORDER BY number"


class Amendments:
    """The newest amendment of each case; only a writer can add some, so it reads them once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: Mapping[str, Amendment] | None = None

    def newest(self) -> Mapping[str, Amendment]:
        """The newest amendments by case; cases that are as imported have none.

        Raises Damaged for one that is not as it was saved.
        """
        known = self._known
        if known is None or not self._database.writable:
            self._known = known = self._read()
        return known

    def of(self, case_id: str) -> Amendment:
        """What a case is now."""
        return self.newest().get(case_id, AS_IMPORTED)

    def edition(self, case_id: str) -> int:
        """The edition of a case whose arrays count."""
        if self._database.writable:
            return self.of(case_id).edition
        if self._database.version < WITH_AMENDMENTS:
            return 0
        rows = self._database.rows(_EDITION, case_id)
        return int(rows[0][0]) if rows else 0

    def names(self, case_id: str) -> tuple[str, ...]:
        """The names that a case has had, the first one first."""
        known = self._database.version >= WITH_AMENDMENTS
        rows = self._database.rows(_NAMES, case_id) if known else ()
        later = [str(name) for (name,) in rows]
        made = bool(later) and case_id.rpartition(OF_A_NAMESAKE)[0] == later[0]
        return tuple(dict.fromkeys(later if made else [case_id, *later]))

    def renamed(self, case_id: str) -> Renamed | None:
        """When a case was given its name; None if it never had another one than at its import."""
        if self._database.version < WITH_AMENDMENTS:
            return None
        found, before = None, (None,)
        for _, *values, author, at in self._database.rows(_HISTORY, case_id):
            # A row that changes nothing says that another copy was given the same name later.
            if values[0] is not None and (values[0] != before[0] or tuple(values) == before):
                found = Renamed(datetime.fromisoformat(at), author, values[0])
            before = tuple(values)
        return found

    def forget(self) -> None:
        """Read the amendments again: some were added."""
        self._known = None

    def _read(self) -> Mapping[str, Amendment]:
        if self._database.version < WITH_AMENDMENTS:
            return {}
        found = {}
        for *row, sha256 in self._database.rows(_NEWEST):
            case_id, *values = row[:-2]
            with readable(f"what was changed of {case_id!r}"):
                hashes.require_sound(tuple(row), sha256)
                one = Amendment(*values)
                standing, edition = Standing(one.standing), int(one.edition)
                found[case_id] = replace(one, standing=standing, edition=edition)
        return found


def add(
    write: Transaction, case_id: str, amendment: Amendment, renamed: Renamed | None = None
) -> None:
    """Add an amendment, which supersedes what was changed of the case before.

    `renamed` says who gave the name and when, if that was in another copy of the study.
    """
    values = (getattr(amendment, field.name) for field in fields(Amendment))
    by, at = (write.author, write.at) if renamed is None else _signed(renamed)
    row: tuple[Any, ...] = (case_id, *values, by, at)
    hashes.insert(write.connection, "amendments", hashes.AMENDMENT, row)


def _signed(renamed: Renamed) -> tuple[str, str]:
    return renamed.author, renamed.created_at.isoformat()

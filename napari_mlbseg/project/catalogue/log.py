"""The log of everything that was done to a study."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from napari_mlbseg.errors import Damaged
from napari_mlbseg.project.catalogue import hashes
from napari_mlbseg.project.catalogue.database import Database, sha256_in
from napari_mlbseg.project.catalogue.reading import readable


@dataclass(frozen=True)
class AuditEntry:
    """One line of the log of everything that was done to a study; lines are only ever added."""

    number: int
    created_at: datetime
    author: str
    action: str
    case_id: str | None
    details: Mapping[str, Any]


class AuditLog:
    """The rows about what was done; every change of the catalogue writes its own line."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def entries(self, limit: int | None = None) -> tuple[AuditEntry, ...]:
        """The newest `limit` lines (all by default), oldest first, without damaged ones."""
        return tuple(one for one in self._read(limit) if isinstance(one, AuditEntry))

    def damaged(self) -> tuple[str, ...]:
        """A sentence for each line that cannot be read."""
        return tuple(str(one) for one in self._read(None) if isinstance(one, Damaged))

    def _read(self, limit: int | None) -> Iterator[AuditEntry | Damaged]:
        columns = f"{hashes.LINE}, {sha256_in(self._database)}"
        rows = self._database.rows(
            f"SELECT number, {columns} FROM audit ORDER BY number DESC LIMIT ?",
            -1 if limit is None else limit,
        )
        for number, *row, sha256 in reversed(rows):
            try:
                with readable(f"line {number} of the log"):
                    hashes.require_sound(tuple(row), sha256)
                    at, author, action, case_id, details = row
                    when, said = datetime.fromisoformat(at), dict(json.loads(details))
                    yield AuditEntry(number, when, author, action, case_id, said)
            except Damaged as error:
                yield error

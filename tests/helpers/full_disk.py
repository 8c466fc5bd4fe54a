"""A disk that is full for as long as a test says so."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.catalogue.database import Database

REASON = "The catalogue could not be written (database or disk is full)."


class Disk:
    """What SQLite says when there is no room, to every transaction while `full`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        begin = Database.transaction

        @contextmanager
        def transaction(database: Database) -> Iterator[Any]:
            if self.full:
                raise UserError(REASON)
            with begin(database) as write:
                yield write

        monkeypatch.setattr(Database, "transaction", transaction)

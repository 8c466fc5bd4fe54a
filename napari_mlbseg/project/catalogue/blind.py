"""Slices that several people are to correct without seeing each other's work.

A copy of a study knows those that its owner was asked for. What others did to one of them does not
come into the copy before its owner has accepted it.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from napari_mlbseg.errors import Damaged
from napari_mlbseg.project.catalogue import hashes
from napari_mlbseg.project.catalogue.database import Database
from napari_mlbseg.project.catalogue.reading import readable
from napari_mlbseg.project.catalogue.revisions import Slices
from napari_mlbseg.project.catalogue.schema import WITH_REVIEWS
from napari_mlbseg.project.records.slices import SliceKey

_ROWS: Final = f"SELECT {hashes.BLIND}, sha256 FROM blind ORDER BY number"


class Blind:
    """The slices that whoever works on this copy of a study is to correct blindly."""

    def __init__(self, database: Database, slices: Slices) -> None:
        self._database, self._slices = database, slices

    def all(self) -> frozenset[SliceKey]:
        """Every slice that was asked for; what is damaged is passed over."""
        return frozenset(one for one in self._read() if isinstance(one, SliceKey))

    def damaged(self) -> tuple[str, ...]:
        """A sentence for each of them that cannot be what was saved."""
        return tuple(str(one) for one in self._read() if isinstance(one, Damaged))

    def left(self) -> frozenset[SliceKey]:
        """Those of them that are not accepted yet."""
        asked = self.all()
        return asked.difference(self._slices.clean()) if asked else asked

    def _read(self) -> Iterator[SliceKey | Damaged]:
        there = self._database.version >= WITH_REVIEWS
        for *row, sha256 in self._database.rows(_ROWS) if there else ():
            case_id, axis, index, _, _ = row
            try:
                with readable(f"that slice {index} of {case_id!r} is to be corrected blindly"):
                    hashes.require_sound(tuple(row), sha256)
                    yield SliceKey(case_id, axis, index)
            except Damaged as error:
                yield error

    def ask(self, keys: Iterable[SliceKey]) -> None:
        """Ask for slices."""
        with self._database.transaction() as write:
            for key in keys:
                row = (key.case_id, key.axis, key.index, write.author, write.at)
                hashes.insert(write.connection, "blind", hashes.BLIND, row)
                write.note("ask blindly", key.case_id, axis=key.axis, slice=key.index)

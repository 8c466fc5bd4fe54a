"""Slices that several people are to correct without seeing each other's work.

A copy of a study knows those that its owner was asked for. What others did to one of them does not
come into the copy before its owner has accepted it.
"""

from collections.abc import Iterable
from typing import Final

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
        """Every slice that was asked for. Raises Damaged for a row that is not as it was saved."""
        if self._database.version < WITH_REVIEWS:
            return frozenset()
        found = set()
        for *row, sha256 in self._database.rows(_ROWS):
            case_id, axis, index, _, _ = row
            with readable(f"that slice {index} of {case_id!r} is to be corrected blindly"):
                hashes.require_sound(tuple(row), sha256)
                found.add(SliceKey(case_id, axis, index))
        return frozenset(found)

    def left(self) -> frozenset[SliceKey]:
        """Those of them that are not accepted yet."""
        asked = self.all()
        return asked.difference(self._slices.clean()) if asked else asked

    def ask(self, keys: Iterable[SliceKey]) -> None:
        """Ask for slices."""
        with self._database.transaction() as write:
            for key in keys:
                row = (key.case_id, key.axis, key.index, write.author, write.at)
                hashes.insert(write.connection, "blind", hashes.BLIND, row)
                write.note("ask blindly", key.case_id, axis=key.axis, slice=key.index)

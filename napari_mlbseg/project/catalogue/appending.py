"""New revisions of slices: all of them are checked and packed before the first is written."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from napari_mlbseg.project.catalogue import hashes
from napari_mlbseg.project.catalogue.database import Transaction
from napari_mlbseg.project.records.masks import PackedMask
from napari_mlbseg.project.records.slices import SliceKey, SliceRecord, SliceState


@dataclass(frozen=True)
class Ready:
    """A revision that was checked: with a new mask and the values in it, or with a stored one.

    Attributes
    ----------
    author, at
        Who saved it and when, if that was in another copy of the study.
    """

    key: SliceKey
    state: SliceState
    mask: tuple[int | None, bytes | None] = (None, None)
    packed: PackedMask | None = None
    values: frozenset[int] | None = None
    author: str | None = None
    at: datetime | None = None

    def write(self, write: Transaction) -> tuple[SliceRecord, int | None]:
        """Add it; return its record, and the number of its mask."""
        mask, packed = self.mask, self.packed
        if packed is not None:
            number = write.execute(
                "INSERT INTO masks (rows, columns, dtype, data) VALUES (?, ?, ?, ?)",
                *(packed.rows, packed.columns, packed.dtype, packed.data),
            )
            mask = number, hashes.sha256_of_mask(packed)
        record = self._append(write, mask)
        if self.author is not None:
            write.note("take slice", self.key.case_id, author=self.author, **_details(record))
        else:
            action = "set slice state" if packed is None else "save slice"
            write.note(action, self.key.case_id, **_details(record))
        return record, mask[0]

    def _append(self, write: Transaction, mask: tuple[int | None, bytes | None]) -> SliceRecord:
        """Add the row; `mask` is the number of its mask, and the hash of that."""
        [(number,)] = write.rows("SELECT coalesce(max(number), 0) + 1 FROM revisions")
        author, at = self.author or write.author, self.at or datetime.fromisoformat(write.at)
        place = (self.key.case_id, self.key.axis, self.key.index, self.state.value)
        row = (number, *place, mask[0], author, at.isoformat(), mask[1])
        hashes.insert(write.connection, "revisions", hashes.REVISION, row)
        return SliceRecord(self.key, self.state, number, mask[0] is not None, author, at)


def _details(record: SliceRecord) -> dict[str, Any]:
    return {
        "axis": record.key.axis,
        "slice": record.key.index,
        "state": record.state.value,
        "revision": record.revision,
    }

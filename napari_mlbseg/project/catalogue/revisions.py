"""Every revision of every slice that a person worked on."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.catalogue.database import Database, Transaction
from napari_mlbseg.project.catalogue.newest import RECORD_COLUMNS, NewestRevisions
from napari_mlbseg.project.catalogue.reading import readable
from napari_mlbseg.project.records.masks import PackedMask
from napari_mlbseg.project.records.slices import SliceKey, SliceRecord, SliceState
from napari_mlbseg.project.records.values import values_in

_NEWEST = "revisions.number IN (SELECT max(number) FROM revisions GROUP BY case_id, axis, slice)"
_OF_SLICE = "case_id = ? AND axis = ? AND slice = ?"
_MASK = "masks.rows, masks.columns, masks.dtype, masks.data"


class Revisions:
    """The rows about slices; nothing is ever overwritten, only superseded."""

    def __init__(self, database: Database, shape_of: Callable[[str], tuple[int, int, int]]) -> None:
        """`shape_of` gives the shape (z y x) of a case, which bounds what is read of it."""
        self._database, self._shape_of = database, shape_of
        self._newest = NewestRevisions(database, lambda row: self._records([row])[0])
        self._values: dict[int, frozenset[int]] = {}

    def save(self, key: SliceKey, mask: NDArray[np.uint8], state: SliceState) -> SliceRecord:
        """Add a revision with a new mask."""
        if state not in (SliceState.DRAFT, SliceState.CLEAN):
            raise ValueError(f"a saved slice is a draft or clean, not {state}")
        packed = PackedMask.pack(mask)
        with self._database.transaction() as write:
            number = write.execute(
                "INSERT INTO masks (rows, columns, dtype, data) VALUES (?, ?, ?, ?)",
                *(packed.rows, packed.columns, packed.dtype, packed.data),
            )
            record = _append(write, key, state, number)
            write.note("save slice", key.case_id, **_details(record))
        if state is SliceState.CLEAN:
            self._values[record.revision] = values_in(mask)
        return record

    def set_state(self, key: SliceKey, state: SliceState) -> SliceRecord:
        """Add a revision with another state and the newest mask, if there is one."""
        with self._database.transaction() as write:
            rows = self._database.rows(
                f"SELECT mask FROM revisions WHERE {_OF_SLICE} ORDER BY number DESC LIMIT 1",
                *(key.case_id, key.axis, key.index),
            )
            mask = rows[0][0] if rows else None
            if mask is None and state in (SliceState.DRAFT, SliceState.CLEAN):
                raise UserError(
                    f"Slice {key.index} of {key.case_id} has no corrected mask that could become "
                    f"{state.value}. Save its labels first."
                )
            record = _append(write, key, state, mask)
            write.note("set slice state", key.case_id, **_details(record))
        return record

    def newest(self, case_id: str | None, state: SliceState | None) -> tuple[SliceRecord, ...]:
        """Newest revision of each slice, in order of revision."""
        return self._newest.records(case_id, None if state is None else state.value)

    def history(self, key: SliceKey) -> tuple[SliceRecord, ...]:
        """All revisions of a slice, oldest first."""
        rows = self._database.rows(
            f"SELECT {RECORD_COLUMNS} FROM revisions WHERE {_OF_SLICE} ORDER BY number",
            *(key.case_id, key.axis, key.index),
        )
        return self._records(rows)

    def mask(self, revision: int) -> NDArray[np.uint8]:
        """The mask of a revision; raises UserError where it has none."""
        rows = self._database.rows(
            f"SELECT case_id, axis, slice, {_MASK} FROM revisions "
            "JOIN masks ON masks.number = revisions.mask WHERE revisions.number = ?",
            revision,
        )
        if not rows:
            raise UserError(f"There is no mask in revision {revision}. Choose another revision.")
        case_id, axis, index, *packed = rows[0]
        return self._unpacked(self._key(case_id, axis, index), packed)

    def values(self, revision: int) -> frozenset[int]:
        """The values in the mask of a revision, which is unpacked once; UserError without one."""
        if revision not in self._values:
            self._values[revision] = values_in(self.mask(revision))
        return self._values[revision]

    def applied(self, case_id: str) -> Iterator[tuple[SliceKey, NDArray[np.uint8]]]:
        """Masks of the drafts and clean slices of a case, in order of revision."""
        rows: Sequence[tuple[Any, ...]] = self._database.rows(
            f"SELECT axis, slice, {_MASK} FROM revisions "
            f"JOIN masks ON masks.number = revisions.mask WHERE {_NEWEST} AND case_id = ? "
            "AND state IN ('draft', 'clean') ORDER BY revisions.number",
            case_id,
        )
        for axis, index, *packed in rows:
            key = self._key(case_id, axis, index)
            yield key, self._unpacked(key, packed)

    def _records(self, rows: Sequence[tuple[Any, ...]]) -> tuple[SliceRecord, ...]:
        with readable("what was done to a slice"):
            return tuple(_record(self._key(*row[1:4]), row) for row in rows)

    def _key(self, case_id: str, axis: int, index: int) -> SliceKey:
        """A slice of the study; raises UserError for one that its case does not have."""
        shape = self._shape_of(case_id)
        if axis in (0, 1, 2) and isinstance(index, int) and 0 <= index < shape[axis]:
            return SliceKey(case_id, axis, index)
        raise UserError(
            f"The catalogue of the study names slice {index} along axis {axis} of {case_id!r}, "
            f"whose shape is {shape} (z y x). Restore the study from a backup, or ask whoever gave "
            "it to you."
        )

    def _unpacked(self, key: SliceKey, packed: Sequence[Any]) -> NDArray[np.uint8]:
        rows, columns = (n for k, n in enumerate(self._shape_of(key.case_id)) if k != key.axis)
        return PackedMask(*packed).unpack((rows, columns))


def _append(write: Transaction, key: SliceKey, state: SliceState, mask: int | None) -> SliceRecord:
    number = write.execute(
        "INSERT INTO revisions (case_id, axis, slice, state, mask, author, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        *(key.case_id, key.axis, key.index, state.value, mask, write.author, write.at),
    )
    return SliceRecord(
        key, state, number, mask is not None, write.author, datetime.fromisoformat(write.at)
    )


def _details(record: SliceRecord) -> dict[str, Any]:
    return {
        "axis": record.key.axis,
        "slice": record.key.index,
        "state": record.state.value,
        "revision": record.revision,
    }


def _record(key: SliceKey, row: tuple[Any, ...]) -> SliceRecord:
    number, _, _, _, state, has_mask, author, created_at = row
    return SliceRecord(
        key=key,
        state=SliceState(state),
        revision=number,
        has_mask=bool(has_mask),
        author=author,
        created_at=datetime.fromisoformat(created_at),
    )

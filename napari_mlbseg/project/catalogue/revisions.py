"""What a person did to the slices: every revision of every slice that was worked on."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.catalogue.catalogue import Catalogue
from napari_mlbseg.project.catalogue.database import Database, Transaction
from napari_mlbseg.project.catalogue.newest import RECORD_COLUMNS, NewestRevisions
from napari_mlbseg.project.catalogue.reading import readable
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.masks import PackedMask
from napari_mlbseg.project.records.slices import HUMAN, SliceKey, SliceRecord, SliceState
from napari_mlbseg.project.records.values import require_classes, values_in

_OF_SLICE = "case_id = ? AND axis = ? AND slice = ?"
_MASK = "masks.rows, masks.columns, masks.dtype, masks.data"


class Slices:
    """The slices of a study; nothing is ever overwritten, only superseded.

    Whatever records human work returns when it is on the disk.
    """

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database, self._catalogue = database, catalogue
        self._newest = NewestRevisions(database, lambda row: self._records([row])[0])
        self._values: dict[int, frozenset[int]] = {}

    def save(self, key: SliceKey, mask: NDArray[np.uint8], state: SliceState) -> SliceRecord:
        """Keep a person's mask (the slice's two display axes in order) as draft or clean.

        Raises UserError for a clean one with values that are no class of the study.
        """
        if state not in HUMAN:
            raise ValueError(f"a saved slice is a draft or clean, not {state}")
        expected = self._case_of(key).slice_shape(key.axis)
        if mask.shape != expected:
            raise ValueError(f"the mask of {key} has the shape {expected}, got {mask.shape}")
        if state is SliceState.CLEAN:
            require_classes(mask, self._catalogue.classes(), key)
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
        """Change a slice's state and keep its newest mask.

        Raises UserError for clean without a mask, or with values that are no class of the study.
        """
        self._case_of(key)
        record = self.record(key) if state is SliceState.CLEAN else None
        if record is not None and record.has_mask:
            require_classes(self.revision_mask(record.revision), self._catalogue.classes(), key)
        with self._database.transaction() as write:
            rows = self._database.rows(
                f"SELECT mask FROM revisions WHERE {_OF_SLICE} ORDER BY number DESC LIMIT 1",
                *(key.case_id, key.axis, key.index),
            )
            mask = rows[0][0] if rows else None
            if mask is None and state in HUMAN:
                raise UserError(
                    f"Slice {key.index} of {key.case_id} has no corrected mask to become "
                    f"{state.value}. Save its labels first."
                )
            record = _append(write, key, state, mask)
            write.note("set slice state", key.case_id, **_details(record))
        return record

    def record(self, key: SliceKey) -> SliceRecord | None:
        """The newest revision of a slice; None for one that nobody touched."""
        history = self.history(key)
        return history[-1] if history else None

    def records(
        self, case_id: str | None = None, *, state: SliceState | None = None
    ) -> tuple[SliceRecord, ...]:
        """The newest revision of every touched slice, in order of revision."""
        return self._newest.records(case_id, None if state is None else state.value)

    def history(self, key: SliceKey) -> tuple[SliceRecord, ...]:
        """All revisions of a slice, oldest first."""
        rows = self._database.rows(
            f"SELECT {RECORD_COLUMNS} FROM revisions WHERE {_OF_SLICE} ORDER BY number",
            *(key.case_id, key.axis, key.index),
        )
        return self._records(rows)

    def human(self, case_id: str) -> tuple[SliceRecord, ...]:
        """Those of a case whose mask lies over the machine's labels: drafts and clean slices."""
        return tuple(record for record in self.records(case_id) if record.state in HUMAN)

    def clean(self) -> tuple[SliceKey, ...]:
        """The slices that a person accepted, in order of revision."""
        return tuple(record.key for record in self.records(state=SliceState.CLEAN))

    def mask(self, key: SliceKey) -> NDArray[np.uint8]:
        """The newest mask of a slice; UserError where it has none."""
        record = self.record(key)
        if record is None or not record.has_mask:
            raise UserError(f"Slice {key.index} of {key.case_id} has no corrected mask yet.")
        return self.revision_mask(record.revision)

    def revision_mask(self, revision: int) -> NDArray[np.uint8]:
        """The mask that belonged to a revision; UserError where it has none."""
        found = self._database.rows(
            f"SELECT case_id, axis, slice, {_MASK} FROM revisions "
            "JOIN masks ON masks.number = revisions.mask WHERE revisions.number = ?",
            revision,
        )
        if not found:
            raise UserError(f"There is no mask in revision {revision}. Choose another revision.")
        case_id, axis, index, *packed = found[0]
        shape = self._catalogue.shape(self._key(case_id, axis, index).case_id)
        rows, columns = (n for k, n in enumerate(shape) if k != axis)
        return PackedMask(*packed).unpack((rows, columns))

    def values(self, revision: int) -> frozenset[int]:
        """The values in the mask of a revision, which is unpacked once; UserError without one."""
        if revision not in self._values:
            self._values[revision] = values_in(self.revision_mask(revision))
        return self._values[revision]

    def _case_of(self, key: SliceKey) -> Case:
        """The case of a slice that is to be kept; raises where it has no such slice."""
        case = self._catalogue.case(key.case_id)
        if key.axis not in (0, 1, 2):
            raise ValueError(f"a display axis is 0, 1 or 2, got {key.axis}")
        last = case.geometry.shape[key.axis] - 1
        if not 0 <= key.index <= last:
            raise UserError(
                f"{key.case_id} has the slices 0 to {last} along this axis, but got {key.index}."
            )
        return case

    def _records(self, rows: Sequence[tuple[Any, ...]]) -> tuple[SliceRecord, ...]:
        with readable("what was done to a slice"):
            return tuple(_record(self._key(*row[1:4]), row) for row in rows)

    def _key(self, case_id: str, axis: int, index: int) -> SliceKey:
        """A slice of the study; raises UserError for one that its case does not have."""
        shape = self._catalogue.shape(case_id)
        if axis in (0, 1, 2) and isinstance(index, int) and 0 <= index < shape[axis]:
            return SliceKey(case_id, axis, index)
        raise UserError(
            f"The catalogue of the study names slice {index} along axis {axis} of {case_id!r}, "
            f"whose shape is {shape} (z y x). Restore the study from a backup, or ask whoever gave "
            "it to you."
        )


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

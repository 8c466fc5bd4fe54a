"""What a person did to the slices: every revision of every slice that was worked on."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import Damaged, UserError
from napari_mlbseg.project.catalogue import hashes
from napari_mlbseg.project.catalogue.amendments import Standing
from napari_mlbseg.project.catalogue.appending import Ready
from napari_mlbseg.project.catalogue.catalogue import Catalogue
from napari_mlbseg.project.catalogue.database import Database, Transaction
from napari_mlbseg.project.catalogue.newest import (
    MASK,
    MASK_SHA256,
    RECORDING,
    SHA256,
    Checks,
    NewestRevisions,
    Row,
    columns_of,
)
from napari_mlbseg.project.catalogue.reading import readable
from napari_mlbseg.project.catalogue.verdicts import Verdicts
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.damage import DamagedRevision
from napari_mlbseg.project.records.masks import PackedMask, require_values
from napari_mlbseg.project.records.slices import HUMAN, SliceKey, SliceRecord, SliceState
from napari_mlbseg.project.records.values import require_classes, values_in

T = TypeVar("T")
Wanted = tuple[SliceKey, SliceState, NDArray[np.uint8] | None]


class Slices:
    """The slices of a study; nothing is ever overwritten, only superseded.

    Whatever records human work returns when it is on the disk. Each revision has a hash: where the
    newest one of a slice is damaged, `damaged` tells, and the one before counts as a draft. So does
    an accepted slice that a reviewer sent back.
    """

    def __init__(self, database: Database, catalogue: Catalogue, verdicts: Verdicts) -> None:
        self._database, self._catalogue, self._verdicts = database, catalogue, verdicts
        checks = Checks(self._row_damage, self._mask_damage, self._place_of, self._understood)
        self._newest = NewestRevisions(database, checks)
        self._values: dict[int, tuple[int, frozenset[int]]] = {}
        self._saved: set[int] = set()  # masks that came from memory just now

    def save(self, key: SliceKey, mask: NDArray[np.uint8], state: SliceState) -> SliceRecord:
        """Keep a person's mask (the slice's two display axes in order) as draft or clean.

        Raises UserError for a clean one with values that are no class of the study.
        """
        return self.keep([(key, state, mask)])[0]

    def require_savable(self, key: SliceKey, mask: NDArray[np.uint8], state: SliceState) -> None:
        """Raise the UserError that `save` would raise because of what it is given."""
        if state not in HUMAN:
            raise ValueError(f"a saved slice is a draft or clean, not {state}")
        expected = self._case_of(key).slice_shape(key.axis)
        if mask.shape != expected:
            raise ValueError(f"the mask of {key} has the shape {expected}, got {mask.shape}")
        require_values(mask)
        if state is SliceState.CLEAN:
            require_classes(mask, self._catalogue.classes(), self.in_words(key))

    def set_state(self, key: SliceKey, state: SliceState) -> SliceRecord:
        """Change a slice's state and keep its newest mask.

        Raises UserError for clean without a mask, or with values that are no class of the study.
        """
        return self.keep([(key, state, None)])[0]

    def keep(self, wanted: Iterable[Wanted]) -> tuple[SliceRecord, ...]:
        """Keep masks and states of several slices, in one transaction: all of them or none.

        Each is a slice, its state, and its mask, or None for the newest mask that it has; raises
        what `save` and `set_state` raise.
        """
        ready = [
            self._with_its_mask(key, state) if mask is None else self._with_mask(key, state, mask)
            for key, state, mask in wanted
        ]
        with self._database.transaction() as write:
            kept = [one.write(write) for one in ready]
        for one, (record, number) in zip(ready, kept, strict=True):
            if number is not None and one.packed is not None:
                self._saved.add(number)
                if one.values is not None:
                    self._values[record.revision] = number, one.values
        return tuple(record for record, _ in kept)

    def _with_mask(self, key: SliceKey, state: SliceState, mask: NDArray[np.uint8]) -> Ready:
        self.require_savable(key, mask, state)
        values = values_in(mask) if state is SliceState.CLEAN else None
        return Ready(key, state, packed=PackedMask.pack(mask), values=values)

    def _with_its_mask(self, key: SliceKey, state: SliceState) -> Ready:
        self._case_of(key)
        record = self.record(key)
        if state is SliceState.CLEAN and record is not None and record.has_mask:
            mask_of = self.revision_mask(record.revision)
            require_classes(mask_of, self._catalogue.classes(), self.in_words(key))
        mask = (None, None) if record is None else self._mask_of(record.revision)
        if mask[0] is None and state in HUMAN:
            raise UserError(
                f"{self.in_words(key)} has no corrected mask "
                f"to become {state.value}. Save its labels first."
            )
        return Ready(key, state, mask=mask)

    def take(
        self, write: Transaction, record: SliceRecord, mask: NDArray[np.uint8] | None
    ) -> SliceRecord:
        """Add a revision of another copy of the study, with its author and time.

        The mask is that of a revision that was checked there; classes are the same.
        """
        self._case_of(record.key)
        packed = None if mask is None else PackedMask.pack(mask)
        ready = Ready(
            record.key, record.state, packed=packed, author=record.author, at=record.created_at
        )
        return ready.write(write)[0]

    def record(self, key: SliceKey) -> SliceRecord | None:
        """The newest revision of a slice; None for one that nobody touched."""
        record = self._newest.record(key)
        return None if record is None else self._verdicts.judged([record], self.history)[0]

    def accepted(self, key: SliceKey) -> SliceRecord | None:
        """The newest revision of a slice if a person accepted it, whatever reviewers said of it."""
        record = self._newest.record(key)
        return record if record is not None and record.state is SliceState.CLEAN else None

    def records(
        self, case_id: str | None = None, *, state: SliceState | None = None
    ) -> tuple[SliceRecord, ...]:
        """The newest revision of every touched slice, in order of revision.

        Those of removed cases only if one is asked for.
        """
        judged = self._verdicts.judged(self._newest.records(case_id), self.history)
        found = tuple(record for record in judged if state in (None, record.state))
        return found if case_id is not None else self._kept(found, lambda record: record.key)

    def history(self, key: SliceKey) -> tuple[SliceRecord, ...]:
        """All revisions of a slice, oldest first, without damaged ones."""
        return self._newest.history(key)

    def damaged(self) -> tuple[DamagedRevision, ...]:
        """The damaged revisions that no later one supersedes, in order of revision."""
        kept = self._kept(self._newest.damaged(), lambda damaged: damaged.key)
        return tuple(
            one if one.key is None else replace(one, case=self._catalogue.name(one.key.case_id))
            for one in kept
        )

    def _kept(self, found: tuple[T, ...], key: Callable[[T], SliceKey | None]) -> tuple[T, ...]:
        """What does not belong to a case that was removed."""
        newest = self._catalogue.amendments.newest().items()
        gone = {case_id for case_id, one in newest if one.standing is not Standing.KEPT}
        if not gone:
            return found
        return tuple(one for one in found if (k := key(one)) is None or k.case_id not in gone)

    def human(self, case_id: str) -> tuple[SliceRecord, ...]:
        """Those of a case whose mask lies over the machine's labels: drafts and clean slices."""
        return tuple(record for record in self.records(case_id) if record.state in HUMAN)

    def clean(self) -> tuple[SliceKey, ...]:
        """The slices that a person accepted, in order of revision."""
        return tuple(record.key for record in self.records(state=SliceState.CLEAN))

    def teaching(self, case_id: str | None = None) -> tuple[SliceRecord, ...]:
        """The slices that teach: clean ones, or approved ones if the study asks for reviews.

        A run learns from them and is measured on them, and an export of accepted slices holds them.
        """
        clean = self.records(case_id, state=SliceState.CLEAN)
        if not self._verdicts.only_approved:
            return clean
        return tuple(record for record in clean if record.approved)

    def flaws(self) -> Iterator[tuple[int, str]]:
        """Every damaged revision, also a superseded one, and why it cannot be what was saved."""
        columns = columns_of(self._database)
        for row in self._database.rows(f"SELECT {columns} FROM revisions ORDER BY number"):
            why = self._row_damage(row) or self._mask_damage(row)
            if why is not None:
                yield row[0], why

    def mask(self, key: SliceKey) -> NDArray[np.uint8]:
        """The newest mask of a slice; UserError where it has none."""
        record = self.record(key)
        if record is None or not record.has_mask:
            raise UserError(f"{self.in_words(key)} has no corrected mask yet.")
        return self.revision_mask(record.revision)

    def revision_mask(self, revision: int) -> NDArray[np.uint8]:
        """The mask that belonged to a revision; UserError where it has none, or a damaged one."""
        found = self._database.rows(
            f"SELECT {columns_of(self._database)} FROM revisions WHERE number = ?", revision
        )
        if not found or found[0][MASK] is None:
            raise UserError(f"There is no mask in revision {revision}. Choose another revision.")
        try:
            return self._mask(found[0])
        except Damaged as error:
            raise Damaged(
                f"Revision {revision}, of slice {found[0][3]} of "
                f"{self._catalogue.name(found[0][1])}, cannot be read: "
                f"{error}. Open the study again: it then offers the revision before."
            ) from error

    def values(self, revision: int) -> frozenset[int]:
        """The values in the mask of a revision, which is unpacked once; UserError without one."""
        if revision not in self._values:
            mask, _ = self._mask_of(revision)
            self._values[revision] = mask or 0, values_in(self.revision_mask(revision))
        mask, found = self._values[revision]
        table = self._catalogue.moves.lookup(mask)
        return found if table is None else frozenset(table[list(found)].tolist())

    def in_words(self, key: SliceKey) -> str:
        """What people call a slice."""
        return f"Slice {key.index} of {self._catalogue.name(key.case_id)}"

    def _case_of(self, key: SliceKey) -> Case:
        """The case of a slice that is to be kept; raises where it has no such slice."""
        case = self._catalogue.case(key.case_id)
        if key.axis not in (0, 1, 2):
            raise ValueError(f"a display axis is 0, 1 or 2, got {key.axis}")
        last = case.geometry.shape[key.axis] - 1
        if not 0 <= key.index <= last:
            raise UserError(
                f"{case.name} has the slices 0 to {last} along this axis, but got {key.index}."
            )
        return case

    def _mask_of(self, revision: int) -> tuple[int | None, bytes | None]:
        """The number and the hash of the mask of a revision."""
        columns = columns_of(self._database)
        [row] = self._database.rows(f"SELECT {columns} FROM revisions WHERE number = ?", revision)
        return row[MASK], row[MASK_SHA256]

    def _mask(self, row: Row) -> NDArray[np.uint8]:
        """The mask of a row as it counts now; raises Damaged if it is not the one that was saved.

        What a person saved stays as it is, see `Moves`.
        """
        packed = self._packed(row)
        shape = self._catalogue.shape(row[1])
        rows, columns = (n for k, n in enumerate(shape) if k != row[2])
        mask, table = packed.unpack((rows, columns)), self._catalogue.moves.lookup(row[MASK])
        return mask if table is None else table[mask]

    def _packed(self, row: Row) -> PackedMask:
        """The stored mask of a row, whose hash fits if there is one; raises Damaged otherwise."""
        found = self._database.rows(
            "SELECT rows, columns, dtype, data FROM masks WHERE number = ?", row[MASK]
        )
        if not found:
            raise Damaged("its mask is missing")
        packed = PackedMask(*found[0])
        if row[MASK_SHA256] not in (None, hashes.sha256_of_mask(packed)):
            raise Damaged("its mask is not the one that was saved")
        return packed

    def _row_damage(self, row: Row) -> str | None:
        """Why a row cannot be what was saved, apart from its mask; None for a sound one."""
        if not hashes.is_sound(row[:SHA256], row[SHA256]):
            return "its entry is not the one that was saved"
        try:
            self._understood(row)
        except Damaged as error:
            return str(error)
        return None

    def _mask_damage(self, row: Row) -> str | None:
        """Why the mask of a sound row cannot be what was saved; None for a sound one."""
        if row[MASK] is None or row[MASK] in self._saved:
            return None
        try:
            if row[MASK_SHA256] is None:
                self._mask(row)  # from before there were hashes: it can be unpacked, at least
            else:
                self._packed(row)
        except Damaged as error:
            return str(error)
        return None

    def _place_of(self, row: Row) -> SliceKey | None:
        """The slice of a damaged row: from the log, else as the row says; None if it has none."""
        logged = self._database.rows(
            "SELECT case_id, details FROM audit WHERE action IN (?, ?, ?) AND details LIKE ?",
            *(*RECORDING, f'%"revision": {row[0]}}}'),
        )
        try:
            for case_id, text in logged:
                details = json.loads(text)
                return self._key(case_id, details["axis"], details["slice"])
            return self._key(*row[1:4])
        except (Damaged, ValueError, KeyError, TypeError):
            return None

    def _understood(self, row: Row) -> SliceRecord:
        """The record of a row; raises Damaged if it describes none."""
        with readable("what was done to a slice"):
            return _record(self._key(*row[1:4]), row)

    def _key(self, case_id: str, axis: int, index: int) -> SliceKey:
        """A slice of the study; raises Damaged for one that it does not have."""
        known = self._catalogue.has(case_id)
        shape = self._catalogue.shape(case_id) if known else (0, 0, 0)
        if axis in (0, 1, 2) and isinstance(index, int) and 0 <= index < shape[axis]:
            return SliceKey(case_id, axis, index)
        where = f"whose shape is {shape} (z y x)" if known else "which is no case of it"
        raise Damaged(
            f"the catalogue of the study names slice {index} along axis {axis} of {case_id!r}, "
            f"{where}"
        )


def _record(key: SliceKey, row: Row) -> SliceRecord:
    number, _, _, _, state, mask, author, created_at, *_ = row
    return SliceRecord(
        key=key,
        state=SliceState(state),
        revision=number,
        has_mask=mask is not None,
        author=author,
        created_at=datetime.fromisoformat(created_at),
    )

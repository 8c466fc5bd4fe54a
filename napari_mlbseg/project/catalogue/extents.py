"""The extents of classes in the catalogue: marked by a person, superseded, never overwritten."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import Damaged, UserError
from napari_mlbseg.project.catalogue import hashes
from napari_mlbseg.project.catalogue.amendments import Standing
from napari_mlbseg.project.catalogue.catalogue import Catalogue
from napari_mlbseg.project.catalogue.database import Database, Transaction, sha256_in
from napari_mlbseg.project.catalogue.reading import readable
from napari_mlbseg.project.catalogue.revisions import Slices
from napari_mlbseg.project.catalogue.schema import WITH_EXTENTS
from napari_mlbseg.project.records.extents import (
    UNMARKED,
    Certified,
    End,
    Excluded,
    Extent,
    ExtentRecord,
    effective,
    empty_by,
    excluded,
    unknown_ends,
)
from napari_mlbseg.project.records.slices import SliceRecord, SliceState

_NEWEST: Final = (
    f"SELECT {hashes.EXTENT}, {{sha256}} FROM extents WHERE number IN "
    "(SELECT max(number) FROM extents WHERE ? IN ('', case_id) GROUP BY case_id, axis, class) "
    "ORDER BY case_id, axis, class"
)


class Extents:
    """The extents of a study; `mark` returns when they are on the disk.

    Where a clean slice shows a class outside its marked extent, the extent reaches up to that
    slice for as long as the slice is clean. Slices are counted along display axes.

    Examples
    --------
    >>> from pathlib import Path
    >>> from napari_mlbseg.api import Extent, Study, import_folder
    >>> study = Study.create(Path("heart.mlbseg"))
    >>> imported = import_folder(study, Path("images"), Path("rough"))
    >>> marked = study.extents.mark("phantom_01", 0, 1, Extent(first=4, last=18))
    >>> study.extents.effective("phantom_01", axis=0)
    {1: Extent(first=4, last=18)}
    >>> study.close()
    """

    def __init__(self, database: Database, catalogue: Catalogue, slices: Slices) -> None:
        self._database, self._catalogue, self._slices = database, catalogue, slices

    def mark(self, case_id: str, axis: int, value: int, extent: Extent) -> ExtentRecord:
        """Record the extent of a class (by its value) in a case along a display axis.

        Raises UserError for an unknown case or class, and for slices that the case does not have.
        """
        if axis not in (0, 1, 2):
            raise ValueError(f"a display axis is 0, 1 or 2, got {axis}")
        shape = self._catalogue.shape(case_id)
        self._require_class(value)
        for index in (extent.first, extent.last):
            if index is not None and not 0 <= index < shape[axis]:
                raise UserError(
                    f"{self._catalogue.name(case_id)} has the slices 0 to {shape[axis] - 1} along "
                    f"this axis, but got {index}. Mark one of them."
                )
        with self._database.transaction() as write:
            row = (case_id, axis, value, extent.first, extent.last, write.author, write.at)
            hashes.insert(write.connection, "extents", hashes.EXTENT, row)
            details = {"axis": axis, "class": value, "first": extent.first, "last": extent.last}
            write.note("clear extent" if extent == UNMARKED else "mark extent", case_id, **details)
            at = datetime.fromisoformat(write.at)
            return ExtentRecord(case_id, axis, value, extent, write.author, at)

    def clear(self, case_id: str, axis: int, value: int) -> None:
        """Take both marks of a class away."""
        self.mark(case_id, axis, value, UNMARKED)

    def of(self, case_id: str | None = None) -> tuple[ExtentRecord, ...]:
        """What is marked in a case (in all that are kept by default), of classes of the study.

        Damaged marks do not count, nor those that they superseded; `damaged` tells of them.
        """
        known = {found.value for found in self._catalogue.classes()}
        found = [one for one in self._read(case_id) if isinstance(one, ExtentRecord)]
        standing = self._catalogue.ids() if case_id is None else {}
        return tuple(
            one
            for one in found
            if one.value in known
            and one.extent != UNMARKED
            and standing.get(one.case_id, Standing.KEPT) is Standing.KEPT
        )

    def newest(self, case_id: str) -> tuple[ExtentRecord, ...]:
        """What was marked last in a case for each class and display axis, or cleared."""
        return tuple(one for one in self._read(case_id) if isinstance(one, ExtentRecord))

    def damaged(self) -> tuple[str, ...]:
        """A sentence for each newest extent that cannot be what was saved."""
        return tuple(
            f"The marked ends of a class are damaged, so they do not count. {one} Mark them again."
            for one in self._read(None)
            if isinstance(one, Damaged)
        )

    def marked(self, case_id: str, axis: int, value: int) -> Extent:
        """What is marked of a class in a case along a display axis."""
        for one in self.of(case_id):
            if (one.axis, one.value) == (axis, value):
                return one.extent
        return UNMARKED

    def effective(self, case_id: str, axis: int) -> Mapping[int, Extent]:
        """The extents of classes with a marked end, widened by clean slices."""
        return self._effective(self.of(case_id), axis, self._clean(case_id))

    def excluded(self, case_id: str, axis: int) -> Excluded:
        """For each class with a marked end, which slices are certified not to show it."""
        return excluded(self.effective(case_id, axis), self._catalogue.shape(case_id)[axis])

    def excluded_along(self, case_id: str) -> Mapping[int, Excluded]:
        """The same for each display axis along which an end is marked."""
        return {axis: self.excluded(case_id, axis) for axis in _axes(self.of(case_id))}

    def certified_empty(self, case_id: str, axis: int) -> NDArray[np.bool_]:
        """Which slices are certified to show no class of the study."""
        values = [found.value for found in self._catalogue.classes()]
        count = self._catalogue.shape(case_id)[axis]
        return empty_by(self.excluded(case_id, axis), values, count)

    def unknown_ends(self, case_id: str, axis: int) -> Mapping[End, tuple[int, ...]]:
        """For each end, the classes of which neither a mark nor a clean slice says where it is."""
        clean = [
            (record.key.index, self._slices.values(record.revision))
            for record in self._clean(case_id)
            if record.key.axis == axis
        ]
        values = [found.value for found in self._catalogue.classes()]
        return unknown_ends(values, self.effective(case_id, axis), clean)

    def certified(self) -> Certified:
        """The same for every case and display axis with a marked end."""
        values = [found.value for found in self._catalogue.classes()]
        marks: dict[str, list[ExtentRecord]] = {}
        for one in self.of():
            marks.setdefault(one.case_id, []).append(one)
        clean: dict[str, list[SliceRecord]] = {}
        for record in self._slices.records(state=SliceState.CLEAN) if marks else ():
            clean.setdefault(record.key.case_id, []).append(record)
        certified = {}
        for case_id, found in marks.items():
            shape = self._catalogue.shape(case_id)
            for axis in _axes(found):
                extents = self._effective(found, axis, clean.get(case_id, ()))
                outside = excluded(extents, shape[axis])
                certified[case_id, axis] = empty_by(outside, values, shape[axis])
        return certified

    def _effective(
        self, marks: Iterable[ExtentRecord], axis: int, clean: Iterable[SliceRecord]
    ) -> dict[int, Extent]:
        marked = {one.value: one.extent for one in marks if one.axis == axis}
        shown = [
            (record.key.index, self._slices.values(record.revision))
            for record in clean
            if record.key.axis == axis
            and not all(extent.holds(record.key.index) for extent in marked.values())
        ]
        return effective(marked, shown)

    def _clean(self, case_id: str) -> Sequence[SliceRecord]:
        return self._slices.records(case_id, state=SliceState.CLEAN)

    def _read(self, case_id: str | None) -> Iterator[ExtentRecord | Damaged]:
        """The newest extents, and why one of them cannot be what was saved."""
        if self._database.version < WITH_EXTENTS:
            return
        newest = _NEWEST.format(sha256=sha256_in(self._database))
        for row in self._database.rows(newest, case_id or ""):
            try:
                with readable(f"the extent of class {row[2]} along axis {row[1]} of {row[0]!r}"):
                    yield self._record(row)
            except Damaged as error:
                yield error

    def _record(self, row: tuple[Any, ...]) -> ExtentRecord:
        *hashed, sha256 = row
        hashes.require_sound(tuple(hashed), sha256)
        case_id, axis, value, first, last, author, created_at = hashed
        if not self._catalogue.has(case_id):
            raise ValueError(f"there is no case {case_id!r}")
        count = self._catalogue.shape(case_id)[axis]
        for index in (first, last):
            if index is not None and not 0 <= index < count:
                raise ValueError(f"slice {index} of {count}")
        return ExtentRecord(
            case_id,
            axis,
            value,
            Extent(first, last),
            author,
            datetime.fromisoformat(created_at),
        )

    def _require_class(self, value: int) -> None:
        known = self._catalogue.classes()
        if value in {found.value for found in known}:
            return
        names = ", ".join(f"{found.value} {found.name}" for found in known)
        raise UserError(
            f"There is no class {value} in this study. Its classes: {names or 'none yet'}. "
            "Mark one of them, or add the class first."
        )


def take(write: Transaction, one: ExtentRecord) -> None:
    """Add what was marked in another copy of the study, with its author and time."""
    place = (one.case_id, one.axis, one.value, one.extent.first, one.extent.last)
    row = (*place, one.author, one.created_at.isoformat())
    hashes.insert(write.connection, "extents", hashes.EXTENT, row)
    details = {"axis": one.axis, "class": one.value}
    write.note("take extent", one.case_id, author=one.author, **details)


def _axes(marks: Iterable[ExtentRecord]) -> list[int]:
    return sorted({one.axis for one in marks})

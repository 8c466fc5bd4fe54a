"""Slices of which several versions count, because copies of the study went apart.

Rows of a united slice are revisions like any other. The last of them stands for all versions that
nothing supersedes, which a row in `unions` names; the next revision of the slice supersedes them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from napari_mlbseg.project.catalogue import hashes
from napari_mlbseg.project.catalogue.database import Database, Transaction
from napari_mlbseg.project.catalogue.reading import readable
from napari_mlbseg.project.catalogue.revisions import Slices
from napari_mlbseg.project.catalogue.schema import WITH_UNIONS
from napari_mlbseg.project.records.slices import SliceKey, SliceRecord, SliceState
from napari_mlbseg.project.records.versions import Known, Version


@dataclass(frozen=True)
class Union:
    """A slice that was united from several versions.

    Attributes
    ----------
    heads
        The revisions that nothing superseded at that time, oldest first.
    settled
        Whether somebody has saved the slice since.
    """

    key: SliceKey
    heads: tuple[SliceRecord, ...]
    settled: bool

    @property
    def opinions(self) -> tuple[SliceRecord, ...]:
        """The heads that somebody accepted."""
        return tuple(head for head in self.heads if head.state is SliceState.CLEAN)


@dataclass(frozen=True)
class Slot:
    """What a copy of a study knows of a slice, and its revisions of these versions."""

    known: Known = field(default_factory=Known)
    revisions: Mapping[Version, SliceRecord] = field(default_factory=dict)


class Unions:
    """The united slices of a study."""

    def __init__(self, database: Database, slices: Slices) -> None:
        self._database, self._slices = database, slices

    def all(self) -> tuple[Union, ...]:
        """Every union that there ever was, oldest first. Raises Damaged for a damaged one."""
        found = []
        for revision, (key, numbers) in self._rows().items():
            history = {record.revision: record for record in self._slices.history(key)}
            newest = self._slices.record(key)
            heads = tuple(history[number] for number in numbers if number in history)
            found.append(Union(key, heads, newest is None or newest.revision != revision))
        return tuple(found)

    def conflicts(self) -> tuple[Union, ...]:
        """Slices that several people accepted with different masks, until one of them is chosen.

        Meanwhile such a slice is a draft, with the mask that was accepted last. Those of removed
        cases are left out.
        """
        there = {record.key for record in self._slices.records()}
        return tuple(
            one
            for one in self.all()
            if not one.settled
            and len(one.opinions) > 1
            and one.key in there
            # A slice that a reviewer sent back counts as a draft, too, but is saved as accepted.
            and self._slices.accepted(one.key) is None
        )

    def choose(self, key: SliceKey, revision: int) -> SliceRecord:
        """Accept the mask of one of the versions, by which all others are superseded."""
        return self._slices.save(key, self._slices.revision_mask(revision), SliceState.CLEAN)

    def known(self, case_id: str) -> Mapping[SliceKey, "Slot"]:
        """What this copy knows of the slices of a case."""
        rows = self._rows()
        keys = [record.key for record in self._slices.records(case_id)]
        return {key: _slot(self._slices.history(key), rows) for key in keys}

    def _rows(self) -> dict[int, tuple[SliceKey, tuple[int, ...]]]:
        """By the revision that stands for them: the slice, and the revisions of the heads."""
        if self._database.version < WITH_UNIONS:
            return {}
        found = {}
        for *row, sha256 in self._database.rows(
            f"SELECT {hashes.UNION}, sha256 FROM unions ORDER BY number"
        ):
            revision, case_id, axis, index, heads, _, _ = row
            with readable(f"what was united in slice {index} of {case_id!r}"):
                hashes.require_sound(tuple(row), sha256)
                numbers = tuple(map(int, json.loads(heads)))
                found[int(revision)] = SliceKey(case_id, axis, index), numbers
        return found


def _slot(
    history: Sequence[SliceRecord], unions: Mapping[int, tuple[SliceKey, tuple[int, ...]]]
) -> Slot:
    own = {record.revision: record for record in history if record.revision not in unions}
    if not own:
        return Slot()
    newest = history[-1].revision
    numbers = unions[newest][1] if newest in unions else (max(own),)
    heads = frozenset(version(own[number]) for number in numbers if number in own)
    revisions = {version(record): record for record in own.values()}
    return Slot(Known(frozenset(revisions), heads), revisions)


def version(record: SliceRecord) -> Version:
    """How other copies know a revision."""
    return Version(record.created_at, record.author, record.state)


def add(write: Transaction, key: SliceKey, revision: int, heads: Sequence[int]) -> None:
    """Note that a revision stands for several others."""
    row = (revision, key.case_id, key.axis, key.index, json.dumps(list(heads)))
    hashes.insert(write.connection, "unions", hashes.UNION, (*row, write.author, write.at))

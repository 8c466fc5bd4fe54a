"""Cases and classes in the catalogue."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.source import Choice, SourceInfo
from napari_mlbseg.project.catalogue import amendments, channels, hashes, moves
from napari_mlbseg.project.catalogue.amendments import (
    AS_IMPORTED,
    Amendment,
    Amendments,
    Renamed,
    Standing,
)
from napari_mlbseg.project.catalogue.channels import Channels, KnownChannels
from napari_mlbseg.project.catalogue.database import Database, Transaction, sha256_in
from napari_mlbseg.project.catalogue.moves import Moves
from napari_mlbseg.project.catalogue.reading import geometry_from, intensity_from, readable
from napari_mlbseg.project.catalogue.schema import WITH_PLACES, WITH_RULES
from napari_mlbseg.project.folder.inside import require_case_id
from napari_mlbseg.project.records.cases import Case, LabelClass
from napari_mlbseg.project.records.channels import Channel

_NEVER: Final[Mapping[str, Renamed]] = {}


class Catalogue:
    """The rows about cases and classes.

    Attributes
    ----------
    amendments
        What was changed of cases after their import.
    moves
        Classes that count as others in earlier masks.
    channels
        The channels of the study and of its cases.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.amendments, self.moves = Amendments(database), Moves(database)
        self.channels = Channels(database)
        self._shapes: dict[str, tuple[int, int, int]] = {}

    def identity(self) -> str:
        """Identifies this study, wherever its folder is."""
        rows = self._database.rows(
            "SELECT created_at, author, action FROM audit ORDER BY number LIMIT 1"
        )
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:32]

    def classes(self) -> tuple[LabelClass, ...]:
        """The classes in the order in which they were set last; in older catalogues by value."""
        rules = "most_pieces, no_holes" if self._database.version >= WITH_RULES else "NULL, 0"
        order = "place, value" if self._database.version >= WITH_PLACES else "value"
        rows = self._database.rows(
            f"SELECT value, name, red, green, blue, {rules} FROM classes ORDER BY {order}"
        )
        with readable("a class"):
            return tuple(
                LabelClass(value, name, (r, g, b), None if most is None else int(most), bool(whole))
                for value, name, r, g, b, most, whole in rows
            )

    def set_classes(
        self,
        classes: Sequence[LabelClass],
        becoming: Mapping[int, int] | None = None,
        amended: Mapping[str, Amendment] | None = None,
    ) -> None:
        """Replace the classes, in this order; UserError where a value or a name comes twice.

        `becoming` says which class (0: the background) takes the pixels of one that is gone, in
        all masks that there are; `amended` is what becomes of cases in the same moment.
        """
        with self._database.transaction() as write:
            if becoming:
                moves.add(write, becoming)
                _merge_extents(write, becoming)
            _set_classes(write, classes)
            for case_id, amendment in (amended or {}).items():
                amendments.add(write, case_id, amendment)
        self.moves.forget()
        self.amendments.forget()

    def cases(self, standing: Standing = Standing.KEPT) -> tuple[Case, ...]:
        """The cases that are kept (or removed, or dropped), in the order in which they came."""
        channels = self.channels.known()
        return tuple(
            _case(row, amendment, channels)
            for row, amendment in self._rows()
            if amendment.standing is standing
        )

    def ids(self) -> Mapping[str, Standing]:
        """The ids of all cases that there ever were; Damaged where one leads out of the study."""
        newest = self.amendments.newest()
        rows = self._database.rows("SELECT id FROM cases ORDER BY number")
        ids = [require_case_id(case_id) for (case_id,) in rows]
        return {one: newest.get(one, AS_IMPORTED).standing for one in ids}

    def case(self, case_id: str) -> Case:
        """One case by its id; raises UserError that lists the names of the cases otherwise."""
        rows = self._database.rows(f"SELECT {self._columns()} FROM cases WHERE id = ?", case_id)
        amendment = self.amendments.of(case_id)
        if not rows:
            raise self._unknown(case_id)
        if amendment.standing is not Standing.KEPT:
            raise UserError(
                f"The case {amendment.name or case_id!r} was removed from this study. Restore it "
                "first (on the command line: mlbseg restore)."
            )
        return _case(rows[0], amendment, self.channels.known(case_id))

    def named(self, name: str) -> Case:
        """The case that people call so; raises UserError that lists the names otherwise."""
        found = next((case for case in self.cases() if case.name == name), None)
        if found is None:
            raise self._unknown(name)
        return found

    def name(self, case_id: str) -> str:
        """What people call a case, even one that was removed."""
        return self.amendments.of(case_id).name or case_id

    def amend(
        self,
        action: str,
        amended: Mapping[str, Amendment],
        further: Mapping[str, Sequence[Channel]] | None = None,
        **details: Any,
    ) -> None:
        """Change what cases are, all of them or none; the log tells each with the details.

        `further` are the further channels of those cases of which they change.
        """
        with self._database.transaction() as write:
            for case_id, amendment in amended.items():
                amendments.add(write, case_id, amendment)
                channels.add(write, case_id, (further or {}).get(case_id, ()))
                write.note(action, case_id, **details)
        self.amendments.forget()
        self.channels.forget()

    def edition(self, case_id: str) -> int:
        """Which of its arrays count, see `Amendment`."""
        return self.amendments.edition(case_id)

    def _unknown(self, name: str) -> UserError:
        names = [case.name for case in self.cases()]
        known = ", ".join(names) if names else "none yet; import images first"
        return UserError(f"There is no case {name!r} in this study. Its cases: {known}.")

    def _rows(self) -> Iterator[tuple[tuple[Any, ...], Amendment]]:
        newest = self.amendments.newest()
        for row in self._database.rows(f"SELECT {self._columns()} FROM cases ORDER BY number"):
            yield row, newest.get(row[0], AS_IMPORTED)

    def has(self, case_id: object) -> bool:
        """Whether there is, or ever was, a case with this id."""
        if case_id in self._shapes:
            return True
        return bool(self._database.rows("SELECT 1 FROM cases WHERE id = ?", case_id))

    def shape(self, case_id: str) -> tuple[int, int, int]:
        """The shape (z y x) of a case, which never changes; raises UserError as `case` does."""
        if case_id not in self._shapes:
            columns, known = self._columns(), self.amendments.of(case_id)
            rows = self._database.rows(f"SELECT {columns} FROM cases WHERE id = ?", case_id)
            if not rows:
                raise self._unknown(case_id)
            self._shapes[case_id] = _case(rows[0], known, KnownChannels()).geometry.shape
        return self._shapes[case_id]

    def add_cases(
        self,
        cases: Sequence[Case],
        classes: Sequence[LabelClass] = (),
        renamed: Mapping[str, Renamed] = _NEVER,
    ) -> None:
        """Add cases, and replace the classes where some are given; all or nothing.

        The first cases of a study say which channels it has; all others have the same.
        `renamed` says of cases from another copy of the study when they were given their names.
        """
        several = next((c.channels for c in cases if c.further), ())
        names = tuple(channel.name for channel in several)
        with self._database.transaction() as write:
            if classes:
                _set_classes(write, classes)
            if names and not self.ids():
                channels.add_names(write, names)
            for c in cases:
                labels_path = None if c.labels_path is None else str(c.labels_path)
                source = (c.id, str(c.image_path), labels_path, c.source.format, c.source.header)
                choice, *found = (asdict(c.source.choice), asdict(c.geometry), asdict(c.intensity))
                row = (*source, json.dumps(choice), *map(json.dumps, found))
                write.execute(
                    f"INSERT INTO cases ({hashes.CASE}, axis, sha256) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    *(*row, c.axis, hashes.sha256_of(*row)),
                )
                if c.name != c.id or c.id in renamed:
                    amendments.add(write, c.id, Amendment(name=c.name), renamed.get(c.id))
                channels.add(write, c.id, c.further)
                write.note("add case", c.id, image=str(c.image_path), labels=labels_path)
        self.amendments.forget()
        self.channels.forget()

    def _columns(self) -> str:
        return f"{hashes.CASE}, axis, {sha256_in(self._database)}"

    def set_axis(self, case_id: str, axis: int) -> None:
        """Annotate a case along another display axis from now on."""
        before = self.case(case_id).axis
        with self._database.transaction() as write:
            write.execute("UPDATE cases SET axis = ? WHERE id = ?", axis, case_id)
            write.note("set axis", case_id, before=before, after=axis)


def _merge_extents(write: Transaction, becoming: Mapping[int, int]) -> None:
    """Let a class that takes the pixels of others show wherever one of them may show.

    An end counts for all of them together only if it is marked for each.
    """
    marks: dict[tuple[str, int], dict[int, tuple[int | None, int | None]]] = {}
    for case_id, axis, value, start, end in write.rows(_MARKED):
        marks.setdefault((case_id, axis), {})[value] = start, end
    for target in sorted(set(becoming.values()) - {0}):
        together = [target, *(value for value, new in becoming.items() if new == target)]
        for place, known in marks.items():
            if target not in known:
                continue
            first, last = zip(*(known.get(value, (None, None)) for value in together), strict=True)
            ends = (
                None if None in first else min(first),
                None if None in last else max(last),
            )
            if ends != known[target]:
                row = (*place, target, *ends, write.author, write.at)
                hashes.insert(write.connection, "extents", hashes.EXTENT, row)


_MARKED: Final = (
    "SELECT case_id, axis, class, first_slice, last_slice FROM extents WHERE number IN "
    "(SELECT max(number) FROM extents GROUP BY case_id, axis, class) "
    "AND coalesce(first_slice, last_slice) IS NOT NULL"
)


def _set_classes(write: Transaction, classes: Sequence[LabelClass]) -> None:
    for what in ("value", "name"):
        if len({getattr(c, what) for c in classes}) < len(classes):
            raise UserError(f"Two classes have the same {what}. Give each its own.")
    write.execute("DELETE FROM classes")
    for number, c in enumerate(classes):
        write.execute(
            "INSERT INTO classes (value, name, red, green, blue, most_pieces, no_holes, place) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(c.value, c.name, *c.color, c.most_pieces, c.no_holes, number),
        )
    # A new class that takes the value of a removed one must not inherit its extents.
    marked = write.rows(f"{_MARKED} AND class NOT IN (SELECT value FROM classes)")
    for *place, _, _ in marked:
        row = (*place, None, None, write.author, write.at)
        hashes.insert(write.connection, "extents", hashes.EXTENT, row)
    write.note("set classes", classes=[asdict(c) for c in classes])


def _case(row: tuple[Any, ...], amendment: Amendment, channels: KnownChannels) -> Case:
    *hashed, axis, sha256 = row
    case_id, image_path, labels_path, name, header, choice, geometry, intensity = hashed
    require_case_id(case_id)
    with readable(f"the case {case_id!r}"):
        hashes.require_sound(tuple(hashed), sha256)
        labels_path = amendment.labels_path or labels_path
        source = SourceInfo(
            name,
            amendment.source_header if amendment.source_header is not None else header,
            Choice(**json.loads(amendment.source_choice or choice)),
        )
        return Case(
            id=case_id,
            name=amendment.name or case_id,
            image_path=Path(amendment.image_path or image_path),
            labels_path=None if labels_path is None else Path(labels_path),
            source=source,
            geometry=geometry_from(json.loads(geometry)),
            intensity=intensity_from(json.loads(intensity)),
            axis=int(axis),
            channel=channels.names[0],
            further=channels.further(case_id),
        )

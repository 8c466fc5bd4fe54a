"""Cases and classes in the catalogue."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.source import Choice, SourceInfo
from napari_mlbseg.project.catalogue import hashes
from napari_mlbseg.project.catalogue.database import Database, Transaction, sha256_in
from napari_mlbseg.project.catalogue.reading import geometry_from, intensity_from, readable
from napari_mlbseg.project.catalogue.schema import WITH_RULES
from napari_mlbseg.project.folder.inside import require_case_id
from napari_mlbseg.project.records.cases import Case, LabelClass


class Catalogue:
    """The rows about cases and classes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._shapes: dict[str, tuple[int, int, int]] = {}

    def identity(self) -> str:
        """Identifies this study, wherever its folder is."""
        rows = self._database.rows(
            "SELECT created_at, author, action FROM audit ORDER BY number LIMIT 1"
        )
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:32]

    def classes(self) -> tuple[LabelClass, ...]:
        """The classes in order of their values."""
        rules = "most_pieces, no_holes" if self._database.version >= WITH_RULES else "NULL, 0"
        rows = self._database.rows(
            f"SELECT value, name, red, green, blue, {rules} FROM classes ORDER BY value"
        )
        with readable("a class"):
            return tuple(
                LabelClass(value, name, (r, g, b), None if most is None else int(most), bool(whole))
                for value, name, r, g, b, most, whole in rows
            )

    def set_classes(self, classes: Sequence[LabelClass]) -> None:
        """Replace the classes; raises UserError where a value or a name comes twice."""
        with self._database.transaction() as write:
            _set_classes(write, classes)

    def cases(self) -> tuple[Case, ...]:
        """All cases in the order in which they were added."""
        rows = self._database.rows(f"SELECT {self._columns()} FROM cases ORDER BY number")
        return tuple(_case(row) for row in rows)

    def case(self, case_id: str) -> Case:
        """One case; raises UserError that lists the known names if there is none of this name."""
        rows = self._database.rows(f"SELECT {self._columns()} FROM cases WHERE id = ?", case_id)
        if rows:
            return _case(rows[0])
        names = [row[0] for row in self._database.rows("SELECT id FROM cases ORDER BY number")]
        known = ", ".join(names) if names else "none yet; import images first"
        raise UserError(f"There is no case {case_id!r} in this study. Its cases: {known}.")

    def has(self, case_id: object) -> bool:
        """Whether there is a case of this name."""
        if case_id in self._shapes:
            return True
        return bool(self._database.rows("SELECT 1 FROM cases WHERE id = ?", case_id))

    def shape(self, case_id: str) -> tuple[int, int, int]:
        """The shape (z y x) of a case, which never changes; raises UserError as `case` does."""
        if case_id not in self._shapes:
            self._shapes[case_id] = self.case(case_id).geometry.shape
        return self._shapes[case_id]

    def add_cases(self, cases: Sequence[Case], classes: Sequence[LabelClass] = ()) -> None:
        """Add cases, and replace the classes where some are given; all or nothing."""
        with self._database.transaction() as write:
            if classes:
                _set_classes(write, classes)
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
                write.note("add case", c.id, image=str(c.image_path), labels=labels_path)

    def _columns(self) -> str:
        return f"{hashes.CASE}, axis, {sha256_in(self._database)}"

    def set_axis(self, case_id: str, axis: int) -> None:
        """Annotate a case along another display axis from now on."""
        before = self.case(case_id).axis
        with self._database.transaction() as write:
            write.execute("UPDATE cases SET axis = ? WHERE id = ?", axis, case_id)
            write.note("set axis", case_id, before=before, after=axis)


def _set_classes(write: Transaction, classes: Sequence[LabelClass]) -> None:
    for what in ("value", "name"):
        if len({getattr(c, what) for c in classes}) < len(classes):
            raise UserError(f"Two classes have the same {what}. Give each its own.")
    write.execute("DELETE FROM classes")
    for c in classes:
        write.execute(
            "INSERT INTO classes (value, name, red, green, blue, most_pieces, no_holes) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(c.value, c.name, *c.color, c.most_pieces, c.no_holes),
        )
    # A new class that takes the value of a removed one must not inherit its extents.
    marked = write.rows(
        "SELECT case_id, axis, class FROM extents WHERE number IN "
        "(SELECT max(number) FROM extents GROUP BY case_id, axis, class) "
        "AND coalesce(first_slice, last_slice) IS NOT NULL "
        "AND class NOT IN (SELECT value FROM classes)"
    )
    for place in marked:
        row = (*place, None, None, write.author, write.at)
        hashes.insert(write.connection, "extents", hashes.EXTENT, row)
    write.note("set classes", classes=[asdict(c) for c in classes])


def _case(row: tuple[Any, ...]) -> Case:
    *hashed, axis, sha256 = row
    case_id, image_path, labels_path, name, header, choice, geometry, intensity = hashed
    require_case_id(case_id)
    with readable(f"the case {case_id!r}"):
        hashes.require_sound(tuple(hashed), sha256)
        return Case(
            id=case_id,
            image_path=Path(image_path),
            labels_path=None if labels_path is None else Path(labels_path),
            source=SourceInfo(name, header, Choice(**json.loads(choice))),
            geometry=geometry_from(json.loads(geometry)),
            intensity=intensity_from(json.loads(intensity)),
            axis=int(axis),
        )

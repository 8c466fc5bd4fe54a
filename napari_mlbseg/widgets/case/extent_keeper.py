"""The extents of the case on view, in memory to avoid disk access."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.engine.events import ExtentMarked
from napari_mlbseg.project.records.cases import Case, LabelClass
from napari_mlbseg.project.records.extents import (
    UNMARKED,
    Excluded,
    Extent,
    empty_by,
)
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.rescue import Along
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background.in_turn import InTurn
from napari_mlbseg.widgets.case.class_meant import class_meant


class ExtentKeeper:
    """Reads and changes the extents of a case; the study keeps every mark."""

    def __init__(
        self,
        study: Study,
        case: Case,
        saves: InTurn,
        *,
        changed: Callable[[], object],
        request: Callable[[ExtentMarked], object],
    ) -> None:
        """Call `changed` after a mark was set or taken away, and pass requests for the engine."""
        self._study, self._case, self._saves = study, case, saves
        self._changed, self._request = changed, request
        self._marked: Mapping[tuple[int, int], Extent] = {}
        self._expected: list[tuple[tuple[int, int], Extent]] = []  # marks not in the study yet
        self._excluded: Mapping[int, Excluded] = {}
        self.refresh()

    def refresh(self) -> bool:
        """Read the extents again; return whether other slices are excluded than before."""
        found = self._study.extents.of(self._case.id)
        known = {(one.axis, one.value): one.extent for one in found}
        self._marked = {**known, **dict(self._expected)}
        before = self._excluded
        self._excluded = self._study.extents.excluded_along(self._case.id) if found else {}
        return not _same(before, self._excluded)

    def excluded(self) -> Mapping[int, Excluded]:
        """What is excluded along each display axis with a marked end."""
        return self._excluded

    @property
    def expected(self) -> Mapping[Along, Extent]:
        """What was marked and is not in the study yet."""
        return {
            Along(self._case.id, axis, value): extent
            for (axis, value), extent in dict(self._expected).items()
        }

    def marked(self, axis: int, value: int) -> Extent:
        """Return what is marked of a class along an axis."""
        return self._marked.get((axis, value), UNMARKED)

    def seen(self, axis: int, value: int) -> tuple[str, frozenset[int], frozenset[int]]:
        """Return the name of a class, the slices outside of it, and those outside of every class.

        The name is empty if there is no class of this value.
        """
        names = {found.value: found.name for found in self._study.classes}
        count, found = self._case.geometry.shape[axis], self._excluded.get(axis, {})
        outside = found.get(value, np.zeros(count, np.bool_))
        return names.get(value, ""), _indices(outside), _indices(empty_by(found, names, count))

    def keep(self, axis: int, value: int, extent: Extent) -> None:
        """Mark an extent: in the study, then on view; then tell the engine.

        If the study is not ready for it, what it excludes is shown when the study has it. Raises
        UserError or OSError if it cannot be saved; then nothing has changed.
        """
        study, case_id = self._study, self._case.id

        def landed(_: object) -> None:
            self._expected.pop(0)
            self._settle()

        if self._saves.put(lambda: study.extents.mark(case_id, axis, value, extent), landed):
            self._settle()
        else:
            self._expected.append(((axis, value), extent))
            self._marked = {**self._marked, (axis, value): extent}

    def _settle(self) -> None:
        self.refresh()
        self._changed()
        self._request(ExtentMarked(self._case.id))

    def class_to_mark(self, selected: int) -> LabelClass:
        """Return the class of a value, or the only class of the study; UserError for neither."""
        return class_meant(self._study.classes, selected, "that begins or ends here")

    def widened_by(self, key: SliceKey, values: frozenset[int]) -> list[str]:
        """Return the names of the classes among `values` that are excluded from a slice."""
        found = self._excluded.get(key.axis, {})
        names = {c.value: c.name for c in self._study.classes}
        return [names[v] for v in sorted(values) if v in found and found[v][key.index]]

    def shown_beyond(self, axis: int, value: int) -> frozenset[int]:
        """Return the ends of a class that clean slices move beyond where they are marked."""
        marked, found = self.marked(axis, value), self._study.extents.effective(self._case.id, axis)
        counts = found.get(value, UNMARKED)
        pairs = (counts.first, marked.first), (counts.last, marked.last)
        return frozenset(end for end, mark in pairs if end is not None and end != mark)


def _same(a: Mapping[int, Excluded], b: Mapping[int, Excluded]) -> bool:
    return a.keys() == b.keys() and all(
        a[axis].keys() == b[axis].keys()
        and all(np.array_equal(a[axis][value], b[axis][value]) for value in a[axis])
        for axis in a
    )


def _indices(slices: NDArray[np.bool_]) -> frozenset[int]:
    return frozenset(np.flatnonzero(slices).tolist())

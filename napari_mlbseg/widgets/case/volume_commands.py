"""Clean-up of a class in the whole volume, as drafts: computed in the background, one step."""

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_mlbseg.project.labels import Labels, SliceId, along
from napari_mlbseg.project.records.cases import Case, LabelClass
from napari_mlbseg.project.records.slices import HUMAN, SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background.task import Report
from napari_mlbseg.widgets.case.history import Look
from napari_mlbseg.widgets.case.journal import Journal
from napari_mlbseg.widgets.case.saving import named, pixels_in_words
from napari_mlbseg.widgets.case.working_labels import WorkingLabels
from napari_mlbseg.widgets.tools.whole_volume import CLEANINGS, Cleaned, Fixed, cleaned

Run = Callable[[Callable[[Report], Any], Callable[[Any], None]], None]
"""Runs work in the background, and calls a function with its result."""

_SLICES_READ: Final = 16
"""Between two reports."""


class VolumeCommands(QObject):
    """Drafts what a clean-up of the whole volume changes; commands raise UserError.

    A person's slices stay, and so do skipped ones and pixels of locked classes. Drafts that such a
    command made, and that nobody touched since, may change again, so that one clean-up can follow
    another.

    Signals
    -------
    told(str)
        What was done, for the annotator.
    """

    told = Signal(str)

    def __init__(
        self,
        study: Study,
        case: Case,
        ready: Callable[[str], SliceKey],
        journal: Journal,
        working: WorkingLabels,
        *,
        meant: Callable[[str], LabelClass],
        parent: QObject | None = None,
    ) -> None:
        """Work on a case; for `ready` and `meant` see `ToolCommands`."""
        super().__init__(parent)
        self._study, self._case = study, case
        self._ready, self._journal, self._working = ready, journal, working
        self._meant = meant

    def clean_up(self, name: str, islands_below_mm3: float, run: Run) -> None:
        """Clean up the class to paint with, by one of `CLEANINGS`."""
        here = self._ready("clean a volume up")
        meant, cleaning = self._meant("to clean up"), CLEANINGS[name]
        fixed = Fixed(
            self._slices_that_stay(here.axis),
            tuple(self._working.locked),
            self._study.extents.excluded_along(self._case.id),
        )
        doing = f"{cleaning.doing} '{meant.name}'"

        def work(report: Report) -> Cleaned:
            labels = self._read(report)
            report((f"In the volume: {doing}", 0, 0))
            found = cleaned(
                labels,
                meant.value,
                cleaning.change,
                axis=here.axis,
                spacing_mm=self._case.geometry.spacing_mm,
                islands_below_mm3=islands_below_mm3,
                fixed=fixed,
            )
            report((f"In the volume: {doing}", 0, 0))  # the last chance to cancel
            return found

        run(work, lambda found: self._draft(found, doing, here.axis))

    # --- inside ----------------------------------------------------------------------------------

    def _slices_that_stay(self, axis: int) -> tuple[SliceId, ...]:
        free = self._journal.drafted_in_volume()
        return tuple(
            (record.key.axis, record.key.index)
            for record in self._study.slices.records(self._case.id)
            if (record.state in HUMAN and not (record.key in free and record.key.axis == axis))
            or (record.state is SliceState.SKIPPED and record.key.axis == axis)
        )

    def _read(self, report: Report) -> Labels:
        """The labels of the case (z y x) as they are saved."""
        windows, count = self._study.labels.windows(self._case.id), self._case.geometry.shape[0]
        parts = []
        for start in range(0, count, _SLICES_READ):
            report(("Reading the labels", start, count))
            parts.append(windows[along(0, start, min(start + _SLICES_READ, count))])
        return np.concatenate(parts)

    def _draft(self, found: Cleaned, doing: str, axis: int) -> None:
        """Draft what is still free: the annotator may have gone on meanwhile."""
        here = self._ready("clean a volume up")
        stay = set(self._slices_that_stay(axis))
        keys = [
            SliceKey(self._case.id, axis, index)
            for index in found.slices
            if (axis, index) not in stay
        ]
        before = {key: self._working.read(axis, key.index) for key in keys}
        looks = {
            key: Look.human(
                SliceState.DRAFT,
                np.where(
                    self._working.across(axis, key.index), before[key], found.slices[key.index]
                ),
            )
            for key in keys
        }
        if keys:
            name = f"{doing} in the volume, on {named(keys)}"
            where = here if here in looks else keys[0]
            self._journal.change_all(name, where, looks, in_volume=True)
        changed = sum(
            int(np.count_nonzero(self._working.read(axis, key.index) != before[key]))
            for key in keys
        )
        self.told.emit(f"In the volume, {doing}: {_in_words(changed, keys)}{_stayed(found.stayed)}")


def _in_words(changed: int, keys: Iterable[SliceKey]) -> str:
    if not changed:
        return "nothing to change."
    what = f"{pixels_in_words(changed)} on {named(tuple(keys))} changed, as drafts."
    return f"{what} Undo takes them back as a whole."


def _stayed(count: int) -> str:
    if not count:
        return ""
    where = "on slices of yours, on skipped ones or of locked classes"
    return f" {pixels_in_words(count)} {where} stayed."

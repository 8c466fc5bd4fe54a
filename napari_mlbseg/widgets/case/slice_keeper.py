"""The look of a slice, kept the same in the study and on view."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from napari_mlbseg.engine.events import SliceAccepted, SliceReopened
from napari_mlbseg.project.labels import Labels
from napari_mlbseg.project.records.slices import HUMAN, SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.case.history import Look, Packed
from napari_mlbseg.widgets.case.slice_states import SliceStates
from napari_mlbseg.widgets.case.working_labels import WorkingLabels


class SliceKeeper:
    """Reads and changes the looks of the slices of a case.

    The study keeps every look that a slice has had.
    """

    def __init__(
        self,
        study: Study,
        states: SliceStates,
        working: WorkingLabels,
        *,
        changed: Callable[[Sequence[SliceKey], bool], object],
        request: Callable[[SliceAccepted | SliceReopened], object],
    ) -> None:
        """Pass changed slices to `changed`, and every request for the engine to `request`.

        `changed` is also told whether one of the slices shows other labels now.
        """
        self._study = study
        self._states = states
        self._working = working
        self._changed = changed
        self._request = request

    def shown(self, key: SliceKey) -> Labels:
        """Return a copy of the labels that a slice shows."""
        return self._working.read(key.axis, key.index)

    def edited(self, key: SliceKey) -> bool:
        """Whether a slice shows unsaved edits."""
        return self._working.edited((key.axis, key.index))

    def look(self, key: SliceKey) -> Look:
        """Return the look of a slice; a slice with unsaved edits is a draft."""
        where = key.axis, key.index
        state = SliceState.DRAFT if self._working.edited(where) else self._states[key]
        own = self._working.own(where) if state in HUMAN else None
        if own is None:
            return Look(state)
        return Look(state, Packed.pack(own), self._working.above(where))

    def sparing(self, key: SliceKey, look: Look) -> Look:
        """Return a look with the pixels of locked classes as the slice shows them now."""
        if look.labels is None or not self._working.locked:
            return look
        return Look.human(look.state, self.spared(key, look.labels.unpack()))

    def spared(self, key: SliceKey, labels: Labels) -> Labels:
        """Return labels with the pixels of locked classes as the slice shows them now."""
        return self._working.sparing((key.axis, key.index), labels)

    def keep(self, key: SliceKey, look: Look) -> None:
        """Give a slice a look, see `keep_all`."""
        self.keep_all({key: look})

    def keep_all(self, looks: Mapping[SliceKey, Look]) -> None:
        """Give slices looks: first in the study, then in memory; then tell the engine.

        Raises UserError or OSError if they cannot be saved; then nothing has changed. Where others
        lie over a slice, slices are saved one by one, since their order counts.
        """
        if len(looks) > 1 and any(look.above for look in looks.values()):
            for key, look in looks.items():
                self.keep(key, look)
            return
        was = {key: self._states[key] for key in looks}
        wanted = [
            (key, look.state, None if look.labels is None else look.labels.unpack())
            for key, look in looks.items()
            if look.labels is not None or look.state is not was[key]
        ]
        for record in self._study.slices.keep(wanted) if wanted else ():
            self._states.keep(record)
        news, other = [], False
        for key, look in looks.items():
            changed = self._lay(key, look)
            if changed or (was[key], look.state) != (SliceState.DRAFT, SliceState.DRAFT):
                news.append(key)  # what is painted further on a draft, on view, is no news
                other |= changed
        if news:
            self._changed(news, other)
        for key, look in looks.items():
            if look.state is SliceState.CLEAN:
                self._request(SliceAccepted(key))
            elif was[key] is SliceState.CLEAN:
                self._request(SliceReopened(key))

    def _lay(self, key: SliceKey, look: Look) -> bool:
        """Show a saved look; return whether the slice shows other labels now."""
        where, shown = (key.axis, key.index), self.shown(key)
        if look.labels is None:
            self._working.release(*where)
        else:
            self._working.lay(where, look.labels.unpack(), below=look.above)
            for axis, index in look.above:
                self._lift(SliceKey(key.case_id, axis, index))
        return not np.array_equal(shown, self.shown(key))

    def _lift(self, key: SliceKey) -> None:
        """Write a slice that lies above once more: the study puts the newest revision on top."""
        if self._states[key] in HUMAN:
            self._states.keep(self._study.slices.set_state(key, self._states[key]))

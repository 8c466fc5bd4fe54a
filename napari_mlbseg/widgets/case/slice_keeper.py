"""The look of a slice, kept the same in the study and on view."""

from collections.abc import Callable

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
        changed: Callable[[SliceKey, bool], object],
        request: Callable[[SliceAccepted | SliceReopened], object],
    ) -> None:
        """Pass every changed slice to `changed`, and every request for the engine to `request`.

        `changed` is also told whether the slice shows other labels now.
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
        """Give a slice a look: first in the study, then in memory; then tell the engine.

        Raises UserError or OSError if it cannot be saved; then nothing has changed.
        """
        was, where, shown = self._states[key], (key.axis, key.index), self.shown(key)
        if look.labels is not None:
            labels = look.labels.unpack()
            self._states.keep(self._study.save_slice(key, labels, look.state))
            self._working.lay(where, labels, below=look.above)
            for axis, index in look.above:
                self._lift(SliceKey(key.case_id, axis, index))
        else:
            if look.state is not was:
                self._states.keep(self._study.slices.set_state(key, look.state))
            self._working.release(*where)
        other = not np.array_equal(shown, self.shown(key))
        if other or (was, look.state) != (SliceState.DRAFT, SliceState.DRAFT):
            self._changed(key, other)  # what is painted further on a draft, on view, is no news
        if look.state is SliceState.CLEAN:
            self._request(SliceAccepted(key))
        elif was is SliceState.CLEAN:
            self._request(SliceReopened(key))

    def _lift(self, key: SliceKey) -> None:
        """Write a slice that lies above once more: the study puts the newest revision on top."""
        if self._states[key] in HUMAN:
            self._states.keep(self._study.slices.set_state(key, self._states[key]))

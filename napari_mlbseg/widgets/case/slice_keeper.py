"""The look of a slice, kept the same in the study and on view."""

from collections.abc import Callable
from functools import partial

import numpy as np

from napari_mlbseg.engine.events import SliceAccepted, SliceReopened
from napari_mlbseg.project.labels import Labels
from napari_mlbseg.project.records.slices import HUMAN, SliceKey, SliceRecord, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background.in_turn import InTurn
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
        saves: InTurn,
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
        self._saves = saves
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
        """Give a slice a look: in the study and on view; then tell the engine.

        If the study is not ready for it, the slice shows the look already, and the engine is told
        when the study has it. Raises UserError or OSError if it cannot be saved; then nothing has
        changed.
        """
        was, where, shown = self._states[key], (key.axis, key.index), self.shown(key)
        labels = None if look.labels is None else look.labels.unpack()
        if labels is not None:
            self._study.slices.require_savable(key, labels, look.state)
        landed = partial(self._land, key, was, look.state)
        saved = self._saves.put(self._writing(key, look, labels, was), landed)
        if labels is not None:
            self._working.lay(where, labels, below=look.above)
        else:
            self._working.release(*where)
        if saved is None:
            self._states.expect(key, look.state)
        else:
            self._take(saved.result)
        other = not np.array_equal(shown, self.shown(key))
        if other or (was, look.state) != (SliceState.DRAFT, SliceState.DRAFT):
            self._changed(key, other)  # what is painted further on a draft, on view, is no news
        if saved is not None:
            self._tell_engine(key, was, look.state)

    # --- inside ----------------------------------------------------------------------------------

    def _writing(
        self, key: SliceKey, look: Look, labels: Labels | None, was: SliceState
    ) -> Callable[[], list[SliceRecord]]:
        """Return what brings a look into the study, in any thread; it returns the revisions.

        Slices that lie above are written once more: the study puts the newest revision on top.
        """
        study, above = self._study, [SliceKey(key.case_id, *where) for where in look.above]
        lifted = [(other, state) for other in above if (state := self._states[other]) in HUMAN]

        def write() -> list[SliceRecord]:
            if labels is None:
                return [] if look.state is was else [study.slices.set_state(key, look.state)]
            saved = study.save_slice(key, labels, look.state)
            return [saved, *(study.slices.set_state(other, state) for other, state in lifted)]

        return write

    def _land(
        self, key: SliceKey, was: SliceState, state: SliceState, records: list[SliceRecord]
    ) -> None:
        """Take note that a look that waited is in the study now."""
        self._states.arrived(key)
        self._take(records)
        self._changed(key, False)
        self._tell_engine(key, was, state)

    def _take(self, records: list[SliceRecord]) -> None:
        for record in records:
            self._states.keep(record)

    def _tell_engine(self, key: SliceKey, was: SliceState, state: SliceState) -> None:
        if state is SliceState.CLEAN:
            self._request(SliceAccepted(key))
        elif was is SliceState.CLEAN:
            self._request(SliceReopened(key))

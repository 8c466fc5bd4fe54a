"""The look of a slice, kept the same in the study and on view."""

from collections.abc import Callable, Mapping, Sequence
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
        changed: Callable[[Sequence[SliceKey], bool], object],
        request: Callable[[SliceAccepted | SliceReopened], object],
    ) -> None:
        """Pass changed slices to `changed`, and every request for the engine to `request`.

        `changed` is also told whether one of the slices shows other labels now.
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
        """Give a slice a look, see `keep_all`."""
        self.keep_all({key: look})

    def keep_all(self, looks: Mapping[SliceKey, Look]) -> None:
        """Give slices looks: in the study and on view; then tell the engine.

        If the study is not ready for them, the slices show them already, and the engine is told
        when the study has them. Raises UserError or OSError if they cannot be saved; then nothing
        has changed. Where others lie over a slice, slices are saved one by one, since their order
        counts.
        """
        if len(looks) > 1 and any(look.above for look in looks.values()):
            for key, look in looks.items():
                self.keep(key, look)
            return
        was = {key: self._states[key] for key in looks}
        labels = {
            key: None if look.labels is None else look.labels.unpack()
            for key, look in looks.items()
        }
        for key, mask in labels.items():
            if mask is not None:
                self._study.slices.require_savable(key, mask, looks[key].state)
        states = {key: (was[key], look.state) for key, look in looks.items()}
        saved = self._saves.put(self._writing(looks, labels, was), partial(self._land, states))
        changed = {key: self._lay(key, looks[key], mask) for key, mask in labels.items()}
        if saved is None:
            for key, look in looks.items():
                self._states.expect(key, look.state)
        else:
            self._take(saved.result)
        # What is painted further on a draft, on view, is no news.
        drafted = (SliceState.DRAFT, SliceState.DRAFT)
        news = [key for key in looks if changed[key] or states[key] != drafted]
        if news:
            self._changed(news, any(changed.values()))
        if saved is not None:
            self._tell_engine(states)

    # --- inside ----------------------------------------------------------------------------------

    def _writing(
        self,
        looks: Mapping[SliceKey, Look],
        labels: Mapping[SliceKey, Labels | None],
        was: Mapping[SliceKey, SliceState],
    ) -> Callable[[], list[SliceRecord]]:
        """Return what brings looks into the study, in any thread; it returns the revisions.

        Slices that lie above are written once more: the study puts the newest revision on top.
        """
        slices = self._study.slices
        wanted = [
            (key, look.state, labels[key])
            for key, look in looks.items()
            if labels[key] is not None or look.state is not was[key]
        ]
        above = [
            SliceKey(key.case_id, *where) for key, look in looks.items() for where in look.above
        ]
        lifted = [(key, state) for key in above if (state := self._states[key]) in HUMAN]

        def write() -> list[SliceRecord]:
            kept = slices.keep(wanted) if wanted else ()
            return [*kept, *(slices.set_state(key, state) for key, state in lifted)]

        return write

    def _lay(self, key: SliceKey, look: Look, labels: Labels | None) -> bool:
        """Show a look; return whether the slice shows other labels now."""
        where, shown = (key.axis, key.index), self.shown(key)
        if labels is None:
            self._working.release(*where)
        else:
            self._working.lay(where, labels, below=look.above)
        return not np.array_equal(shown, self.shown(key))

    def _land(
        self, states: Mapping[SliceKey, tuple[SliceState, SliceState]], records: list[SliceRecord]
    ) -> None:
        """Take note that looks that waited are in the study now."""
        for key in states:
            self._states.arrived(key)
        self._take(records)
        self._changed(list(states), False)
        self._tell_engine(states)

    def _take(self, records: list[SliceRecord]) -> None:
        for record in records:
            self._states.keep(record)

    def _tell_engine(self, states: Mapping[SliceKey, tuple[SliceState, SliceState]]) -> None:
        """Ask the engine to take slices up or to leave them, by their states before and now."""
        for key, (was, state) in states.items():
            if state is SliceState.CLEAN:
                self._request(SliceAccepted(key))
            elif was is SliceState.CLEAN:
                self._request(SliceReopened(key))

"""One case at work: what is painted becomes drafts, what is accepted becomes clean."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import QObject, Signal

from napari_mlbseg.engine.events import SliceAccepted, SliceReopened, SlicesPublished
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays import ArrayName
from napari_mlbseg.project.cases import Case, LabelClass
from napari_mlbseg.project.slices import SliceKey, SliceRecord, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background import timer
from napari_mlbseg.widgets.layers import CaseLayers
from napari_mlbseg.widgets.working_labels import Labels, WorkingLabels, slice_of

_SAVE_AFTER_MS = 250
_CATCH_UP_MS = 15
_CATCH_UP_BUDGET_S = 0.008
_HUMAN = (SliceState.DRAFT, SliceState.CLEAN)


class Annotation(QObject):
    """The case on view, its layers, and what a person says about its slices.

    Signals
    -------
    slice_changed(SliceKey)
        The state of a slice is another one now; the study holds it.
    moved(SliceKey)
        Another slice is on view.
    label_picked(int)
        The class to paint with is another one now.
    request(object)
        Something that a running engine should hear.
    failed(str)
        Something could not be done; for the annotator.
    """

    slice_changed = Signal(object)
    moved = Signal(object)
    label_picked = Signal(int)
    request = Signal(object)
    failed = Signal(str)

    def __init__(
        self, viewer: ViewerModel, study: Study, case: Case, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.case = case
        self._viewer = viewer
        self._study = study
        self._records = {r.key: r for r in study.slice_records(case.id)}
        self._pending: dict[tuple[int, int], set[ArrayName]] = {}
        voxels = study.working_labels(case.id)
        self._working = WorkingLabels(voxels)
        self.layers = CaseLayers(viewer, study, case, voxels)
        self._axis = case.axis
        self._index = self.layers.index(case.axis)
        for key in self._human():
            self._working.set_before(*key, self.layers.machine_slice(*key))
        self._drawing = False
        self._note_timer = timer(self, 0, self._note, single_shot=True)
        self._save_timer = timer(self, _SAVE_AFTER_MS, self.flush, single_shot=True)
        self._catch_up_timer = timer(self, _CATCH_UP_MS, self._catch_up)
        self._connections = [
            (self.layers.working.events.paint, self._on_paint),
            (self.layers.working.events.set_data, self._on_drawn),
            (self.layers.working.events.selected_label, self._on_label),
            (viewer.dims.events.point, self._on_view),
            (viewer.dims.events.order, self._on_view),
            (viewer.dims.events.ndisplay, self._on_view),
        ]
        for event, slot in self._connections:
            event.connect(slot)

    # --- where the annotator is ----------------------------------------------------------------

    @property
    def key(self) -> SliceKey:
        """The slice on view."""
        return SliceKey(self.case.id, self._axis, self._index)

    def state(self, key: SliceKey) -> SliceState:
        """What a person said about a slice of this case."""
        record = self._records.get(key)
        return record.state if record else SliceState.UNTOUCHED

    def states(self) -> tuple[SliceState, ...]:
        """States of all slices along the axis on view."""
        count = self.case.geometry.shape[self._axis]
        return tuple(self.state(SliceKey(self.case.id, self._axis, i)) for i in range(count))

    def go_to(self, index: int) -> None:
        """Show another slice along the axis on view."""
        self.layers.show_slice(self._axis, index)

    def show_axis(self, axis: int) -> None:
        """Show slices along another axis; what is painted from now on belongs to it."""
        self.layers.show_axis(axis)

    @property
    def label(self) -> int:
        """The class that is painted with."""
        return int(self.layers.working.selected_label)

    def paint_with(self, label: int) -> None:
        """Paint with this class from now on."""
        self.layers.working.selected_label = label

    def set_classes(self, classes: Sequence[LabelClass]) -> None:
        """Show these classes; another one is painted with where the one in hand is gone."""
        self.layers.set_classes(classes)
        values = [c.value for c in classes]
        if self.label not in (0, *values) and values:
            self.paint_with(values[0])

    # --- what the annotator says ---------------------------------------------------------------

    def flush(self) -> None:
        """Save every edited slice as a draft."""
        self._save_timer.stop()
        if not self._study.writable:
            return
        try:
            for index in self._working.note_edits(self._axis):
                self._save_edited(SliceKey(self.case.id, self._axis, index))
        except (UserError, OSError) as error:
            self.failed.emit(f"The last edits are not saved: {error}")

    def accept(self) -> None:
        """Make the slice on view clean, as it is shown, and go on to the next open one."""
        self.flush()
        key = self.key
        if self.state(key) is not SliceState.CLEAN:
            self._saved(self._study.save_slice(key, self._labels(key), SliceState.CLEAN))
            self.request.emit(SliceAccepted(key))
        self._advance()

    def reopen(self) -> None:
        """A clean slice is a draft again, a skipped one untouched."""
        self.flush()
        state = self.state(self.key)
        if state is SliceState.CLEAN:
            self._set_state(self.key, SliceState.DRAFT)
        elif state is SliceState.SKIPPED:
            self._set_state(self.key, SliceState.UNTOUCHED)

    def skip(self) -> None:
        """Leave the slice to the machine and go on; a draft of it stays in the history."""
        self._hand_back(SliceState.SKIPPED)
        self._advance()

    def revert(self) -> None:
        """Take the prediction in place of what was painted; undo brings the paint back."""
        self._hand_back(SliceState.UNTOUCHED)

    def copy_from(self, step: int) -> None:
        """Take the labels of the slice `step` further along the axis."""
        source = self._index + step
        if not 0 <= source < self.case.geometry.shape[self._axis]:
            raise UserError("There is no slice on that side to copy from.")
        labels = self._working.voxels[slice_of(self._axis, source)].copy()
        self.layers.write_slice(self._axis, self._index, labels)
        self.flush()

    # --- what the machine says -----------------------------------------------------------------

    def published(self, event: SlicesPublished) -> None:
        """New arrays lie in the store: the slice on view is read at once, the others soon."""
        names = {ArrayName(name) for name in event.arrays}
        for index in range(event.start, event.stop):
            self._pending.setdefault((event.axis, index), set()).update(names)
        self._catch_up_timer.start()
        self._catch_up()

    def close(self) -> None:
        """Save what is painted and take the layers away."""
        self.flush()
        self._catch_up_timer.stop()
        for event, slot in self._connections:
            event.disconnect(slot)
        self.layers.remove()

    # --- inside ----------------------------------------------------------------------------------

    def _on_paint(self, event: Any = None) -> None:
        # napari emits this for a finished stroke after, for other edits before the array changes:
        # the slice on view counts as touched at once, others as soon as they can be compared.
        self._working.touch(self._axis, self._index)
        self._note_timer.start()
        self._save_soon()

    def _note(self) -> None:
        self._working.note_edits(self._axis)

    def _on_drawn(self, event: Any = None) -> None:
        # Undo and redo are only heard through this event; so is scrolling, which costs a
        # comparison now and then.
        if not self._drawing:
            self._save_soon()

    def _save_soon(self) -> None:
        # Not restarted by further events: a steady stream of them must not put saving off.
        if not self._save_timer.isActive():
            self._save_timer.start()

    def _on_view(self, event: Any = None) -> None:
        axis = self.layers.axis
        axis = self._axis if axis is None else axis
        index = self.layers.index(axis)
        if (axis, index) == (self._axis, self._index):
            return
        self.flush()
        if axis != self._axis:
            self.layers.face_up(axis)
        self._axis, self._index = axis, index
        self._catch_up()
        self.moved.emit(self.key)

    def _on_label(self, event: Any = None) -> None:
        self.label_picked.emit(self.label)

    def _labels(self, key: SliceKey) -> Labels:
        return self._working.voxels[slice_of(key.axis, key.index)].copy()

    def _human(self) -> set[tuple[int, int]]:
        return {(k.axis, k.index) for k, r in self._records.items() if r.state in _HUMAN}

    def _save_edited(self, key: SliceKey) -> None:
        was = self.state(key)
        labels = self._labels(key)
        before = self._working.before(key.axis, key.index)
        if was is not SliceState.CLEAN and before is not None and np.array_equal(labels, before):
            self._working.mark_saved(key.axis, key.index)
            if was is not SliceState.UNTOUCHED:
                self._set_state(key, SliceState.UNTOUCHED)
            return
        self._saved(self._study.save_slice(key, labels, SliceState.DRAFT))
        if was is SliceState.CLEAN:
            self.request.emit(SliceReopened(key))

    def _hand_back(self, state: SliceState) -> None:
        self.flush()
        key = self.key
        machine = self.layers.machine_slice(key.axis, key.index)
        self._working.set_before(key.axis, key.index, machine)
        self.layers.write_slice(key.axis, key.index, machine)
        self._working.mark_saved(key.axis, key.index)
        if self.state(key) is not state:
            self._set_state(key, state)

    def _set_state(self, key: SliceKey, state: SliceState) -> None:
        was = self.state(key)
        self._saved(self._study.set_state(key, state))
        if was is SliceState.CLEAN:
            self.request.emit(SliceReopened(key))

    def _saved(self, record: SliceRecord) -> None:
        self._records[record.key] = record
        self._working.mark_saved(record.key.axis, record.key.index)
        self.slice_changed.emit(record.key)

    def _advance(self) -> None:
        done = (SliceState.CLEAN, SliceState.SKIPPED)
        states = self.states()
        around = [*range(self._index + 1, len(states)), *range(self._index)]
        following = next((i for i in around if states[i] not in done), None)
        if following is not None:
            self.go_to(following)

    def _catch_up(self) -> None:
        deadline = time.perf_counter() + _CATCH_UP_BUDGET_S
        visible = (self._axis, self._index)
        drawn: set[ArrayName] = set()
        while self._pending:
            where = visible if visible in self._pending else next(iter(self._pending))
            drawn |= self._take(*where, self._pending.pop(where))
            if time.perf_counter() > deadline:
                break
        if not self._pending:
            self._catch_up_timer.stop()
        self._drawing = True
        if drawn:
            self.layers.draw(drawn, working=self.layers.machine_array in drawn)
        self._drawing = False

    def _take(self, axis: int, index: int, names: set[ArrayName]) -> set[ArrayName]:
        """Read one slice from the store; the names are returned if it can be seen."""
        self.layers.reload(names, axis, index, index + 1)
        if self.layers.machine_array in names:
            fresh = self.layers.machine_slice(axis, index)[np.newaxis]
            self._working.refresh(axis, index, fresh, self._human())
        seen = axis != self._axis or index == self._index or self.layers.axis is None
        return names if seen else set()

"""One case at work: what is painted becomes drafts, what is accepted becomes clean."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_mlbseg.engine.events import SlicesPublished
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.cases import Case, LabelClass
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background.task import timer
from napari_mlbseg.widgets.case.commands import SliceCommands
from napari_mlbseg.widgets.case.history import History
from napari_mlbseg.widgets.case.journal import Journal
from napari_mlbseg.widgets.case.late import LateSlices
from napari_mlbseg.widgets.case.layers import LAYER_NAMES, CaseLayers
from napari_mlbseg.widgets.case.saving import save_each
from napari_mlbseg.widgets.case.slice_keeper import SliceKeeper
from napari_mlbseg.widgets.case.slice_states import SliceStates
from napari_mlbseg.widgets.case.stored import CaseArrays
from napari_mlbseg.widgets.case.working_labels import WorkingLabels

_SAVE_AFTER_MS = 250


class Annotation(QObject):
    """The case on view, its layers, and what a person says about its slices.

    Attributes
    ----------
    commands
        What a person can say about the slice on view.
    unsaved
        Edited slices that could not be saved when it was last tried, and why.

    Signals
    -------
    slice_changed(SliceKey)
        The state of a slice is another one now; the study holds it.
    moved(SliceKey)
        Another slice is on view.
    label_picked(int)
        The class to paint with is another one now.
    history_changed()
        Something else can be undone or done again now.
    request(object)
        Something that a running engine should hear.
    failed(str), told(str)
        Something could not be done, or was done; for the annotator.
    flushed()
        It has been tried to save every edit: `unsaved` says how that went.
    """

    slice_changed = Signal(object)
    moved = Signal(object)
    label_picked = Signal(int)
    history_changed = Signal()
    request = Signal(object)
    failed = Signal(str)
    told = Signal(str)
    flushed = Signal()

    def __init__(
        self,
        viewer: ViewerModel,
        study: Study,
        case: Case,
        parent: QObject | None = None,
        *,
        history: History | None = None,
    ) -> None:
        """Show a case; `history` is that of an earlier visit."""
        super().__init__(parent)
        self.case = case
        self.unsaved: dict[SliceKey, str] = {}
        self._study = study
        self._states = SliceStates(study, case)
        self._save_timer = timer(self, _SAVE_AFTER_MS, self.flush, single_shot=True)
        self._late = LateSlices(self)
        names = (*LAYER_NAMES, ArrayName.PROPOSED_LABELS)
        self._arrays = CaseArrays(study, case, names, self._late.await_more)
        self._working = WorkingLabels(
            case.geometry.shape,
            self._arrays.machine_slice,
            human=self._states.human(),
            mask=lambda where: study.slices.mask(SliceKey(case.id, *where)),
            touched=lambda where: self._journal.touch(SliceKey(case.id, *where)),
            edited=self._on_write,
        )
        self._working.axis = self._axis = case.axis
        self.layers = CaseLayers(viewer, study, case, self._arrays, self._working)
        self._late.watch(self._arrays, self.layers)
        self._index = self.layers.index(case.axis)
        self.history = History() if history is None else history
        self._journal = self._begin_journal()
        self.commands = SliceCommands(
            self, self._journal, self._states, self._arrays, self._working, self.layers, self
        )
        self.commands.failed.connect(self.failed)
        self.commands.told.connect(self.told)
        self._connections = self._listen(viewer)

    # --- where the annotator is ----------------------------------------------------------------

    @property
    def key(self) -> SliceKey:
        """The slice on view."""
        return SliceKey(self.case.id, self._axis, self._index)

    def state(self, key: SliceKey) -> SliceState:
        """What a person said about a slice of this case."""
        return self._states[key]

    def states(self) -> tuple[SliceState, ...]:
        """States of all slices along the axis on view."""
        return self._states.along(self._axis)

    def go_to(self, index: int) -> None:
        """Show another slice along the axis on view."""
        self.layers.show_slice(self._axis, index)

    def go_to_slice(self, key: SliceKey) -> None:
        """Show a slice of this case, turning to its axis where need be."""
        self.layers.show_slice(key.axis, key.index)
        if key.axis != self._axis:
            self.show_axis(key.axis)

    def show_axis(self, axis: int) -> None:
        """Show slices along another axis; what is painted from now on belongs to it.

        The window stays at hand while a large case is read for it.
        """
        self._late.turn(axis)

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

    # --- what is painted -----------------------------------------------------------------------

    def flush(self) -> None:
        """Save every edited slice as a draft, each by itself."""
        self._save_timer.stop()
        if not self._study.writable:
            return
        keys = [SliceKey(self.case.id, *where) for where in self._working.edits()]
        self.unsaved = save_each(keys, self._journal.save)
        self.flushed.emit()

    def unsaved_masks(self) -> dict[SliceKey, NDArray[np.uint8]]:
        """Labels of the slices that could not be saved."""
        return {key: self._labels(key) for key in self.unsaved}

    def discard(self) -> None:
        """Take edits that could not be saved back, for good."""
        self._journal.close()
        self._working.discard_edits()
        self.layers.draw((), working=True)
        self.flush()

    # --- what the machine says -----------------------------------------------------------------

    def published(self, event: SlicesPublished) -> None:
        """New arrays lie in the store: what is on view is read at once, the rest when it is."""
        names = {ArrayName(name) for name in event.arrays}
        was = self._arrays.machine.name
        self._arrays.reload(names, event.axis, event.start, event.stop)
        where = range(event.start, event.stop)
        seen = event.axis != self._axis or self._index in where or self.layers.axis is None
        machine = self._arrays.machine.name
        if seen or machine is not was:
            self.layers.draw(names, working=machine in names)

    def close(self, *, remove_layers: bool = True) -> None:
        """Save what is painted and take the layers away, unless their window is gone."""
        self.flush()
        self._journal.close()
        self._late.stop()
        for event, slot in self._connections:
            event.disconnect(slot)
        try:
            if remove_layers:
                self.layers.remove()
        finally:
            self._arrays.close()

    # --- inside ----------------------------------------------------------------------------------

    def _begin_journal(self) -> Journal:
        keeper = SliceKeeper(
            self._study,
            self._states,
            self._working,
            changed=self._on_look,
            request=self.request.emit,
        )
        return Journal(
            keeper,
            self.history,
            here=lambda: self.key,
            tool=lambda: self.layers.working.tool,
            changed=self.history_changed.emit,
        )

    def _listen(self, viewer: ViewerModel) -> list[tuple[Any, Callable[[Any], None]]]:
        """Hear what napari tells; the result is what `close` ends."""
        layer, dims = self.layers.working.events, viewer.dims.events
        connections: list[tuple[Any, Callable[[Any], None]]] = [
            (layer.selected_label, self._on_label),
            (layer.paint, self._on_paint),
            (layer.undo_asked, lambda event: self.commands.undo()),
            (layer.redo_asked, lambda event: self.commands.redo()),
            *((event, self._on_view) for event in (dims.point, dims.order, dims.ndisplay)),
        ]
        for event, slot in connections:
            event.connect(slot)
        return connections

    def _on_write(self) -> None:
        self._journal.wrote()
        # Not restarted by further events: a steady stream of them must not put saving off.
        if not self._save_timer.isActive():
            self._save_timer.start()

    def _on_look(self, key: SliceKey) -> None:
        self.layers.draw((), working=True)
        self.slice_changed.emit(key)

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
        self._working.axis = axis
        self.moved.emit(self.key)

    def _on_label(self, event: Any = None) -> None:
        self.label_picked.emit(self.label)

    def _on_paint(self, event: Any = None) -> None:
        self._journal.announce()

    def _labels(self, key: SliceKey) -> NDArray[np.uint8]:
        return self._working.read(key.axis, key.index)

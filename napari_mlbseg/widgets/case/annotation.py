"""The annotation of one case: painted slices become drafts, accepted slices become clean."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_mlbseg.engine.events import SlicesPublished
from napari_mlbseg.project.arrays.store import CHANNELS, ArrayName
from napari_mlbseg.project.labels import Labels
from napari_mlbseg.project.records.cases import Case, LabelClass
from napari_mlbseg.project.records.slices import HUMAN, SliceKey, SliceState
from napari_mlbseg.project.rescue import Rescue
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background.in_turn import InTurn
from napari_mlbseg.widgets.background.task import timer
from napari_mlbseg.widgets.case.answers import Answers
from napari_mlbseg.widgets.case.class_marks import ClassMarks
from napari_mlbseg.widgets.case.class_meant import class_meant
from napari_mlbseg.widgets.case.commands import SliceCommands
from napari_mlbseg.widgets.case.extent_keeper import ExtentKeeper
from napari_mlbseg.widgets.case.history import History
from napari_mlbseg.widgets.case.journal import Journal
from napari_mlbseg.widgets.case.late import LateSlices
from napari_mlbseg.widgets.case.layers import LAYER_NAMES, CaseLayers
from napari_mlbseg.widgets.case.outline import Outline
from napari_mlbseg.widgets.case.saving import save_each
from napari_mlbseg.widgets.case.slice_keeper import SliceKeeper
from napari_mlbseg.widgets.case.slice_states import SliceStates
from napari_mlbseg.widgets.case.stored import CaseArrays
from napari_mlbseg.widgets.case.tool_commands import ToolCommands
from napari_mlbseg.widgets.case.volume_commands import VolumeCommands
from napari_mlbseg.widgets.case.working_labels import WorkingLabels

_SAVE_AFTER_MS = 250


class Annotation(QObject):
    """The case on view, its layers, and the states that a person gives its slices.

    Attributes
    ----------
    commands
        The commands for the slice on view.
    tools
        The commands of the tools that spare strokes.
    volume
        Those that clean the whole volume up.
    answers
        Answers at once, from strokes on the slice on view.
    extents
        Between which slices each class shows.
    unsaved
        Edited slices that could not be saved at the last attempt, and why.
    saves
        What is saved, in turn; something waits while the study is busy.

    Signals
    -------
    slices_changed(Sequence[SliceKey])
        The states of slices have changed; the study has the new ones.
    extent_changed(str)
        An extent in the case of this name was marked, or a mark was taken away.
    moved(SliceKey)
        Another slice is on view.
    label_picked(int)
        The class to paint with has changed.
    history_changed()
        The steps to undo or redo have changed.
    overlays_changed()
        An overlay is shown or hidden.
    request(object)
        A request to the running engine.
    failed(str), told(str)
        Messages of failure and of success for the annotator.
    flushed()
        The program has tried to save every edit; `unsaved` has the failures.
    """

    slices_changed = Signal(object)
    extent_changed = Signal(str)
    moved = Signal(object)
    label_picked = Signal(int)
    history_changed = Signal()
    overlays_changed = Signal()
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
        marks: ClassMarks | None = None,
        saves: InTurn | None = None,
        index: int | None = None,
        earlier: CaseLayers | None = None,
        ahead: CaseArrays | None = None,
    ) -> None:
        """Show a case at a slice, or in the middle.

        `history` comes from an earlier visit, `earlier` are the layers of the case shown before;
        `marks` say which classes are locked and hidden, `saves` come with the study; `ahead` holds
        rows that were read ahead.
        """
        super().__init__(parent)
        self.case = case
        self.unsaved: dict[SliceKey, str] = {}
        self._study = study
        self._marks = marks = ClassMarks(self) if marks is None else marks
        self.saves = saves = InTurn("mlbseg-saves", self) if saves is None else saves
        self._states = SliceStates(study, case)
        self._save_timer = timer(self, _SAVE_AFTER_MS, self.flush, single_shot=True)
        self._late = LateSlices(self)
        names = (*LAYER_NAMES, ArrayName.PROPOSED_LABELS, *CHANNELS[1 : len(case.channels)])
        self.extents = ExtentKeeper(
            study, case, saves, changed=self._on_extent, request=self.request.emit
        )
        self._arrays = CaseArrays(
            study, case, names, self._late.await_more, excluded=self.extents.excluded
        )
        if ahead is not None:
            self._arrays.take_over(ahead)
        self._working = WorkingLabels(
            case.geometry.shape,
            self._arrays.machine_slice,
            human=self._states.human(),
            mask=lambda where: study.slices.mask(SliceKey(case.id, *where)),
            touched=lambda where: self._journal.touch(SliceKey(case.id, *where)),
            edited=self._on_write,
            locked=lambda: marks.locked,
        )
        self._working.axis = self._axis = case.axis
        self.layers = CaseLayers(
            viewer, study, case, self._arrays, self._working, earlier=earlier, index=index
        )
        self._late.watch(self._arrays, self.layers)
        if marks.hidden:
            self._show_marks()
        marks.changed.connect(self._show_marks)
        self._index = self.layers.index(case.axis)
        self.history = History() if history is None else history
        self._journal = self._begin_journal()
        self.commands = SliceCommands(
            self,
            self._journal,
            self._states,
            self._arrays,
            self._working,
            self.layers,
            self.extents,
            self,
        )
        self.tools = ToolCommands(
            self.commands.ready,
            self._journal,
            self._states,
            self._arrays,
            self._working,
            self.extents,
            meant=lambda wanted: class_meant(study.classes, self.label, wanted),
            sides_mm=case.sides_mm,
            parent=self,
        )
        self.volume = VolumeCommands(
            study,
            case,
            self.commands.ready,
            self._journal,
            self._working,
            meant=lambda wanted: class_meant(study.classes, self.label, wanted),
            parent=self,
        )
        self.answers = self._await_strokes(viewer)
        self.tools.told.connect(self.told)
        self.volume.told.connect(self.told)
        self.layers.working.intensities = self._arrays.intensities
        self.commands.failed.connect(self.failed)
        self.commands.told.connect(self.told)
        self._connections = self._listen(viewer)

    # --- where the annotator is ----------------------------------------------------------------

    @property
    def key(self) -> SliceKey:
        """The slice on view."""
        return SliceKey(self.case.id, self._axis, self._index)

    def state(self, key: SliceKey) -> SliceState:
        """Return the state of a slice of this case."""
        return self._states[key]

    def states(self) -> tuple[SliceState, ...]:
        """Return the states of all slices along the axis on view."""
        return self._states.along(self._axis)

    def go_to(self, index: int) -> None:
        """Show another slice along the axis on view."""
        self.layers.show_slice(self._axis, index)

    def go_to_slice(self, key: SliceKey) -> None:
        """Show a slice of this case; turns to its axis if necessary."""
        self.layers.show_slice(key.axis, key.index)
        if key.axis != self._axis:
            self.show_axis(key.axis)

    def expect(self, key: SliceKey) -> None:
        """Read a slice of this case ahead, in the background, because it will be wanted soon."""
        self._arrays.expect(self.layers.shown(), key.axis, key.index)

    def show_axis(self, axis: int) -> None:
        """Show slices along another axis; new edits belong to slices along it.

        The window stays responsive while a large case is read.
        """
        self._late.turn(axis)

    @property
    def label(self) -> int:
        """The class to paint with."""
        return int(self.layers.working.selected_label)

    def paint_with(self, label: int) -> None:
        """Paint with this class from now on; it is shown if it was hidden."""
        self._marks.show(label)
        self.layers.working.selected_label = label

    def toggle_map(self, name: ArrayName) -> None:
        """Show or hide a map of the engine; says so if it was not computed yet."""
        if self.layers.toggle(name) and not self._arrays[name].there:
            self.told.emit(
                f"The map '{LAYER_NAMES[name]}' is not computed yet; the training makes it."
            )

    def at(
        self, name: ArrayName, voxel: tuple[int, int, int], reading: Callable[[], object]
    ) -> Any:
        """Return what an array holds at a voxel (z y x) of the slice on view, or None.

        `reading` is called if it is not known yet.
        """
        return self._arrays[name].at(voxel, self._axis, reading)

    def across(self, axis: int, index: int, machine: Callable[[], Labels]) -> Labels:
        """Return the labels of a slice, with a person's over those that `machine` returns."""
        return self._working.over(axis, index, machine)

    def set_classes(self, classes: Sequence[LabelClass]) -> None:
        """Show these classes; if the class to paint with is gone, another one takes its place."""
        self.layers.set_classes(classes, hidden=self._marks.hidden)
        self.extents.refresh()
        self.layers.draw((ArrayName.PREDICTION,), working=True)

    # --- what is painted -----------------------------------------------------------------------

    def flush(self) -> None:
        """Save every edited slice as a draft, one by one."""
        self._save_timer.stop()
        if not self._study.writable:
            return
        keys = [SliceKey(self.case.id, *where) for where in self._working.edits()]
        self.unsaved = save_each(keys, self._journal.save)
        self.flushed.emit()

    def rescue(self) -> Rescue:
        """Return what the study does not have: what could not be saved, and what waits."""
        expected = self._states.expected
        labelled = [key for key, state in expected.items() if state in HUMAN]
        return Rescue.of(
            self._study,
            {key: self._labels(key) for key in (*self.unsaved, *labelled)},
            {key: state for key, state in expected.items() if state not in HUMAN},
            self.extents.expected,
        )

    def discard(self) -> None:
        """Discard the edits that could not be saved, for good."""
        self._journal.close()
        self._working.discard_edits()
        self.layers.draw((), working=True)
        self.flush()

    # --- what the machine says -----------------------------------------------------------------

    def published(self, event: SlicesPublished) -> None:
        """Reload published arrays: the slice on view now, other slices when they come on view."""
        names = {ArrayName(name) for name in event.arrays}
        was = self._arrays.machine.name
        self._arrays.reload(names, event.axis, event.start, event.stop)
        where = range(event.start, event.stop)
        seen = event.axis != self._axis or self._index in where or self.layers.axis is None
        machine = self._arrays.machine.name
        if seen or machine is not was:
            self.layers.draw(names, working=machine in names)

    def close(self, *, remove_layers: bool = True) -> None:
        """Save the edits, and remove the layers unless their window is gone or they go on."""
        self.answers.drop()
        self.flush()
        self._journal.close()
        self._late.stop()
        self._marks.changed.disconnect(self._show_marks)
        for event, slot in self._connections:
            event.disconnect(slot)
        self.layers.release()
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
            self.saves,
            changed=self._on_look,
            request=self.request.emit,
        )
        return Journal(
            keeper,
            self.extents,
            self.history,
            here=lambda: self.key,
            tool=lambda: self.layers.working.tool,
            changed=self.history_changed.emit,
        )

    def _await_strokes(self, viewer: ViewerModel) -> Answers:
        answers = Answers(
            self.commands.ready,
            self._journal,
            self._arrays,
            self._working,
            viewer,
            self.layers.working,
            Outline(viewer, self._study, self.case),
            sides_mm=self.case.sides_mm,
            parent=self,
        )
        answers.failed.connect(self.failed)
        answers.told.connect(self.told)
        self.history_changed.connect(answers.renew)
        self.moved.connect(answers.drop)
        return answers

    def _listen(self, viewer: ViewerModel) -> list[tuple[Any, Callable[[Any], None]]]:
        """Connect to napari's events; return the connections, for `close` to end."""
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
        return connections + self.layers.on_shown(self._on_shown)

    def _show_marks(self) -> None:
        self.layers.set_classes(self._study.classes, hidden=self._marks.hidden)

    def _on_shown(self, event: Any = None) -> None:
        self.overlays_changed.emit()

    def _on_write(self) -> None:
        self._journal.wrote()
        # Further edits do not restart the timer: a steady stream of them must not delay saving.
        if not self._save_timer.isActive():
            self._save_timer.start()

    def _on_look(self, keys: Sequence[SliceKey], other_labels: bool) -> None:
        # Accepted slices widen extents.
        widened = self.extents.refresh()
        if widened or other_labels:
            self.layers.draw((ArrayName.PREDICTION,) if widened else (), working=True)
        self.slices_changed.emit(keys)

    def _on_extent(self) -> None:
        self.layers.draw((ArrayName.PREDICTION,), working=True)
        self.extent_changed.emit(self.case.id)

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
        self.layers.fit_weights()
        following = self._states.open_after(axis, index)
        if following is not None:  # "Accept and go on" leads there
            self.expect(SliceKey(self.case.id, axis, following))
        self.moved.emit(self.key)

    def _on_label(self, event: Any = None) -> None:
        self.label_picked.emit(self.label)

    def _on_paint(self, event: Any = None) -> None:
        self._journal.announce()

    def _labels(self, key: SliceKey) -> NDArray[np.uint8]:
        return self._working.read(key.axis, key.index)

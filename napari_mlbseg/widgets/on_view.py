"""The case on view: choose another one, turn it, and act on it."""

from collections.abc import Callable

from napari.components import ViewerModel
from qtpy.QtCore import QObject, Signal

from napari_mlbseg.engine.events import Event, Focus, SlicesPublished
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.adding import rebuild_arrays
from napari_mlbseg.project.arrays.copying import images_of
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background.errands import Errands
from napari_mlbseg.widgets.background.task import timer
from napari_mlbseg.widgets.case.ahead import Ahead
from napari_mlbseg.widgets.case.annotation import Annotation
from napari_mlbseg.widgets.case.class_marks import ClassMarks
from napari_mlbseg.widgets.case.commands import SliceCommands
from napari_mlbseg.widgets.case.history import Histories
from napari_mlbseg.widgets.keeping.last_view import recall, remember
from napari_mlbseg.widgets.keeping.leaving import Leaving
from napari_mlbseg.widgets.refusals import for_writing, opened, reporting

_FOCUS_AFTER_MS = 150


def _nothing(*_: object) -> None:
    pass


class CaseOnView(QObject):
    """Shows one case of the open study at a time, and saves it before it shows another.

    Attributes
    ----------
    annotation
        The annotation of the case on view; None if no case is shown.
    marks
        Which classes are locked and hidden; another study begins without.

    Signals
    -------
    changed()
        Another case is shown, or none.
    slices_changed(Sequence[SliceKey]), extent_changed(str), moved(SliceKey), label_picked(int),
    history_changed(), overlays_changed()
        See `Annotation`.
    request(object)
        A request to the running engine.
    failed(str), told(str)
        Messages of failure and of success for the annotator.
    """

    changed = Signal()
    slices_changed = Signal(object)
    extent_changed = Signal(str)
    moved = Signal(object)
    label_picked = Signal(int)
    history_changed = Signal()
    overlays_changed = Signal()
    request = Signal(object)
    failed = Signal(str)
    told = Signal(str)

    def __init__(
        self, viewer: ViewerModel, leaving: Leaving, errands: Errands, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.annotation: Annotation | None = None
        self.marks = ClassMarks(self)
        self._viewer, self._leaving, self._errands = viewer, leaving, errands
        self._study: Study | None = None
        self._histories = Histories()
        self._ahead = Ahead()
        self._places: dict[str, SliceKey] = {}
        self._last: str | None = None
        self._focus_timer = timer(self, _FOCUS_AFTER_MS, self._focus, single_shot=True)

    def set_study(self, study: Study | None) -> None:
        """Show cases of this study from now on; None for no study."""
        self._remember()
        self._ahead.drop()
        self._study, self._histories = study, Histories()
        self.marks.forget()
        self._places, self._last = ({}, None) if study is None else recall(study)

    def begin(self) -> None:
        """Show the case that was on view when the study was last closed, or the first one."""
        cases = opened(self._study).cases
        if cases:
            self.choose(self._last or cases[0].id)

    def choose(self, case_id: str) -> None:
        """Save the case on view, and show another one where it was left, or in its middle."""
        shown = self.annotation
        if shown is None or shown.case.id != case_id or not shown.layers.complete:
            with reporting(self.failed.emit):
                case = opened(self._study).case(case_id)
                self._leaving.case(lambda: self._show(case), self.changed.emit)

    def go_to(self, key: SliceKey) -> None:
        """Show a slice of any case."""
        shown = self.annotation
        if shown is not None and shown.case.id == key.case_id and shown.layers.complete:
            shown.go_to_slice(key)
            return
        with reporting(self.failed.emit):
            case = opened(self._study).case(key.case_id)
            self._leaving.case(lambda: self._show(case, key), self.changed.emit)

    def expect(self, key: SliceKey) -> None:
        """Read a slice of any case ahead, in the background, because it will be wanted soon."""
        shown, study = self.annotation, self._study
        if shown is None or study is None:
            return
        if shown.case.id == key.case_id:
            shown.expect(key)
        else:
            self._ahead.expect(study, key, shown.layers.shown())

    def expect_nothing(self) -> None:
        """Forget what was read ahead of other cases, because their labels were replaced."""
        self._ahead.drop()

    def show_anew(self, key: SliceKey) -> None:
        """Reload a slice from the study and show it."""
        case = opened(self._study).case(key.case_id)
        self._leaving.case(lambda: self._show(case, key), _nothing)

    def show(self, action: Callable[[Annotation], None]) -> None:
        """Act on the case on view, if there is one; works in read-only studies too."""
        if self.annotation is not None:
            action(self.annotation)

    def act(self, command: Callable[[SliceCommands], None]) -> None:
        """Run a command on the slice on view, if the study is writable."""
        with reporting(self.failed.emit):
            if self.annotation is None:
                raise UserError("Choose a case first.")
            for_writing(self._study)
            command(self.annotation.commands)

    def put_aside(self) -> Callable[[], None]:
        """Save and close the case on view, whose arrays are replaced; returns how it comes back."""
        shown, study = self.annotation, self._study
        if shown is None:
            return _nothing
        key = shown.key
        self.close()
        return lambda: self.go_to(key) if self._study is study else None

    def turn(self, axis: int) -> None:
        """Annotate the case on view along another axis from now on."""
        annotation = self.annotation
        if annotation is not None:
            self._leaving.case(
                lambda: self._turn(annotation, axis), lambda: self.moved.emit(annotation.key)
            )

    def focus_soon(self) -> None:
        """Tell the running engine in a moment which slice is on view."""
        self._focus_timer.start()

    def hear(self, event: Event) -> None:
        """Take an engine event, and show what it changes in the case on view."""
        annotation = self.annotation
        if annotation is None or not isinstance(event, SlicesPublished):
            return
        self._ahead.published(event)
        if annotation.case.id == event.case_id:
            with reporting(self.failed.emit):
                annotation.published(event)

    def close(self, *, remove_layers: bool = True) -> None:
        """Save the case on view and close it."""
        annotation, self.annotation = self.annotation, None
        if annotation is None:
            return
        try:
            self._put_away(annotation, remove_layers=remove_layers)
        finally:
            self.changed.emit()

    # --- inside ----------------------------------------------------------------------------------

    def _show(self, case: Case, key: SliceKey | None = None) -> None:
        """Show a case in place of the one on view: at a slice, where it was left, or its middle."""
        with reporting(self.failed.emit):
            self._remember()
            key = key or self._places.get(case.id)
            try:
                self._replace(opened(self._study), case, key)
            finally:
                self.changed.emit()
            self.focus_soon()
            if key is not None and key.axis != case.axis:
                self.show(lambda annotation: annotation.go_to_slice(key))

    def _replace(self, study: Study, case: Case, key: SliceKey | None) -> None:
        shown, self.annotation = self.annotation, None
        layers = None if shown is None else shown.layers
        try:
            if shown is not None:
                self._put_away(shown, remove_layers=False)
            if study.writable and not all(study.arrays.has(case.id, n) for n in images_of(case)):
                self._errands.run(
                    lambda _: rebuild_arrays(study.cases, study.arrays),
                    lambda _: self.choose(case.id) if key is None else self.go_to(key),
                    doing="Rebuilding arrays from the source files",
                )
                return
            self.annotation = Annotation(
                self._viewer,
                study,
                case,
                self,
                history=self._histories.of(case.id),
                marks=self.marks,
                saves=self._leaving.saves,
                index=key.index if key is not None and key.axis == case.axis else None,
                earlier=layers,
                ahead=self._ahead.take(case.id),
            )
        finally:
            if self.annotation is None and layers is not None:
                layers.remove()
        self._leaving.holding.watch(study, self.annotation)
        self._pass_on(self.annotation)

    def _remember(self) -> None:
        if self._study is not None and self.annotation is not None:
            self._places[self.annotation.case.id] = self.annotation.key
            remember(self._study, self._places, self.annotation.case.id)

    def _put_away(self, annotation: Annotation, *, remove_layers: bool) -> None:
        try:
            annotation.close(remove_layers=remove_layers)
        finally:
            self._leaving.holding.release()
            annotation.deleteLater()

    def _pass_on(self, annotation: Annotation) -> None:
        annotation.slices_changed.connect(self.slices_changed)
        annotation.extent_changed.connect(self.extent_changed)
        annotation.moved.connect(self.moved)
        annotation.moved.connect(lambda _: self.focus_soon())
        annotation.label_picked.connect(self.label_picked)
        annotation.request.connect(self.request)
        annotation.history_changed.connect(self.history_changed)
        annotation.overlays_changed.connect(self.overlays_changed)
        annotation.failed.connect(self.failed)
        annotation.told.connect(self.told)

    def _turn(self, annotation: Annotation, axis: int) -> None:
        with reporting(self.failed.emit):
            study, case_id = opened(self._study), annotation.case.id
            if study.writable:
                self._leaving.saves.put(lambda: study.set_axis(case_id, axis), _nothing)
            annotation.show_axis(axis)

    def _focus(self) -> None:
        self.show(lambda annotation: self.request.emit(Focus(annotation.key)))

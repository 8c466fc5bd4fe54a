"""The open study, its case on view and its engine: everything behind the panels, without looks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from napari.components import ViewerModel
from qtpy.QtCore import QObject, Signal

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import Event, Focus, Request, SlicesPublished
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.folder.lock import StudyLocked
from napari_mlbseg.project.importing.cohort import Imported
from napari_mlbseg.project.records.cases import Case, LabelClass
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background import jobs
from napari_mlbseg.widgets.background.bridge import EngineBridge, EngineFactory, engine_of
from napari_mlbseg.widgets.background.errands import Errands
from napari_mlbseg.widgets.background.exports import Exports
from napari_mlbseg.widgets.background.intake import Intake
from napari_mlbseg.widgets.background.task import timer
from napari_mlbseg.widgets.case.annotation import Annotation
from napari_mlbseg.widgets.case.history import Histories
from napari_mlbseg.widgets.keeping.leaving import Leaving
from napari_mlbseg.widgets.requests import CaseRow, Export, ModelExport, NewStudy

_FOCUS_AFTER_MS = 150
STOP_TIMEOUT_S = 2.0


def _nothing(*_: object) -> None:
    pass


class Workbench(QObject):
    """Does what the panels ask for.

    Attributes
    ----------
    engine
        Makes the source of events of a run.
    errands
        What is done with files in the background.
    intake
        Makes studies from folders.
    leaving, holding
        What comes before a case or the study is left; what could not be saved of it.

    Signals
    -------
    study_changed(), case_changed(), classes_changed()
        Another study, another case, or none; other classes in the same study.
    slice_changed(SliceKey), moved(SliceKey), label_picked(int), history_changed()
        Of the case on view, see `Annotation`.
    engine_event(Event)
        From the engine, on the main thread.
    failed(str), told(str)
        Something went wrong, or well; for the annotator.
    locked(Path, str)
        The study is in use elsewhere, by whom; it can still be opened for reading.
    imported(Imported)
        What came in and what did not.
    """

    study_changed = Signal()
    case_changed = Signal()
    classes_changed = Signal()
    slice_changed = Signal(object)
    moved = Signal(object)
    label_picked = Signal(int)
    history_changed = Signal()
    engine_event = Signal(object)
    failed = Signal(str)
    told = Signal(str)
    locked = Signal(object, str)
    imported = Signal(object)

    def __init__(self, viewer: ViewerModel, engine: EngineFactory = engine_of) -> None:
        super().__init__()
        self._viewer = viewer
        self.engine = engine
        self.errands = Errands(self)
        self.errands.failed.connect(self.failed)
        self.errands.told.connect(self.told)
        self.intake = Intake(self.errands, self)
        self.intake.made.connect(self._take)
        self._closing = False
        self.study: Study | None = None
        self.annotation: Annotation | None = None
        self._histories = Histories()
        self.bridge = EngineBridge(self)
        self.bridge.told.connect(self._on_engine_event)
        self.leaving = Leaving(self.bridge, self.errands, self)
        self.holding = self.leaving.holding
        self.holding.failed.connect(self.failed)
        self.holding.told.connect(self.told)
        self._exports = Exports(self.errands, self.bridge)
        self._focus_timer = timer(self, _FOCUS_AFTER_MS, self._focus, single_shot=True)

    # --- studies -------------------------------------------------------------------------------

    def open_study(self, path: Path, *, writable: bool = True) -> None:
        """Open a study in place of the one that is open."""
        with self._reporting():
            if self.study is not None and self.study.path.resolve() == Path(path).resolve():
                return
            try:
                study = Study.open(Path(path), writable=writable)
            except StudyLocked as error:
                self.locked.emit(Path(path), str(error))
                return
            self._take(study)

    def create_study(self, new: NewStudy) -> None:
        """Make a study from folders in the background, then open it."""
        with self._reporting():
            self.intake.create(new)

    def set_classes(self, classes: Sequence[LabelClass]) -> None:
        """Give the study other classes; one that is in use cannot go."""
        with self._reporting():
            study = self._writable_study()
            known, wanted = ({c.value for c in each} for each in (study.classes, classes))
            if self.bridge.running and known != wanted:
                raise UserError(
                    "Classes cannot be added or removed while the training runs. Stop it first."
                )
            self.show(Annotation.flush)

            def done(now: tuple[LabelClass, ...]) -> None:
                if self.study is not study:
                    return
                self.show(lambda annotation: annotation.set_classes(now))
                self.classes_changed.emit()
                if known != wanted:
                    self.told.emit("Classes saved. The next training begins anew with them.")

            self.errands.run(jobs.change_of_classes(study, classes), done)

    def close_study(self) -> None:
        """Save what is painted, stop the training, then release the study."""
        self.leaving.study(self._release, _nothing)

    def shut_down(self, wait_s: float | None = None) -> None:
        """For the end of the window: save and release, ask nothing; twice does no harm.

        A training that does not stop in `wait_s` seconds, by default `STOP_TIMEOUT_S`, is let go
        of, and the study is closed when it has ended. Edits that cannot be saved stay in their
        rescue file.
        """
        self._closing = True
        self.show(Annotation.flush)
        self.leaving.now(STOP_TIMEOUT_S if wait_s is None else wait_s)
        self._release(remove_layers=False)

    def lose_window(self) -> None:
        """For a window that ended without closing: shut down, and tell no panel of it."""
        self.blockSignals(True)
        self.shut_down()

    def end(self) -> None:
        """For the end of the process: shut down, and wait for nobody."""
        self.shut_down()
        self.leaving.close_let_go()

    # --- cases and slices ----------------------------------------------------------------------

    def case_rows(self) -> list[CaseRow]:
        """The list of cases with their progress."""
        study = self.study
        return [CaseRow.of(study, case.id) for case in study.cases] if study else []

    def case_row(self, case_id: str) -> CaseRow:
        """Progress of one case."""
        return CaseRow.of(self._open_study(), case_id)

    def choose_case(self, case_id: str, then: Callable[[Annotation], None] = _nothing) -> None:
        """Show a case, and do something to it then; the one on view is saved first."""
        shown = self.annotation
        if shown is not None and shown.case.id == case_id and shown.layers.complete:
            then(shown)
            return
        with self._reporting():
            case = self._open_study().case(case_id)
            self.leaving.case(lambda: self._show_case(case, then), self.case_changed.emit)

    def go_to(self, key: SliceKey) -> None:
        """Show a slice of any case."""
        self.choose_case(key.case_id, lambda annotation: annotation.go_to_slice(key))

    def show_anew(self, key: SliceKey) -> None:
        """Show a slice as the study has it now."""
        case = self._open_study().case(key.case_id)
        self.leaving.case(
            lambda: self._show_case(case, lambda annotation: annotation.go_to_slice(key)), _nothing
        )

    def show(self, action: Callable[[Annotation], None]) -> None:
        """Do something to the case on view, if there is one; also while only reading."""
        if self.annotation is not None:
            action(self.annotation)

    def act(self, action: Callable[[Annotation], None]) -> None:
        """Do something to the case on view, if the study can be written to."""
        with self._reporting():
            if self.annotation is None:
                raise UserError("Choose a case first.")
            self._writable_study()
            action(self.annotation)

    def choose_axis(self, axis: int) -> None:
        """Annotate the case on view along another axis, from now on."""
        annotation = self.annotation
        if annotation is not None:
            self.leaving.case(
                lambda: self._turn(annotation, axis), lambda: self.moved.emit(annotation.key)
            )

    # --- engine --------------------------------------------------------------------------------

    def train(self, config: Config) -> bool:
        """Start the engine on the open study; whether it could be started."""
        started = False
        with self._reporting():
            study = self._writable_study()
            self.show(Annotation.flush)
            self.bridge.start(self.engine(study, config))
            self._focus_timer.start()
            started = True
        return started

    def send(self, request: Request) -> None:
        """Tell a running engine something; without one nothing happens."""
        self.bridge.send(request)

    # --- export --------------------------------------------------------------------------------

    def export(self, export: Export) -> None:
        """Write files in the background."""
        with self._reporting():
            study = self._open_study()
            self.show(Annotation.flush)
            self._exports.write(study, export)

    def export_model(self, wanted: ModelExport) -> None:
        """Write the trained model in the background."""
        with self._reporting():
            self._exports.write_model(self._open_study(), wanted)

    # --- inside --------------------------------------------------------------------------------

    def _open_study(self) -> Study:
        if self.study is None:
            raise UserError("Open or create a study first.")
        return self.study

    def _writable_study(self) -> Study:
        study = self._open_study()
        if not study.writable:
            raise UserError("This study is open for reading only.")
        return study

    def _take(self, study: Study, imported: Imported | None = None) -> None:
        if self._closing:
            study.close()
        else:
            self.leaving.study(lambda: self._show_study(study, imported), study.close)

    def _show_study(self, study: Study, imported: Imported | None) -> None:
        self._release()
        self.study = study
        self._histories = Histories()
        self.study_changed.emit()
        if study.cases:
            self.choose_case(study.cases[0].id)
        if imported is not None:
            if imported.failures:
                self.failed.emit(f"Some files were not taken in.\n{imported.summary}")
            self.imported.emit(imported)

    def _show_case(self, case: Case, then: Callable[[Annotation], None]) -> None:
        with self._reporting():
            study = self._open_study()
            self._close_case()
            if study.writable and not study.has_array(case.id, ArrayName.IMAGE):
                self.errands.run(
                    lambda _: study.rebuild_arrays(), lambda _: self.choose_case(case.id, then)
                )
                self.errands.busy.emit("Rebuilding arrays from the source files", 0, 0)
                return
            self.annotation = annotation = Annotation(
                self._viewer, study, case, self, history=self._histories.of(case.id)
            )
            self.holding.watch(study, annotation)
            annotation.slice_changed.connect(self.slice_changed)
            annotation.moved.connect(self.moved)
            annotation.moved.connect(lambda _: self._focus_timer.start())
            annotation.label_picked.connect(self.label_picked)
            annotation.request.connect(self.send)
            annotation.history_changed.connect(self.history_changed)
            annotation.failed.connect(self.failed)
            annotation.told.connect(self.told)
            self.case_changed.emit()
            self._focus_timer.start()
            then(annotation)

    def _turn(self, annotation: Annotation, axis: int) -> None:
        with self._reporting():
            study = self._open_study()
            if study.writable:
                study.set_axis(annotation.case.id, axis)
            annotation.show_axis(axis)

    def _close_case(self, *, remove_layers: bool = True) -> None:
        annotation, self.annotation = self.annotation, None
        if annotation is None:
            return
        try:
            annotation.close(remove_layers=remove_layers)
        finally:
            self.holding.release()
            annotation.deleteLater()
            self.case_changed.emit()

    def _release(self, *, remove_layers: bool = True) -> None:
        """Close the study, whatever goes wrong with the case on view."""
        study, self.study = self.study, None
        try:
            self._close_case(remove_layers=remove_layers)
        finally:
            if study is not None:
                with self._reporting():
                    self.leaving.close(study)
                self.study_changed.emit()

    def _focus(self) -> None:
        self.show(lambda annotation: self.send(Focus(annotation.key)))

    def _on_engine_event(self, event: Event) -> None:
        if isinstance(event, SlicesPublished):
            annotation = self.annotation
            if annotation is not None and annotation.case.id == event.case_id:
                with self._reporting():
                    annotation.published(event)
        self.engine_event.emit(event)

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except (UserError, OSError) as error:
            self.failed.emit(str(error))

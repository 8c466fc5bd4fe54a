"""The open study, the case on view and the engine: everything behind the panels, without a UI."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from napari.components import ViewerModel
from qtpy.QtCore import QObject, Signal

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import Event, Request
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.importing.cohort import Imported
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background import jobs
from napari_mlbseg.widgets.background.bridge import EngineBridge, EngineFactory, engine_of
from napari_mlbseg.widgets.background.errands import Errands
from napari_mlbseg.widgets.background.exports import Exports
from napari_mlbseg.widgets.background.intake import Intake
from napari_mlbseg.widgets.background.opening import Opening
from napari_mlbseg.widgets.case.annotation import Annotation
from napari_mlbseg.widgets.case.saving import waits_in_words
from napari_mlbseg.widgets.changes import CaseChanges
from napari_mlbseg.widgets.keeping.leaving import Leaving
from napari_mlbseg.widgets.on_view import CaseOnView
from napari_mlbseg.widgets.preferences import annotator
from napari_mlbseg.widgets.refusals import for_writing, opened, reporting
from napari_mlbseg.widgets.requests import Export, ModelExport, NewStudy

STOP_TIMEOUT_S = 2.0


def _nothing(*_: object) -> None:
    pass


class Workbench(QObject):
    """Carries out the requests of the panels.

    Attributes
    ----------
    engine
        Makes the event source of a run.
    errands
        Runs work on files in the background.
    opening
        Opens studies.
    intake
        Makes studies from folders.
    leaving, holding
        What happens before a case or the study is left; the edits that could not be saved.
    view
        The case on view.
    changes
        Renames, removes and restores cases.

    Signals
    -------
    study_changed(), classes_changed(), teaching_changed()
        Another study is open, or none; the classes of the study changed; so may have which slices
        teach.
    engine_event(Event)
        An event of the engine, on the main thread.
    failed(str), told(str)
        Messages of failure and of success for the annotator.
    locked(Path, str)
        The study is in use elsewhere, and by whom; it can still be opened read-only.
    imported(Imported)
        What was imported and what was left out.
    """

    study_changed = Signal()
    classes_changed = Signal()
    teaching_changed = Signal()
    engine_event = Signal(object)
    failed = Signal(str)
    told = Signal(str)
    locked = Signal(object, str)
    imported = Signal(object)

    def __init__(self, viewer: ViewerModel, engine: EngineFactory = engine_of) -> None:
        super().__init__()
        self.engine = engine
        self.errands = Errands(self)
        self.errands.failed.connect(self.failed)
        self.errands.told.connect(self.told)
        self.intake = Intake(self.errands, self)
        self.intake.made.connect(self._take)
        self.opening = Opening(self)
        self.opening.opened.connect(self._take)
        self.opening.locked.connect(self.locked)
        self.opening.failed.connect(self.failed)
        self.opening.told.connect(self.told)
        self._closing = False
        self.study: Study | None = None
        self.bridge = EngineBridge(self)
        self.bridge.told.connect(self._on_engine_event)
        self.leaving = Leaving(self.bridge, self.errands, self)
        self.holding = self.leaving.holding
        self.holding.failed.connect(self.failed)
        self.holding.told.connect(self.told)
        self._exports = Exports(self.errands, self.bridge)
        self.view = CaseOnView(viewer, self.leaving, self.errands, self)
        self.view.request.connect(self.send)
        self.view.failed.connect(self.failed)
        self.view.told.connect(self.told)
        self.changes = CaseChanges(
            lambda: self.study, self.view, self.leaving, self.errands, self.bridge, self
        )
        for signal in (self.changes.changed, self.classes_changed):
            signal.connect(self.view.expect_nothing)
        self.changes.added.connect(self.imported)
        self.changes.failed.connect(self.failed)
        self.changes.told.connect(self.told)

    @property
    def annotation(self) -> Annotation | None:
        """The annotation of the case on view; None if no case is shown."""
        return self.view.annotation

    # --- studies -------------------------------------------------------------------------------

    def open_study(self, path: Path, *, writable: bool = True) -> None:
        """Open a study in place of the current one; see `opening` for one that takes long."""
        with reporting(self.failed.emit):
            if self.study is not None and self.study.path.resolve() == Path(path).resolve():
                return
            self.opening.open(Path(path), writable=writable, author=annotator())

    def create_study(self, new: NewStudy) -> None:
        """Create a study from folders in the background, then open it."""
        with reporting(self.failed.emit):
            self.intake.create(new)

    def set_classes(
        self,
        classes: Sequence[LabelClass],
        becoming: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        """Change the classes of the study; one in use goes only if `becoming` says where to."""
        with reporting(self.failed.emit):
            study = for_writing(self.study)
            known, wanted = ({c.value for c in each} for each in (study.classes, classes))
            if self.bridge.running and known != wanted:
                raise UserError(
                    "Classes cannot be added or removed while the training runs. Stop it first."
                )
            self.view.show(Annotation.flush)
            self._require_saved("change the classes")
            come_back = self.view.put_aside() if becoming else _nothing

            def done(now: tuple[LabelClass, ...]) -> None:
                come_back()
                if self.study is not study:
                    return
                self.view.show(lambda annotation: annotation.set_classes(now))
                self.classes_changed.emit()
                if known != wanted:
                    self.told.emit("Classes saved. The next training starts afresh with them.")

            work = jobs.change_of_classes(study, classes, becoming)
            self.errands.run(work, done, otherwise=come_back)

    def let_teach(self, only_approved: bool) -> None:
        """Say whether only approved slices teach, or all that are accepted."""
        with reporting(self.failed.emit):
            study = for_writing(self.study)
            if self.bridge.running:
                raise UserError(
                    "Which slices teach cannot be changed while the training runs. Stop it first."
                )
            self.leaving.saves.do(
                lambda: study.reviews.let_teach(only_approved=only_approved),
                lambda _: self.teaching_changed.emit(),
            )
        self.teaching_changed.emit()  # also where it was refused, and is as before

    def close_study(self) -> None:
        """Save the edits, stop the training, then release the study."""
        self.leaving.study(self._release, _nothing)

    def shut_down(self, wait_s: float | None = None) -> None:
        """Save and release without asking, when the window closes; calling it twice is harmless.

        A training that does not stop within `wait_s` seconds (default `STOP_TIMEOUT_S`) is
        abandoned, and the study is closed when the training ends. Edits that cannot be saved stay
        in their rescue file.
        """
        self._closing = True
        wait_s = STOP_TIMEOUT_S if wait_s is None else wait_s
        self.opening.finish(wait_s)
        self.view.show(Annotation.flush)
        self.leaving.now(wait_s)
        self._release(remove_layers=False)

    def lose_window(self) -> None:
        """Shut down without telling the panels, for a window that ended without closing."""
        self.blockSignals(True)
        self.view.blockSignals(True)
        self.shut_down()

    def end(self) -> None:
        """Shut down at the end of the process, and close studies that a training still uses."""
        self.shut_down()
        self.leaving.close_let_go()

    # --- engine --------------------------------------------------------------------------------

    def train(self, config: Config) -> bool:
        """Start the engine on the open study; return whether it started."""
        started = False
        with reporting(self.failed.emit):
            study = for_writing(self.study)
            self.view.show(Annotation.flush)
            self._require_saved("start the training")
            self.bridge.start(self.engine(study, config))
            self.view.focus_soon()
            started = True
        return started

    def send(self, request: Request) -> None:
        """Send a request to the running engine; without one nothing happens."""
        self.bridge.send(request)

    # --- export --------------------------------------------------------------------------------

    def export(self, export: Export) -> None:
        """Write files in the background."""
        with reporting(self.failed.emit):
            study = opened(self.study)
            self.view.show(Annotation.flush)
            self.leaving.saved(lambda: self._write(study, export), _nothing)

    def export_model(self, wanted: ModelExport) -> None:
        """Write the trained model in the background."""
        with reporting(self.failed.emit):
            self._exports.write_model(opened(self.study), wanted)

    def report(self, path: Path) -> None:
        """Write a page about the study in the background."""
        with reporting(self.failed.emit):
            study = opened(self.study)
            self.view.show(Annotation.flush)
            self._exports.write_page(study, path)

    # --- inside --------------------------------------------------------------------------------

    def _write(self, study: Study, export: Export) -> None:
        with reporting(self.failed.emit):
            self._exports.write(study, export)

    def _require_saved(self, doing: str) -> None:
        """Raise UserError if something waits to be saved that is needed now."""
        saves = self.leaving.saves
        if saves.waiting:
            raise UserError(
                f"{waits_in_words(saves.waiting, saves.problem)}\nTo {doing}, wait until it is "
                "saved."
            )

    def _take(self, study: Study, imported: Imported | None = None) -> None:
        if self._closing:
            study.close()
            return
        with reporting(self.failed.emit):
            self.leaving.study(lambda: self._show_study(study, imported), study.close)

    def _show_study(self, study: Study, imported: Imported | None) -> None:
        self._release()
        self.study = study
        self.view.set_study(study)
        self.study_changed.emit()
        self.view.begin()
        with reporting(self.failed.emit):
            damage = study.damage()
            if damage:
                self.failed.emit("\n".join(damage))
        if imported is not None:
            if imported.failures:
                self.failed.emit(f"Some files were not imported.\n{imported.summary}")
            self.imported.emit(imported)

    def _release(self, *, remove_layers: bool = True) -> None:
        """Close the study even if closing the case on view fails."""
        study, self.study = self.study, None
        self.view.set_study(None)
        try:
            self.view.close(remove_layers=remove_layers)
        finally:
            if study is not None:
                with reporting(self.failed.emit):
                    self.leaving.close(study)
                self.study_changed.emit()

    def _on_engine_event(self, event: Event) -> None:
        self.view.hear(event)
        self.engine_event.emit(event)

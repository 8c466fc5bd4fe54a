"""Cases that are added, renamed, removed, restored, or get better rough labels in an open study."""

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QObject, Signal

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.importing.cohort import Imported
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background import jobs
from napari_mlbseg.widgets.background.bridge import EngineBridge
from napari_mlbseg.widgets.background.errands import Errands
from napari_mlbseg.widgets.keeping.leaving import Leaving
from napari_mlbseg.widgets.on_view import CaseOnView
from napari_mlbseg.widgets.refusals import for_writing, reporting


def _nothing(*_: object) -> None:
    pass


class CaseChanges(QObject):
    """Changes cases of the open study; what is on view is saved before.

    Signals
    -------
    changed()
        The cases of the study are others, or are called otherwise.
    added(Imported)
        What was added, and what was left out.
    failed(str), told(str)
        Messages of failure and of success for the annotator.
    """

    changed = Signal()
    added = Signal(object)
    failed = Signal(str)
    told = Signal(str)

    def __init__(
        self,
        study: Callable[[], Study | None],
        view: CaseOnView,
        leaving: Leaving,
        errands: Errands,
        bridge: EngineBridge,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._study, self._view, self._leaving = study, view, leaving
        self._errands, self._bridge = errands, bridge

    def rename(self, case_id: str, name: str) -> None:
        """Call a case otherwise; possible while the training runs."""

        def renamed(_: object) -> None:
            shown = self._view.annotation
            if shown is not None and shown.case.id == case_id:
                self._view.show_anew(shown.key)
            self.changed.emit()

        with reporting(self.failed.emit):
            changes = for_writing(self._study()).changes
            self._leaving.saves.do(lambda: changes.rename(case_id, name.strip()), renamed)

    def remove(self, case_id: str) -> None:
        """Take a case out of the study; another one is shown in its place."""
        with reporting(self.failed.emit):
            study = self._unused()
            self._leaving.case(lambda: self._remove(study, case_id), _nothing)

    def restore(self, name: str) -> None:
        """Undo a removal."""

        def restored(case: Case) -> None:
            self.changed.emit()
            if self._view.annotation is None:
                self._view.choose(case.id)

        with reporting(self.failed.emit):
            changes = self._unused().changes
            self._leaving.saves.do(lambda: changes.restore(name), restored)

    def relabel(self, case_id: str, labels: Path) -> None:
        """Take the rough labels of a file, in the background."""
        with reporting(self.failed.emit):
            study = self._unused()
            self._leaving.case(lambda: self._relabel(study, case_id, labels), _nothing)

    def add(self, images: Path, labels: Path | None) -> None:
        """Add the images of a folder as cases, in the background."""
        with reporting(self.failed.emit):
            study = self._unused()

            def added(imported: Imported) -> None:
                if self._study() is study:
                    self.changed.emit()
                    names = ", ".join(case.name for case in imported.cases) or "nothing new"
                    self.told.emit(f"Added: {names}.")
                    self.added.emit(imported)

            told = "Cancelled. Nothing was added."
            self._errands.run(jobs.addition(study, images, labels), added, cancelled=told)

    # --- inside ----------------------------------------------------------------------------------

    def _unused(self) -> Study:
        """The study, if nothing but the annotator uses it."""
        study = for_writing(self._study())
        if self._bridge.running:
            raise UserError("A training is going on, and it uses all cases. Stop it first.")
        if self._errands.running:
            raise UserError(
                "Another import, export or clean-up is running. Wait until it has finished."
            )
        return study

    def _remove(self, study: Study, case_id: str) -> None:
        with reporting(self.failed.emit):
            name = study.case(case_id).name

            def removed(_: object) -> None:
                self._show_another(study, case_id)
                self.changed.emit()
                self.told.emit(f"{name} was removed. The menu of the list of cases restores it.")

            self._show_another(study, case_id)
            self._leaving.saves.do(lambda: study.changes.remove([case_id]), removed)

    def _show_another(self, study: Study, case_id: str) -> None:
        """Show another case if this one is on view."""
        shown = self._view.annotation
        if shown is not None and shown.case.id == case_id:
            others = [case.id for case in study.cases if case.id != case_id]
            if others:
                self._view.choose(others[0])
            else:
                self._view.close()

    def _relabel(self, study: Study, case_id: str, labels: Path) -> None:
        shown = self._view.annotation
        on_view = shown is not None and shown.case.id == case_id
        come_back = self._view.put_aside() if on_view else _nothing

        def done(_: None) -> None:
            come_back()
            if self._study() is study:
                self.changed.emit()
                self.told.emit("The labels were replaced; the next training predicts the case.")

        with reporting(self.failed.emit):
            self._errands.run(jobs.relabelling(study, case_id, labels), done, otherwise=come_back)

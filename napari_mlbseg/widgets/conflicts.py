"""Slices that several people accepted with different masks: told, shown, and settled one by one."""

import numpy as np
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QWidget

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.catalogue.unions import Union
from napari_mlbseg.project.study import Study
from napari_mlbseg.report.pictures import shown
from napari_mlbseg.widgets.panels.conflict_dialog import ConflictDialog, Opinion
from napari_mlbseg.widgets.refusals import reporting
from napari_mlbseg.widgets.workbench import Workbench


class Conflicts(QObject):
    """The conflicts of the open study.

    Signals
    -------
    changed(int)
        How many conflicts there are.
    """

    changed = Signal(int)

    def __init__(self, dock: QWidget, bench: Workbench) -> None:
        super().__init__(dock)
        self._bench = bench
        self._left: list[Union] = []
        self.dialog = ConflictDialog(dock)
        self.dialog.chosen.connect(self._choose)

    def open(self) -> None:
        """Show the first conflict; the next one follows when it is settled."""
        self._show()
        self.dialog.show()
        self.dialog.raise_()

    def read(self) -> None:
        """Look for the conflicts of the study that is open now."""
        study, self._left = self._bench.study, []
        self.dialog.hide()
        if study is not None:
            with reporting(self._bench.failed.emit):
                self._left = list(study.unions.conflicts())
        self.changed.emit(len(self._left))

    def _show(self) -> None:
        study = self._bench.study
        if study is None or not self._left:
            self.dialog.hide()
            return
        union = self._left[0]
        case = study.case(union.key.case_id)
        title = f"Slice {union.key.index} of {case.name} ({len(self._left)} left)"
        with reporting(self._bench.failed.emit):
            self.dialog.show_conflict(title, _opinions(study, union))

    def _choose(self, revision: int) -> None:
        bench, study, union = self._bench, self._bench.study, self._left[0]
        if study is None:
            return
        with reporting(bench.failed.emit):
            mask = study.slices.revision_mask(revision)
            bench.view.go_to(union.key)
            if bench.annotation is None or bench.annotation.key != union.key:
                raise UserError("Save the case on view first, then choose again.")
            bench.view.act(lambda commands: commands.choose(mask))
            del self._left[0]
            self.changed.emit(len(self._left))
        self._show()


def _opinions(study: Study, union: Union) -> list[Opinion]:
    case, key = study.case(union.key.case_id), union.key
    image = study.arrays.read(key.case_id, ArrayName.IMAGE, key.axis, key.index)
    found = []
    for one in union.opinions:
        picture = shown(image, study.slices.revision_mask(one.revision), case, study.classes)
        # Slices along z lie as radiologists look at them; in the others the head is up.
        lying = picture if key.axis == 0 else np.ascontiguousarray(picture[::-1])
        when = f"{one.created_at.astimezone():%Y-%m-%d %H:%M}"
        found.append(Opinion(one.author, when, one.revision, lying, case.sides_mm(key.axis)))
    return found

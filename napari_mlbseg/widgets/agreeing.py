"""How far people agree on slices that they corrected blindly: computed behind the window."""

from collections.abc import Sequence

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QWidget

from napari_mlbseg.project.sharing.agreement import Agreement, agreement
from napari_mlbseg.widgets.panels.agreement_dialog import AgreementDialog
from napari_mlbseg.widgets.refusals import opened, reporting
from napari_mlbseg.widgets.workbench import Workbench

_NOBODY = (
    "Nobody corrected the same slice without knowing of another's mask. `mlbseg split` gives a "
    "share of cases or slices to all."
)


class Agreeing(QObject):
    """Shows the agreement in the open study when it is asked for."""

    def __init__(self, dock: QWidget, bench: Workbench) -> None:
        super().__init__(dock)
        self._bench = bench
        self.dialog = AgreementDialog(dock)
        bench.study_changed.connect(self.dialog.hide)

    def open(self) -> None:
        """Compare the masks in the background, then show the means."""
        bench = self._bench
        with reporting(bench.failed.emit):
            study = opened(bench.study)
            names = {one.value: one.name for one in study.classes}

            def show(found: Sequence[Agreement]) -> None:
                if not found:
                    bench.told.emit(_NOBODY)
                    return
                self.dialog.show_agreement(found, names)
                self.dialog.show()
                self.dialog.raise_()

            bench.errands.run(lambda _: agreement(study), show, doing="Comparing masks")

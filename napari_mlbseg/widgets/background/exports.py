"""Exports of files and models, written in the background while the network is not being trained."""

from pathlib import Path

from napari_mlbseg.engine.training.untrained import check_trained
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.exporting.export import ExportKind
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background import jobs
from napari_mlbseg.widgets.background.bridge import EngineBridge
from napari_mlbseg.widgets.background.errands import Errands
from napari_mlbseg.widgets.requests import Export, ModelExport

_CANCELLED = "Cancelled. The files of the cases that were written before stay."


class Exports:
    """Writes exports, and reports them through `errands`.

    They raise a `UserError` while the training changes what they would read.
    """

    def __init__(self, errands: Errands, bridge: EngineBridge) -> None:
        self._errands, self._bridge = errands, bridge

    def write(self, study: Study, export: Export) -> None:
        """Write files of one case or of all cases; probabilities need the network."""
        if export.kind is ExportKind.PROBABILITIES:
            if self._bridge.running:
                raise UserError(
                    "The network that predicts the probabilities is being trained. Stop the "
                    "training, or wait until it has finished, then export again."
                )
            check_trained(study)
        several = export.case_id is None  # each is written as a whole
        self._errands.run(
            jobs.writing(study, export),
            self._errands.told.emit,
            cancelled=_CANCELLED if several else "",
        )

    def write_page(self, study: Study, path: Path) -> None:
        """Write a page about the study; possible while the training runs."""
        self._errands.run(jobs.writing_page(study, path), self._errands.told.emit)

    def write_model(self, study: Study, wanted: ModelExport) -> None:
        """Write the trained model for use elsewhere."""
        if self._bridge.running:
            raise UserError(
                "The model cannot be exported during training. Stop the training first."
            )
        check_trained(study)
        self._errands.run(
            jobs.writing_model(study, wanted),
            self._errands.told.emit,
            doing="Writing and checking the model",
        )

"""Files and models from a study, written in the background while its network is not in training."""

from napari_mlbseg.engine.training.untrained import check_trained
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.exporting.export import ExportKind
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background import jobs
from napari_mlbseg.widgets.background.bridge import EngineBridge
from napari_mlbseg.widgets.background.errands import Errands
from napari_mlbseg.widgets.requests import Export, ModelExport


class Exports:
    """Writes what is asked for, and says that it did through `errands`.

    Both calls raise a `UserError` where the training is at work on what they would read.
    """

    def __init__(self, errands: Errands, bridge: EngineBridge) -> None:
        self._errands, self._bridge = errands, bridge

    def write(self, study: Study, export: Export) -> None:
        """Files of one case or of all; probabilities need the network."""
        if export.kind is ExportKind.PROBABILITIES:
            if self._bridge.running:
                raise UserError(
                    "The training is at work on the network that predicts probabilities. Stop it, "
                    "or wait until it has ended, then export again."
                )
            check_trained(study)
        self._errands.run(jobs.writing(study, export), self._errands.told.emit)

    def write_model(self, study: Study, wanted: ModelExport) -> None:
        """The trained model, for use elsewhere."""
        if self._bridge.running:
            raise UserError("The model cannot be exported while it is trained. Stop it first.")
        check_trained(study)
        self._errands.run(
            jobs.writing_model(study, wanted),
            self._errands.told.emit,
            doing="Writing and checking the model",
        )

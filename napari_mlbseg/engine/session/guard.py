"""Never shows a model that is worse than an earlier one, or worse than the imported labels."""

from napari_mlbseg.engine.events import Stage, ValidationScored
from napari_mlbseg.engine.nets.model import Parameters
from napari_mlbseg.engine.session.imported import Beside, ImportedLabels, Pairs
from napari_mlbseg.engine.steps.score import compare, dice_per_class, paired, slice_dice
from napari_mlbseg.engine.training.clean_slices import FEWEST_VALIDATION
from napari_mlbseg.engine.training.state import Dices
from napari_mlbseg.engine.training.trainer import Trainer


class Guard:
    """Scores the model on the validation slices, and keeps the last one that did well.

    The kept model is part of the trainer's state, so checkpoints include it.

    The kept model makes the predictions while the newest is worse by more than the uncertainty of
    their difference on the validation slices. With no validation slice, or a single one, nothing
    can be told and the newest model makes them. Imported labels are shown on every slice while
    the result that would be shown is worse than they are, on the validation slices or even on
    training slices.
    """

    def __init__(self, trainer: Trainer, imported: ImportedLabels | None = None) -> None:
        self._trainer, self._imported = trainer, imported
        self._beside: Beside | None = None
        self._imported_labels_kept: bool | None = None

    @property
    def parameters(self) -> Parameters:
        """Parameters of the network used for predictions."""
        return self._trainer.prediction_parameters

    @property
    def imported_labels_kept(self) -> bool:
        """Whether imported labels are shown on every slice, because the network does worse."""
        if self._imported_labels_kept is None:
            self.compare_with_imported()
        return bool(self._imported_labels_kept)

    def compare_with_imported(self) -> None:
        """Compare predictions with the imported labels again."""
        if self._imported is None:
            return
        trainer, parameters = self._trainer, self.parameters
        if self._beside is None:
            self._beside = self._imported.beside(
                trainer.predictions_beside(trainer.validation_slices, parameters)
            )
        behind = self._behind_on_validation_slices()
        if not behind:  # a network that does worse even on its training slices is worse
            learnt = trainer.predictions_beside(self._imported.some_training_slices(), parameters)
            behind = any(
                self._imported.do_better(self._imported.beside(learnt, as_predicted=as_predicted))
                for as_predicted in (False, True)
            )
        self._imported_labels_kept = behind

    def _behind_on_validation_slices(self) -> bool:
        imported, beside = self._imported, self._beside
        if imported is None or beside is None or beside.slices < FEWEST_VALIDATION:
            return False
        return imported.do_better(beside)

    def score(self, stage: Stage) -> ValidationScored | None:
        """Score the newest model; None if the validation slices show no class."""
        trainer = self._trainer
        state, classes = trainer.state, len(trainer.class_values)
        pairs = trainer.predictions_beside(trainer.validation_slices, trainer.parameters)
        found = self._dice_of(pairs)
        state.note_scored()
        known = [dice for dice in found.values() if dice is not None]
        if not known:
            return None
        kept = state.kept if stage is Stage.BOOTSTRAPPING else None
        before = paired(found, {} if kept is None else kept.dice)
        judged = compare([ours for ours, _ in before], [theirs for _, theirs in before])
        state.note_score(found, trainer.parameters, worse=judged.worse)
        if not judged.worse:
            self._beside = None if self._imported is None else self._imported.beside(pairs)
        if self._behind_on_validation_slices():
            self._imported_labels_kept = True
        elif self._imported_labels_kept:  # no longer behind here: compare when next asked
            self._imported_labels_kept = None
        each = dice_per_class(pairs.values(), classes=classes)
        return ValidationScored(
            stage,
            state.step,
            sum(each.values()) / len(each),
            {trainer.class_values[index]: dice for index, dice in each.items()},
            compare(known, None).uncertainty,
            validation_slices=len(known),
            shown=not judged.worse,
        )

    def _dice_of(self, pairs: Pairs) -> Dices:
        classes = len(self._trainer.class_values)
        return {
            key: slice_dice(predicted, truth, classes=classes)
            for key, (predicted, truth) in pairs.items()
        }

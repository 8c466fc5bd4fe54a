"""Sees to it that no model is shown that is worse than the one before, or than imported labels."""

from napari_mlbseg.engine.events import Stage, ValidationScored
from napari_mlbseg.engine.nets.model import Parameters
from napari_mlbseg.engine.session.imported import (
    FEWEST,
    Beside,
    ImportedLabels,
    Pairs,
    falls_behind,
)
from napari_mlbseg.engine.steps.score import compare, dice_per_class, paired, slice_dice
from napari_mlbseg.engine.training.state import Dices
from napari_mlbseg.engine.training.trainer import Trainer


class Guard:
    """Scores the model on the validation slices, and keeps the last one that was good enough.

    What it keeps is part of the trainer's state, so that a checkpoint holds it.

    While the newest model is worse than the kept one beyond the uncertainty of their difference on
    these slices, predictions are made with the kept one. Without validation slices, or with a
    single one, nothing can be told and the newest is shown. While what would be shown is worse
    than the imported labels, on the validation slices or even on those that the network learnt
    from, these stand in its place.
    """

    def __init__(self, trainer: Trainer, imported: ImportedLabels | None = None) -> None:
        self._trainer, self._imported = trainer, imported
        self._beside: Beside = []
        self._imported_labels_kept: bool | None = None

    @property
    def parameters(self) -> Parameters:
        """Those that predictions are to be made with."""
        return self._trainer.shown

    @property
    def imported_labels_kept(self) -> bool:
        """Whether imported labels are to be shown, because the network does worse than they."""
        if self._imported_labels_kept is None:
            self.compare_with_imported()
        return bool(self._imported_labels_kept)

    def compare_with_imported(self) -> None:
        """Find out anew whether imported labels are to be shown."""
        if self._imported is None:
            return
        trainer, parameters = self._trainer, self.parameters
        if not self._beside:
            self._beside = self._imported.beside(
                trainer.predictions_beside(trainer.validation_slices, parameters)
            )
        behind = len(self._beside) >= FEWEST and falls_behind(self._beside)
        if not behind:  # one that does worse even on what it learnt is worse
            learnt = trainer.predictions_beside(self._imported.some_training_slices(), parameters)
            behind = any(
                falls_behind(self._imported.beside(learnt, as_predicted=as_predicted))
                for as_predicted in (False, True)
            )
        self._imported_labels_kept = behind

    def score(self, stage: Stage) -> ValidationScored | None:
        """Judge the newest model; None where the validation slices show nothing."""
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
            self._beside = [] if self._imported is None else self._imported.beside(pairs)
        if len(self._beside) >= FEWEST:
            if falls_behind(self._beside):
                self._imported_labels_kept = True
            elif self._imported_labels_kept:
                self._imported_labels_kept = (
                    None  # no longer behind here: look again before it is asked
                )
        each = dice_per_class(pairs.values(), classes=classes)
        return ValidationScored(
            stage,
            state.step,
            sum(each.values()) / len(each),
            {trainer.class_values[index]: dice for index, dice in each.items()},
            compare(known, None).uncertainty,
            shown=not judged.worse,
        )

    def _dice_of(self, pairs: Pairs) -> Dices:
        classes = len(self._trainer.class_values)
        return {
            key: slice_dice(predicted, truth, classes=classes)
            for key, (predicted, truth) in pairs.items()
        }

"""Sees to it that no model is shown that is worse than the one before."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from napari_mlbseg.engine.events import HeldBackScored, Stage
from napari_mlbseg.engine.nets.teacher import copy_of
from napari_mlbseg.engine.state import Kept
from napari_mlbseg.engine.steps.score import compare, dice_per_class, slice_dice
from napari_mlbseg.engine.training import Trainer
from napari_mlbseg.project.slices import SliceKey


class Guard:
    """Scores the model on the held-back slices, and keeps the last one that was good enough.

    What it keeps is part of the trainer's state, so that a checkpoint holds it.

    While the newest model is worse than the kept one beyond the uncertainty of their difference on
    these slices, predictions are made with the kept one. Without held-back slices, or with a
    single one, nothing can be told and the newest is shown.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """Those that predictions are to be made with."""
        return self._trainer.shown

    def score(self, stage: Stage) -> HeldBackScored | None:
        """Judge the newest model; None where the held-back slices show nothing."""
        trainer = self._trainer
        state, classes = trainer.state, len(trainer.class_values)
        found: dict[SliceKey, float] = {}
        pairs = trainer.held_back_predictions(trainer.parameters)
        for key, (predicted, truth) in pairs.items():
            dice = slice_dice(predicted, truth, classes=classes)
            if dice is not None:
                found[key] = dice
        state.scored = state.total
        if not found:
            return None
        before = {} if state.kept is None else state.kept.dice
        common = [key for key in found if key in before]
        kept = [before[key] for key in common] if stage is Stage.BOOTSTRAPPING else None
        judged = compare([found[key] for key in common], kept)
        if not judged.worse:
            state.kept = Kept(copy_of(trainer.parameters), found, state.total)
        elif state.kept is not None:
            state.kept = replace(state.kept, worse=True)
        each = dice_per_class(pairs.values(), classes=classes)
        return HeldBackScored(
            stage,
            state.step,
            sum(each.values()) / len(each),
            {trainer.class_values[index]: dice for index, dice in each.items()},
            compare(list(found.values()), None).uncertainty,
            shown=not judged.worse,
        )

"""How good the imported labels are where the truth is known, compared with the result shown."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from torch import Tensor

from napari_mlbseg.engine.steps.imported_labels import (
    as_shown,
    difference,
    largest_mending_difference,
    smallest_nonsense_difference,
)
from napari_mlbseg.engine.steps.score import TOO_SMALL, paired, slice_dice
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.project.records.slices import SliceKey

FEWEST = 2
"""Slices needed for a comparison: a single one proves nothing."""
MOST_LEARNT = 6
"""Number of training slices that are compared."""

Pairs = Mapping[SliceKey, tuple[Tensor, Tensor]]
Beside = Sequence[tuple[float, float]]


class ImportedLabels:
    """Compares the imported labels of some cases with the result that would be shown.

    The comparison is made on clean slices, where the truth is known.
    """

    def __init__(self, trainer: Trainer, cases: frozenset[str]) -> None:
        self._trainer, self._cases = trainer, cases
        self._differences: dict[SliceKey, tuple[Tensor, float]] = {}

    def smallest_nonsense_difference(self) -> float:
        """Difference to an imported label beyond which a prediction is nonsense."""
        return smallest_nonsense_difference(self._errors())

    def largest_mending_difference(self) -> float:
        """Difference to an imported label up to which a prediction mends it where nobody looked.

        0 for a network that does not see the labels.
        """
        sees_labels = self._trainer.source.sample.label_channels > 0
        return largest_mending_difference(self._errors()) if sees_labels else 0.0

    def _errors(self) -> list[float]:
        """Differences between imported labels and truth on the clean slices."""
        clean = {**self._trainer.validation_slices, **self._trainer.training_slices}
        truth = {key: labels for key, labels in clean.items() if key.case_id in self._cases}
        self._differences = {key: self._differing(key, truth[key]) for key in truth}
        return [differs for _, differs in self._differences.values()]

    def beside(self, pairs: Pairs, *, as_predicted: bool = False) -> Beside:
        """Dice of the result that would be shown, and of the imported labels, for each slice.

        `pairs` holds prediction and truth; slices of other cases are left out. The result may be
        the imported label itself; with `as_predicted` it is the network's prediction.
        """
        classes, nonsense = len(self._trainer.class_values), self.smallest_nonsense_difference()
        ours, theirs = {}, {}
        for key, (predicted, truth) in pairs.items():
            if key.case_id in self._cases:
                labels = self._of(key)
                shown = predicted
                if not as_predicted:
                    shown = as_shown(
                        predicted, labels, self._trainer.largest_right_disagreement, nonsense
                    )
                ours[key] = slice_dice(shown, truth, classes=classes)
                theirs[key] = slice_dice(labels, truth, classes=classes)
        return paired(ours, theirs)

    def some_training_slices(self) -> dict[SliceKey, Tensor]:
        """A few training slices of these cases, as class indices."""
        training = self._trainer.training_slices
        keys = sorted(key for key in training if key.case_id in self._cases)
        return {key: training[key] for key in keys[:: max(1, -(-len(keys) // MOST_LEARNT))]}

    def _differing(self, key: SliceKey, truth: Tensor) -> tuple[Tensor, float]:
        """The labels of a clean slice, and the difference of the imported label to them.

        Computed once for each revision, which keeps the same tensor for as long as it is clean.
        """
        known = self._differences.get(key)
        if known is not None and known[0] is truth:
            return known
        return truth, float(difference(self._of(key), truth))

    def _of(self, key: SliceKey) -> Tensor:
        return self._trainer.source.initial_labels(key)


def falls_behind(beside: Beside) -> bool:
    """Whether the result that would be shown is worse than the imported labels, on average.

    No significance test is applied: existing labels stay until something better comes.
    """
    if not beside:
        return False
    return fmean(ours for ours, _ in beside) < fmean(theirs for _, theirs in beside) - TOO_SMALL

"""How good the imported labels are where the truth is known, beside what is made of them."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from torch import Tensor

from napari_mlbseg.engine.steps.imported_labels import (
    as_shown,
    difference,
    smallest_of_nonsense,
)
from napari_mlbseg.engine.steps.score import TOO_SMALL, paired, slice_dice
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.project.records.slices import SliceKey

FEWEST = 2
"""A single slice proves nothing."""
MOST_LEARNT = 6
"""As many training slices are looked at."""

Pairs = Mapping[SliceKey, tuple[Tensor, Tensor]]
Beside = Sequence[tuple[float, float]]


class ImportedLabels:
    """The imported labels of some cases, compared on clean slices with what would be shown."""

    def __init__(self, trainer: Trainer, cases: frozenset[str]) -> None:
        self._trainer, self._cases = trainer, cases
        self._differences: dict[SliceKey, tuple[Tensor, float]] = {}

    def smallest_of_nonsense(self) -> float:
        """From which difference to an imported label a prediction is the worse one."""
        clean = {**self._trainer.validation_slices, **self._trainer.training_slices}
        truth = {key: labels for key, labels in clean.items() if key.case_id in self._cases}
        self._differences = {key: self._differing(key, truth[key]) for key in truth}
        return smallest_of_nonsense([differs for _, differs in self._differences.values()])

    def beside(self, pairs: Pairs, *, as_predicted: bool = False) -> Beside:
        """Dice of what would be shown for predictions, and of the imported labels, by slice.

        `pairs` are predictions and truth; slices of other cases are left out. What would be shown
        may be the label itself; `as_predicted` takes what the network says.
        """
        classes, nonsense = len(self._trainer.class_values), self.smallest_of_nonsense()
        ours, theirs = {}, {}
        for key, (predicted, truth) in pairs.items():
            if key.case_id in self._cases:
                labels = self._of(key)
                shown = predicted
                if not as_predicted:
                    shown = as_shown(predicted, labels, self._trainer.largest_of_right, nonsense)
                ours[key] = slice_dice(shown, truth, classes=classes)
                theirs[key] = slice_dice(labels, truth, classes=classes)
        return paired(ours, theirs)

    def some_training_slices(self) -> dict[SliceKey, Tensor]:
        """A few clean slices that the network learnt from."""
        teaching = self._trainer.training_slices
        keys = sorted(key for key in teaching if key.case_id in self._cases)
        return {key: teaching[key] for key in keys[:: max(1, -(-len(keys) // MOST_LEARNT))]}

    def _differing(self, key: SliceKey, truth: Tensor) -> tuple[Tensor, float]:
        """The labels of a clean slice, and how far the imported one is from them.

        It is computed once for each revision, which has one tensor for as long as it is clean.
        """
        known = self._differences.get(key)
        if known is not None and known[0] is truth:
            return known
        return truth, float(difference(self._of(key), truth))

    def _of(self, key: SliceKey) -> Tensor:
        return self._trainer.source.initial_labels(key)


def falls_behind(beside: Beside) -> bool:
    """Whether what would be shown is worse than labels that are there already, on the mean.

    No test asks whether that may be chance: what is there is kept until something better comes.
    """
    if not beside:
        return False
    return fmean(ours for ours, _ in beside) < fmean(theirs for _, theirs in beside) - TOO_SMALL

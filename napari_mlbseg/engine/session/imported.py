"""How good the imported labels are where the truth is known, compared with the result shown."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from napari_mlbseg.engine.steps.imported_labels import (
    as_shown,
    difference,
    largest_mending_difference,
    smallest_nonsense_difference,
)
from napari_mlbseg.engine.steps.score import Agreement, agreement, falls_behind, pooled
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.project.records.slices import SliceKey

MOST_LEARNT = 6
"""Number of training slices that are compared."""

Pairs = Mapping[SliceKey, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Beside:
    """How the result that would be shown and the imported labels agree with the truth.

    Attributes
    ----------
    slices
        On how many slices.
    """

    ours: Agreement
    theirs: Agreement
    slices: int


@dataclass(frozen=True)
class _Known:
    """An imported label beside the truth of its slice."""

    truth: Tensor
    difference: float
    agreement: Agreement


class ImportedLabels:
    """Compares the imported labels of some cases with the result that would be shown.

    The comparison is made on clean slices, where the truth is known.
    """

    def __init__(self, trainer: Trainer, cases: frozenset[str]) -> None:
        self._trainer, self._cases = trainer, cases
        self._known: dict[SliceKey, _Known] = {}

    def smallest_nonsense_difference(self) -> float:
        """Difference to an imported label beyond which a prediction is nonsense."""
        return smallest_nonsense_difference(self._errors())

    def largest_mending_difference(self) -> float:
        """Difference to an imported label up to which a prediction mends it where nobody looked.

        0 for a network that does not see the labels, or not when it predicts.
        """
        source = self._trainer.source
        sees_labels = source.sample.label_channels > 0 and not source.clean.images_alone
        return largest_mending_difference(self._errors()) if sees_labels else 0.0

    def beside(self, pairs: Pairs, *, as_predicted: bool = False) -> Beside:
        """The result that would be shown on some slices, beside the imported labels.

        `pairs` holds prediction and truth; slices of other cases are left out. The result may be
        the imported label itself; with `as_predicted` it is the network's prediction.
        """
        classes, nonsense = len(self._trainer.class_values), self.smallest_nonsense_difference()
        ours, theirs = [], []
        for key, (predicted, truth) in pairs.items():
            if key.case_id in self._cases:
                labels = self._of(key)
                shown = predicted
                if not as_predicted:
                    shown = as_shown(
                        predicted, labels, self._trainer.largest_right_disagreement, nonsense
                    )
                ours.append(agreement(shown, truth, classes=classes))
                theirs.append(agreement(labels, truth, classes=classes))
        return Beside(pooled(ours, classes=classes), pooled(theirs, classes=classes), len(ours))

    def do_better(self, beside: Beside) -> bool:
        """Whether the imported labels are better than the result that would be shown.

        They have to be better on the same slices, and on all clean slices together as well: on a
        few slices they may be right by chance, and they learn from none.
        """
        everywhere = (known.agreement for known in self._clean())
        overall = pooled(everywhere, classes=len(self._trainer.class_values))
        return falls_behind(beside.ours, beside.theirs) and falls_behind(beside.ours, overall)

    def some_training_slices(self) -> dict[SliceKey, Tensor]:
        """A few training slices of these cases, as class indices."""
        training = self._trainer.training_slices
        keys = sorted(key for key in training if key.case_id in self._cases)
        return {key: training[key] for key in keys[:: max(1, -(-len(keys) // MOST_LEARNT))]}

    def _errors(self) -> list[float]:
        """Differences between imported labels and truth on the clean slices."""
        return [known.difference for known in self._clean()]

    def _clean(self) -> list[_Known]:
        """The imported labels of all clean slices, beside their truth."""
        clean = {**self._trainer.validation_slices, **self._trainer.training_slices}
        truth = {key: labels for key, labels in clean.items() if key.case_id in self._cases}
        self._known = {key: self._judged(key, truth[key]) for key in truth}
        return list(self._known.values())

    def _judged(self, key: SliceKey, truth: Tensor) -> _Known:
        """Judge an imported label, once for each revision of its slice.

        A clean slice keeps the same tensor for as long as nobody changes it.
        """
        known = self._known.get(key)
        if known is not None and known.truth is truth:
            return known
        labels, classes = self._of(key), len(self._trainer.class_values)
        return _Known(
            truth, float(difference(labels, truth)), agreement(labels, truth, classes=classes)
        )

    def _of(self, key: SliceKey) -> Tensor:
        return self._trainer.source.initial_labels(key)

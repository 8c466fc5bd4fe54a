"""How good the imported labels are where the truth is known, beside what a network makes of it."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from torch import Tensor

from napari_mlbseg.engine.steps.score import TOO_SMALL, paired, slice_dice
from napari_mlbseg.engine.training import Trainer
from napari_mlbseg.project.arrays import ArrayName
from napari_mlbseg.project.slices import SliceKey
from napari_mlbseg.project.study import Study

FEWEST = 2
"""A single slice proves nothing."""
MOST_LEARNT = 6
"""As many slices that taught are looked at where too few are held back."""

Dices = Mapping[SliceKey, float | None]


class ImportedLabels:
    """The imported labels of some cases, to be compared with a network on their clean slices."""

    def __init__(self, study: Study, trainer: Trainer, cases: frozenset[str]) -> None:
        self._study, self._trainer, self._cases = study, trainer, cases

    def beside(self, ours: Dices) -> list[tuple[float, float]]:
        """Pairs of Dice, the network's and that of the imported labels, slice by slice."""
        trainer = self._trainer
        truth = {**trainer.held_back, **trainer.teaching}
        known = {key: mask for key, mask in truth.items() if key in ours}
        return paired(ours, self._dice(known))

    def to_look_at(self) -> dict[SliceKey, Tensor]:
        """Clean slices to compare on: the held-back ones, or a few that taught if too few are."""
        trainer = self._trainer
        held_back = {k: mask for k, mask in trainer.held_back.items() if k.case_id in self._cases}
        if len(held_back) >= FEWEST:
            return held_back
        keys = sorted(key for key in trainer.teaching if key.case_id in self._cases)
        stride = max(1, -(-len(keys) // MOST_LEARNT))
        return {key: trainer.teaching[key] for key in keys[::stride]}

    def _dice(self, truth: Mapping[SliceKey, Tensor]) -> dict[SliceKey, float | None]:
        classes, found = self._trainer.source.classes, {}
        for key, mask in truth.items():
            if key.case_id in self._cases:
                at = key.case_id, ArrayName.INITIAL_LABELS, key.axis, key.index
                labels = classes.indices(self._study.read_slice(*at), key)
                found[key] = slice_dice(labels, mask, classes=len(classes.values))
        return found


def falls_behind(pairs: Sequence[tuple[float, float]]) -> bool:
    """Whether a network does worse than labels that are there already, on the mean.

    No test asks whether that may be chance: what is there is kept until something better comes.
    """
    if not pairs:
        return False
    return fmean(ours for ours, _ in pairs) < fmean(theirs for _, theirs in pairs) - TOO_SMALL

"""Where imported labels are kept, because a network might make them worse unnoticed."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from napari_mlbseg.engine.data.source import Span
from napari_mlbseg.engine.steps.imported_labels import as_shown, difference
from napari_mlbseg.project.records.coverage import LookedAt, looked_at_everywhere
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study


@dataclass(frozen=True)
class Brake:
    """Holds a network back where nobody looked, or everywhere while it does worse.

    Attributes
    ----------
    looked_at
        For each case, which slices along its axis have a clean slice near them, or one that is
        certified empty.
    imported
        Names of the cases whose imported labels may be kept.
    smallest_nonsense_difference
        Difference to an imported label beyond which a prediction is nonsense, see
        `napari_mlbseg.engine.steps.imported_labels`.
    largest_mending_difference
        Difference to an imported label up to which a prediction is shown where nobody looked.
    everywhere
        Whether imported labels are kept on every slice, because the network does worse.
    largest_right_disagreement
        Largest disagreement with the prediction at which an imported label of any case is kept as
        correct; None if imported labels are not judged.
    """

    looked_at: LookedAt = field(default_factory=dict)
    imported: frozenset[str] = frozenset()
    smallest_nonsense_difference: float = math.inf
    largest_mending_difference: float = 0.0
    everywhere: bool = False
    largest_right_disagreement: float | None = None

    def keeps(self, span: Span) -> NDArray[np.bool_]:
        """Which slices of a span keep their imported labels unless a prediction mends them."""
        found = np.zeros(span.stop - span.start, dtype=np.bool_)
        if span.case.id in self.imported:
            found |= self.everywhere or ~self.looked_at[span.case.id][span.start : span.stop]
        return found

    def keeps_unasked(self, span: Span) -> NDArray[np.bool_]:
        """Which slices of a span keep their imported labels whatever the prediction."""
        asks = self.largest_mending_difference > 0 and not self.everywhere
        return np.zeros(span.stop - span.start, np.bool_) if asks else self.keeps(span)

    def shown(
        self,
        predicted: Int[Tensor, "slices y x"],
        span: Span,
        initial_labels: Callable[[SliceKey], Tensor],
    ) -> Int[Tensor, "slices y x"]:
        """The prediction, with imported labels where they are better or where nobody can tell."""
        judged = self.judged(predicted, span, initial_labels)
        keeps = self.keeps(span)
        if not keeps.any():
            return judged
        imported = torch.stack([initial_labels(key) for key in span.keys])
        standing = torch.from_numpy(keeps).to(judged.device)
        if not self.everywhere:
            standing &= difference(imported, judged) > self.largest_mending_difference
        return torch.where(standing[:, None, None], imported, judged)

    def judged(
        self,
        predicted: Int[Tensor, "slices y x"],
        span: Span,
        initial_labels: Callable[[SliceKey], Tensor],
    ) -> Int[Tensor, "slices y x"]:
        """The prediction, with imported labels where the two together say that they are better.

        These are what the next round learns from: that nobody looked at a slice, or that the
        network does worse on others, says nothing in favour of a label.
        """
        held = span.case.id in self.imported
        if span.case.labels_path is None or (self.largest_right_disagreement is None and not held):
            return predicted
        imported = torch.stack([initial_labels(key) for key in span.keys])
        nonsense = self.smallest_nonsense_difference if held else math.inf
        return as_shown(predicted, imported, self.largest_right_disagreement, nonsense)

    def counts(self) -> tuple[int, int]:
        """The number of slices that were never looked at, and of all slices."""
        each = self.looked_at.values()
        return sum(int((~found).sum()) for found in each), sum(map(len, each))


def brake_for(study: Study, *, keep_labels: bool) -> Brake:
    """The brake for the current clean slices; keeps no imported labels unless `keep_labels`."""
    cases = study.cases
    imported = (case.id for case in cases if keep_labels and case.labels_path is not None)
    known = [record.key for record in study.slices.teaching()]
    looked_at = looked_at_everywhere(cases, known, study.extents.certified())
    return Brake(looked_at, frozenset(imported))

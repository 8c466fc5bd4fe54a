"""Which imported labels are right as a whole, plane by plane.

Imported labels are often right in most slices and wrong in some. A single pixel cannot settle this:
where such a label contradicts the network, either may be right. A whole slice can: a right label
differs from the prediction by the network's error, a wrong label by its own error as well.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from napari_mlbseg.engine.nets.labels import IGNORE

SOFTENING = 0.002
"""Share of the area of a plane: a few pixels in an otherwise empty plane say little."""
EXPECTED_ERROR = 0.5
"""Error assumed for a wrong label before any was seen."""
ROUGHLY_RIGHT = 0.5
"""Difference to the truth up to which a label is more right than wrong."""
UNCHANGED = 0.02
"""Disagreement up to which a label was accepted as it is, but for a few pixels."""
MANY_RIGHT = 0.25
"""Share of labels that were accepted as they are from which on wrong ones are exceptions."""
FEWEST_TO_TELL = 4
"""Number of known errors needed before the largest says how wrong other labels can be."""


def disagreement(
    labels: Int[Tensor, "*planes y x"], others: Int[Tensor, "*planes y x"]
) -> Float[Tensor, "*planes"]:
    """The `difference` of labels for each plane; NaN for planes where `labels` are empty.

    Where a network labels beyond the ends of a structure, that says little about empty labels.
    """
    known = (labels != IGNORE) & (others != IGNORE)
    showing = ((labels > 0) & known).any(dim=-1).any(dim=-1)
    return torch.where(showing, difference(labels, others), torch.nan)


def difference(
    labels: Int[Tensor, "*planes y x"], others: Int[Tensor, "*planes y x"]
) -> Float[Tensor, "*planes"]:
    """Number of pixels that differ, divided by the number of foreground pixels of both labels.

    For each plane. For a single class this is 1 - Dice, except for `SOFTENING`. Pixels to be
    ignored do not count.
    """
    known = (labels != IGNORE) & (others != IGNORE)
    differ = ((labels != others) & known).sum(dim=(-2, -1))
    shown = (known * ((labels > 0).int() + (others > 0).int())).sum(dim=(-2, -1))
    softening = SOFTENING * labels.shape[-2] * labels.shape[-1]
    return differ / (shown + softening)


def mostly_right(of_clean: Iterable[float]) -> bool:
    """Whether many imported labels were accepted as they are, so that wrong ones are exceptions.

    Then a label that is not right says nothing about its slice. Where hardly any was accepted, they
    are wrong in the same way, which a network can learn.
    """
    return _share_below(UNCHANGED, _known(of_clean)) >= MANY_RIGHT


def largest_right_disagreement(of_clean: Iterable[float]) -> float:
    """The largest disagreement with the prediction at which an imported label counts as right.

    It is half the error of a wrong label: a prediction closer to the label than that would be
    further from the truth if the label were wrong. If fewer than half of the labels are right, the
    limit shrinks in proportion: if none is, a label close to the prediction is wrong, too.

    Parameters
    ----------
    of_clean
        Disagreement of imported labels and truth on the clean slices (NaN: empty label). The error
        of a wrong label is the mean of these and of one `EXPECTED_ERROR`, weighted by itself so
        that right labels do not count. The share of right labels, which are closer to the truth
        than half the limit, is estimated by Laplace's rule of succession.
    """
    errors = _known(of_clean)
    limit = _half_the_error(errors)
    return limit * min(1.0, 2 * _share_below(limit / 2, errors))


def _known(of_clean: Iterable[float]) -> Float[Tensor, " labels"]:
    return torch.tensor([error for error in of_clean if not math.isnan(error)])


def _half_the_error(errors: Float[Tensor, " labels"]) -> float:
    with_expected = torch.cat([errors, torch.tensor([EXPECTED_ERROR])])
    return float(with_expected.square().sum() / with_expected.sum() / 2)


def _share_below(limit: float, errors: Float[Tensor, " labels"]) -> float:
    """Estimated by Laplace's rule of succession."""
    return (int((errors < limit).sum()) + 1) / (len(errors) + 2)


def with_right_labels(
    predicted: Int[Tensor, "*planes y x"], labels: Int[Tensor, "*planes y x"], largest: float
) -> Int[Tensor, "*planes y x"]:
    """The prediction, with the labels on planes where they disagree by at most `largest`."""
    right = (disagreement(labels, predicted) <= largest)[..., None, None]
    return torch.where(right & (labels != IGNORE), labels, predicted)


def smallest_nonsense_difference(errors: Sequence[float]) -> float:
    """The difference to an imported label beyond which a prediction is nonsense.

    `errors` are the differences between imported labels and truth on the clean slices. A prediction
    that differs from a label by more than twice the label's error is further from the truth than
    the label (triangle inequality), and no label is assumed to be worse than the worst seen.
    Infinite if too few were seen to tell.
    """
    return 2 * max(errors) if len(errors) >= FEWEST_TO_TELL else math.inf


def largest_mending_difference(errors: Sequence[float]) -> float:
    """The difference to an imported label up to which a prediction mends it where nobody looked.

    `errors` are the differences between imported labels and truth on the clean slices. A network
    that sees the labels, and changes them by no more than the truth did where it is known, mends
    what is wrong everywhere. 0, so that nothing is mended there, if too few were seen to tell, or
    if a label was more wrong than right: then others may be, too, and are no ground to stand on.
    """
    roughly_right = len(errors) >= FEWEST_TO_TELL and max(errors) <= ROUGHLY_RIGHT
    return max(errors) if roughly_right else 0.0


def without_nonsense(
    predicted: Int[Tensor, "*planes y x"], labels: Int[Tensor, "*planes y x"], smallest: float
) -> Int[Tensor, "*planes y x"]:
    """The prediction, with the labels on planes where they differ by more than `smallest`."""
    nonsense = (difference(labels, predicted) > smallest)[..., None, None]
    return torch.where(nonsense & (labels != IGNORE), labels, predicted)


def as_shown(
    predicted: Int[Tensor, "*planes y x"],
    labels: Int[Tensor, "*planes y x"],
    largest_right_disagreement: float | None,
    smallest_nonsense_difference: float,
) -> Int[Tensor, "*planes y x"]:
    """The prediction, with imported labels where they are right or the prediction is nonsense."""
    if largest_right_disagreement is not None:
        predicted = with_right_labels(predicted, labels, largest_right_disagreement)
    return without_nonsense(predicted, labels, smallest_nonsense_difference)

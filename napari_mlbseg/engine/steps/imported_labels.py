"""Which imported labels are right as a whole, plane by plane.

Labels from elsewhere are often right in most slices and wrong in some. Pixel by pixel that is hard
to tell: where such a label contradicts the network, either may be right. Over a slice it is not: a
right label differs from the prediction by the network's error, a wrong one by its own as well.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from napari_mlbseg.engine.nets.labels import IGNORE

SOFTENING = 0.002
"""Of the area of a plane: a few pixels in an otherwise empty one say little."""
EXPECTED_ERROR = 0.5
"""Of a wrong label, before any was seen."""
FEWEST_TO_TELL = 4
"""Labels whose error must be known before the largest of them says how wrong others can be."""


def disagreement(
    labels: Int[Tensor, "*planes y x"], others: Int[Tensor, "*planes y x"]
) -> Float[Tensor, "*planes"]:
    """How far labels differ, see `difference`; NaN where `labels` show nothing.

    A network that sees something beyond the ends of a structure says little about them.
    """
    known = (labels != IGNORE) & (others != IGNORE)
    showing = ((labels > 0) & known).any(dim=-1).any(dim=-1)
    return torch.where(showing, difference(labels, others), torch.nan)


def difference(
    labels: Int[Tensor, "*planes y x"], others: Int[Tensor, "*planes y x"]
) -> Float[Tensor, "*planes"]:
    """Pixels of a plane whose labels differ, by the pixels at which either shows something.

    1 - Dice for a single class, but for `SOFTENING`. Pixels to be ignored count for nothing.
    """
    known = (labels != IGNORE) & (others != IGNORE)
    differ = ((labels != others) & known).sum(dim=(-2, -1))
    shown = (known * ((labels > 0).int() + (others > 0).int())).sum(dim=(-2, -1))
    softening = SOFTENING * labels.shape[-2] * labels.shape[-1]
    return differ / (shown + softening)


def largest_of_right(of_clean: Iterable[float]) -> float:
    """Up to which disagreement with the prediction an imported label is taken to be right.

    Half the error of a wrong label: a prediction that is nearer to the label than that would be
    further from the truth, were the label wrong. Less where fewer than half of the labels are
    right, in proportion: where none is, one that is near the prediction is wrong, too.

    Parameters
    ----------
    of_clean
        Disagreement of imported labels and truth, of the clean slices (NaN: nothing shown). The
        error of a wrong one is their mean, weighted by itself so that right ones do not count,
        together with one label of `EXPECTED_ERROR`. The share of right ones, which are nearer to
        the truth than half the limit, is estimated by Laplace's rule of succession.
    """
    errors = torch.tensor([error for error in of_clean if not math.isnan(error)])
    with_expected = torch.cat([errors, torch.tensor([EXPECTED_ERROR])])
    limit = float(with_expected.square().sum() / with_expected.sum() / 2)
    right = (int((errors < limit / 2).sum()) + 1) / (len(errors) + 2)
    return limit * min(1.0, 2 * right)


def with_right_labels(
    predicted: Int[Tensor, "*planes y x"], labels: Int[Tensor, "*planes y x"], largest: float
) -> Int[Tensor, "*planes y x"]:
    """The prediction, but the labels on planes where both disagree by at most `largest`."""
    right = (disagreement(labels, predicted) <= largest)[..., None, None]
    return torch.where(right & (labels != IGNORE), labels, predicted)


def smallest_of_nonsense(errors: Sequence[float]) -> float:
    """From which difference to an imported label a prediction is taken to be the worse one.

    `errors` are the differences of imported labels and truth, of the clean slices. A prediction
    that differs from a label by more than twice the label's error is further from the truth than
    the label (triangle inequality), and no label is taken to be worse than the worst that was
    seen. Infinite where too few were seen to tell.
    """
    return 2 * max(errors) if len(errors) >= FEWEST_TO_TELL else math.inf


def without_nonsense(
    predicted: Int[Tensor, "*planes y x"], labels: Int[Tensor, "*planes y x"], smallest: float
) -> Int[Tensor, "*planes y x"]:
    """The prediction, but the labels on planes where both differ by more than `smallest`."""
    nonsense = (difference(labels, predicted) > smallest)[..., None, None]
    return torch.where(nonsense & (labels != IGNORE), labels, predicted)


def as_shown(
    predicted: Int[Tensor, "*planes y x"],
    labels: Int[Tensor, "*planes y x"],
    largest_of_right: float | None,
    smallest_of_nonsense: float,
) -> Int[Tensor, "*planes y x"]:
    """A prediction, with imported labels where it is as good as sure that they are better."""
    if largest_of_right is not None:
        predicted = with_right_labels(predicted, labels, largest_of_right)
    return without_nonsense(predicted, labels, smallest_of_nonsense)

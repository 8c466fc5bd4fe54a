"""The clean direction: where the training slices want a network to move, for the weight maps."""

from collections.abc import Iterable, Sequence
from itertools import groupby

import torch
from torch import Tensor

from napari_mlbseg.engine.data.dimensions import Dimensions
from napari_mlbseg.engine.data.source import Source
from napari_mlbseg.engine.nets.model import Model, Parameters
from napari_mlbseg.engine.steps.base_model import clean_gradient
from napari_mlbseg.engine.steps.clean_direction import clean_direction, mean_gradient
from napari_mlbseg.project.records.slices import SliceKey

DIRECTION_SLICES: dict[Dimensions, int] = {"2d": 16, "2.5d": 16, "3d": 2}
"""Training slices evaluated while somebody waits: a patch takes longer than a slice."""
GROUP = 2


def steering_groups(keys: Iterable[SliceKey], most: int) -> list[list[SliceKey]]:
    """Choose at most `most` slices, spread over all, in groups whose gradients are compared.

    A group is a pair of slices of one case, so that agreement is between cases, too; if there is
    only one pair, it is split.
    """
    ordered = sorted(keys)
    chosen = ordered[:: max(1, len(ordered) // most)][:most]
    cases = [list(group) for _, group in groupby(chosen, key=lambda key: key.case_id)]
    groups = [case[i : i + GROUP] for case in cases for i in range(0, len(case), GROUP)]
    return groups if len(groups) > 1 else [[key] for key in chosen]


def agreed_direction(
    model: Model,
    parameters: Parameters,
    source: Source,
    groups: Iterable[Sequence[SliceKey]],
    *,
    at_once: int,
) -> dict[str, Tensor]:
    """The clean direction of groups of training slices, with `at_once` slices in memory."""
    found = [_gradient(model, parameters, source, keys, at_once) for keys in groups]
    loss = torch.stack([loss for _, loss in found]).mean()
    return clean_direction([gradient for gradient, _ in found], loss)


def _gradient(
    model: Model, parameters: Parameters, source: Source, keys: Sequence[SliceKey], size: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Gradient of the clean loss of some slices, and the loss."""
    batches = (source.steady_batch(keys[i : i + size]) for i in range(0, len(keys), size))
    found = [clean_gradient(model, parameters, b.images, b.labels) for b in batches]
    if len(found) == 1:
        return found[0]
    loss = torch.stack([loss for _, loss in found]).mean()
    return mean_gradient([gradient for gradient, _ in found]), loss

"""The gradient of one bootstrapping step (Wei et al. 2023, algorithm 1).

    sum_i w^n_i CE(p_i, y^n_i) + w^p_i CE(p_i, y^p_i)
        + consistency * (L_views + L_teacher) + L_clean

Differences from the released code: the gradient of the clean loss that prices the pixels is also
its share of the update, instead of a second optimiser step; views are inverted on the device with
coverage masks; and every view gets a gradient from the consistency terms.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.losses import disagreement, weighted_loss
from napari_mlbseg.engine.nets.model import Model, Parameters
from napari_mlbseg.engine.nets.views import View, apply_view, apply_view_to_labels
from napari_mlbseg.engine.steps.chunks import chunks
from napari_mlbseg.engine.steps.meta_weights import logit_derivative, virtual_parameters
from napari_mlbseg.engine.steps.passes import Recorded, forward
from napari_mlbseg.engine.steps.pseudo_labels import pseudo_labels, view_disagreement
from napari_mlbseg.engine.steps.weighting.rule import Weighting

TEACHER_NOISE = 0.1


class BootstrapGradient(NamedTuple):
    """The result of a step: the gradient by parameter name, and the losses by name."""

    gradient: Parameters
    losses: Mapping[str, Tensor]


def bootstrap_gradient(
    model: Model,
    student: Parameters,
    noisy: Batch,
    clean: Batch,
    *,
    views: Sequence[View],
    weighting: Weighting,
    learning_rate: float | Float[Tensor, ""],
    consistency: float,
    clean_step: bool,
    teacher: Parameters | None = None,
    teacher_noise: Float[Tensor, "views_batch channels *space"] | None = None,
) -> BootstrapGradient:
    """Gradient of the whole objective with respect to the student's parameters.

    `learning_rate` is that of the virtual step; the mean teacher sees the images plus
    `teacher_noise`.
    """
    images = torch.cat([apply_view(view, noisy.images) for view in views])
    seen = Recorded.forward(model, student, chunks(images))
    logits = seen.logits()
    probabilities = logits.softmax(dim=1)
    losses = {"consistency": view_disagreement(views, probabilities.chunk(len(views)))}
    if teacher is not None and teacher_noise is not None:
        taught = forward(model, teacher, images + teacher_noise)
        losses["teacher"] = _distance(probabilities, taught)
    (steering,) = torch.autograd.grad(consistency * _total(losses), logits)
    gradient = seen.pull_back(steering, once_more=weighting.learns_labels)
    moved = virtual_parameters(student, gradient, learning_rate=learning_rate)
    said = weighting.ask(model, moved, clean)
    losses["clean"] = said.loss
    gradient = _sum(gradient, said.gradient) if clean_step else gradient
    if weighting.learns_labels:
        ahead = partial(logit_derivative, model, student, said.direction, images)
        weigh = partial(weighting.weights, ahead)
        on_labels = _label_losses(logits, probabilities, noisy, views, weigh)
        (learning,) = torch.autograd.grad(_total(on_labels), logits)
        gradient = _sum(gradient, seen.pull_back(learning, once_more=False))
        losses |= on_labels
    return BootstrapGradient(gradient, {name: loss.detach() for name, loss in losses.items()})


def _distance(probabilities: Tensor, taught: Tensor) -> Tensor:
    """Mean squared difference between probabilities and those of the teacher's logits."""
    everywhere = torch.ones_like(taught[:, :1])
    return disagreement(probabilities, taught.softmax(dim=1), everywhere)


def _label_losses(
    logits: Float[Tensor, "views_batch classes *space"],
    probabilities: Float[Tensor, "views_batch classes *space"],
    noisy: Batch,
    views: Sequence[View],
    weigh: Callable[[Tensor, Tensor], tuple[Tensor, ...]],
) -> dict[str, Tensor]:
    """Weighted cross-entropy on the initial and the pseudo labels, mapped into the views."""
    initial = torch.cat([apply_view_to_labels(v, noisy.labels, noisy.images) for v in views])
    pseudo = torch.cat(pseudo_labels(views, probabilities.chunk(len(views))))
    of_initial, of_pseudo = weigh(initial, pseudo)
    return {
        "initial labels": weighted_loss(logits, initial, of_initial),
        "pseudo labels": weighted_loss(logits, pseudo, of_pseudo),
    }


def _total(losses: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def _sum(a: Parameters, b: Parameters) -> dict[str, Tensor]:
    return {name: a[name] + b[name] for name in a}

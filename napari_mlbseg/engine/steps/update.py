"""The gradient of one bootstrapping step (Wei et al. 2023, algorithm 1).

    sum_i w^n_i CE(p_i, y^n_i) + w^p_i CE(p_i, y^p_i)
        + consistency * (L_views + L_teacher) + L_clean

Where this differs from the released code: the clean loss shares the gradient that prices the
pixels instead of taking a second step, views are inverted on the device with coverage masks, and
every view gets a gradient from the consistency.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.losses import disagreement, weighted_loss
from napari_mlbseg.engine.nets.model import Model, Parameters
from napari_mlbseg.engine.nets.views import View, apply_view, apply_view_to_labels
from napari_mlbseg.engine.steps import meta_weights
from napari_mlbseg.engine.steps.base_model import clean_gradient, clean_shares
from napari_mlbseg.engine.steps.chunks import chunks
from napari_mlbseg.engine.steps.clean_direction import clean_direction, mean_gradient
from napari_mlbseg.engine.steps.passes import Recorded, forward
from napari_mlbseg.engine.steps.pseudo_labels import pseudo_labels, view_disagreement

TEACHER_NOISE = 0.1


class BootstrapGradient(NamedTuple):
    """What a step found: the gradient by parameter name, and the losses by name."""

    gradient: Parameters
    losses: Mapping[str, Tensor]


def bootstrap_gradient(
    model: Model,
    student: Parameters,
    noisy: Batch,
    clean: Batch,
    *,
    views: Sequence[View],
    weights: str,
    learning_rate: float | Float[Tensor, ""],
    consistency: float,
    clean_step: bool,
    teacher: Parameters | None = None,
    teacher_noise: Float[Tensor, "views_batch channels *space"] | None = None,
) -> BootstrapGradient:
    """Gradient of the whole objective with respect to the student's parameters.

    Parameters
    ----------
    weights
        ``uniform``, ``none`` or one of `meta_weights.SCORES`.
    learning_rate
        Of the virtual step.
    teacher, teacher_noise
        Parameters of the mean teacher and what is added to the images it sees (all views of the
        batch, view by view); without a teacher there is no teacher loss.
    """
    images = torch.cat([apply_view(view, noisy.images) for view in views])
    seen = Recorded.forward(model, student, chunks(images))
    logits = seen.logits()
    probabilities = logits.softmax(dim=1)
    per_view = list(probabilities.chunk(len(views)))
    losses = {"consistency": view_disagreement(views, per_view)}
    if teacher is not None:
        assert teacher_noise is not None
        taught = forward(model, teacher, images + teacher_noise).softmax(dim=1)
        everywhere = torch.ones_like(taught[:, :1])
        losses["teacher"] = disagreement(probabilities, taught, everywhere)
    agreement = consistency * torch.stack(list(losses.values())).sum()
    (steering,) = torch.autograd.grad(agreement, logits)
    gradient = seen.pull_back(steering, once_more=weights != "none")
    moved = meta_weights.virtual_parameters(student, gradient, learning_rate=learning_rate)
    if weights == "meta":
        shares, losses["clean"] = clean_shares(model, moved, clean.images, clean.labels)
        on_clean = mean_gradient(shares)
    else:
        on_clean, losses["clean"] = clean_gradient(model, moved, clean.images, clean.labels)
    if clean_step:
        gradient = _sum(gradient, on_clean)
    if weights != "none":
        initial = torch.cat([apply_view_to_labels(v, noisy.labels, noisy.images) for v in views])
        pseudo = torch.cat(pseudo_labels(views, per_view))
        scores = meta_weights.SCORES.get(weights)
        if scores is None:
            w_initial, w_pseudo = meta_weights.uniform(initial, pseudo)
        else:
            direction = on_clean
            if weights == "meta":
                direction = clean_direction(shares, losses["clean"])
            found = meta_weights.logit_derivative(model, student, direction, images)
            w_initial, w_pseudo = meta_weights.weights_of(scores(*found), initial, pseudo)
        losses["initial labels"] = weighted_loss(logits, initial, w_initial)
        losses["pseudo labels"] = weighted_loss(logits, pseudo, w_pseudo)
        weighted = losses["initial labels"] + losses["pseudo labels"]
        (learning,) = torch.autograd.grad(weighted, logits)
        gradient = _sum(gradient, seen.pull_back(learning, once_more=False))
    return BootstrapGradient(gradient, {name: loss.detach() for name, loss in losses.items()})


def _sum(a: Parameters, b: Parameters) -> dict[str, Tensor]:
    return {name: a[name] + b[name] for name in a}

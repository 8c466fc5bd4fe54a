"""What a label is worth: whether learning it agrees with the clean slices.

The weight of a pixel's label is the derivative of the clean loss with respect to that label's share
in one virtual SGD step (Ren et al. 2018; per pixel: Mirikharaji et al. 2019; Wei et al. 2023, eq. 3
to 5). For the cross-entropy it has a closed form: with ``g`` the gradient of the clean loss at the
virtual parameters, ``z`` the logits and ``s = J z . g`` their directional derivative along ``g``,

    u(y) = -dL_clean/dw = learning_rate * sum_c (softmax(z)_c - y_c) * s_c

One Jacobian-vector product in forward mode prices every label of every pixel; no second-order
graph is built.

Two rules make weights of prices (`weighting`). The published one takes the positive part of u. On a
network that already fits the clean slices the sign of u is close to chance, and normalising what is
left amplifies noise; so the loop starts from equal weights and tilts them by u, along the direction
that the clean slices agree on (`clean_direction`). What is shown as trust is the network's
confidence, tilted in the same way; as weights it would have the network confirm itself
(docs/results.md).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from napari_mlbseg.engine.nets.labels import IGNORE
from napari_mlbseg.engine.nets.model import Model, Parameters
from napari_mlbseg.engine.steps.chunks import chunks

LOOK_AHEAD = 0.05
"""Share of Polyak's step that the confidence is tilted by."""


def virtual_parameters(
    parameters: Parameters,
    gradients: Parameters,
    *,
    learning_rate: float | Float[Tensor, ""],
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    velocity: Parameters | None = None,
) -> dict[str, Tensor]:
    """Parameters after the virtual SGD step at zero weights.

    `gradients` are those of the terms that carry no weight (the consistency terms). With momentum
    the step is along ``momentum * velocity + gradient + weight_decay * parameter``.
    """
    moved = {}
    for name, value in parameters.items():
        direction = gradients[name] + weight_decay * value
        if velocity is not None:
            direction = direction + momentum * velocity[name]
        moved[name] = (value - learning_rate * direction).detach()
    return moved


def logit_derivative(
    model: Model, parameters: Parameters, direction: Parameters, images: Float[Tensor, "..."]
) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    """Logits and their derivative along `direction` in parameter space.

    One forward-mode product, a chunk of the batch at a time; `model` maps parameters and images
    (``batch channels *space``) to logits (``batch classes *space``). Nothing is recorded for a
    backward pass.
    """
    point = {name: value.detach() for name, value in parameters.items()}
    tangent = {name: direction[name].detach() for name in point}
    with torch.no_grad():
        found = [
            torch.func.jvp(lambda p, part=part: model(p, part), (point,), (tangent,))
            for part in chunks(images)
        ]
    return torch.cat([pair[0] for pair in found]), torch.cat([pair[1] for pair in found])


def label_prices(
    logits: Float[Tensor, "batch classes *space"], derivative: Float[Tensor, "batch classes *space"]
) -> Float[Tensor, "batch classes *space"]:
    """The price u of every class at every pixel, per unit learning rate.

    Positive where the clean slices gain from learning that class there, negative where they object.
    """
    expected = (logits.softmax(dim=1) * derivative).sum(dim=1, keepdim=True)
    return expected - derivative


def value_of(
    maps: Float[Tensor, "batch classes *space"], labels: Int[Tensor, "batch *space"]
) -> Float[Tensor, "batch *space"]:
    """The entry of the given label at every pixel; 0 where the label is to be ignored."""
    chosen = maps.gather(1, labels.clamp_min(0).unsqueeze(1)).squeeze(1)
    return chosen * (labels != IGNORE)


def normalised(*prices: Float[Tensor, "batch *space"]) -> tuple[Tensor, ...]:
    """Weights: the positive part of each map, summing to 1 over all maps together.

    All zero where no label agrees with the clean slices.
    """
    positive = [p.clamp_min(0) for p in prices]
    total = torch.stack([p.sum() for p in positive]).sum()
    scale = torch.where(total > 0, 1 / total.clamp_min(torch.finfo(total.dtype).tiny), 0.0)
    return tuple(p * scale for p in positive)


def tilted_probabilities(
    logits: Float[Tensor, "batch classes *space"], derivative: Float[Tensor, "batch classes *space"]
) -> Float[Tensor, "batch classes *space"]:
    """What the network would believe of every label a small step along the clean direction.

    ``softmax(z - a s)``, which is ``p(y) exp(a u(y))`` up to a factor per pixel: one step of
    exponentiated gradient (Kivinen & Warmuth 1997) on the same prices u, from the network's
    confidence, where `normalised` takes one projected gradient step from zero. The derivative is
    the one along `clean_direction.clean_direction`, whose length is that of Polyak's step; the
    share ``a`` of it is `LOOK_AHEAD`.
    """
    return (logits - LOOK_AHEAD * derivative).softmax(dim=1)


def weights_of(
    scores: Float[Tensor, "batch classes *space"], *labels: Int[Tensor, "batch *space"]
) -> tuple[Float[Tensor, "batch *space"], ...]:
    """Weights of label maps from what a rule makes of every class, summing to 1 over all maps."""
    return normalised(*(value_of(scores, y) for y in labels))


def confidence(
    logits: Float[Tensor, "batch classes *space"], derivative: Float[Tensor, "batch classes *space"]
) -> Float[Tensor, "batch classes *space"]:
    """What the network believes now, whatever the clean slices say."""
    return logits.softmax(dim=1)

"""Meta-weights: how much learning a label lowers the loss on the training slices.

The price of a pixel's label is the negative derivative of the clean loss with respect to that
label's weight in one virtual SGD step (Ren et al. 2018; per pixel: Mirikharaji et al. 2019; Wei et
al. 2023, eq. 3 to 5). For the cross-entropy it has a closed form: with ``g`` the gradient of the
clean loss at the virtual parameters, ``z`` the logits and ``s = J z . g`` their directional
derivative along ``g``,

    u(y) = -dL_clean/dw = learning_rate * sum_c (softmax(z)_c - y_c) * s_c

One Jacobian-vector product in forward mode prices every label of every pixel; no second-order
graph is built.

Two rules turn prices into weights (`weighting`). The published rule takes the positive part of u.
On a network that already fits the training slices the sign of u is close to chance, and normalising
amplifies the noise. So the default rule starts from equal weights and tilts them by u, along the
direction that the training slices agree on (`clean_direction`). The trust map is the network's
confidence, tilted in the same way; used as weights, it would let the network confirm itself
(docs/results.md).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from napari_mlbseg.engine.nets.labels import IGNORE
from napari_mlbseg.engine.nets.model import Model, Parameters
from napari_mlbseg.engine.steps.chunks import chunks

LOOK_AHEAD = 0.05
"""Share of Polyak's step that weights and confidence are tilted by."""


def virtual_parameters(
    parameters: Parameters,
    gradients: Parameters,
    *,
    learning_rate: float | Float[Tensor, ""],
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    velocity: Parameters | None = None,
) -> dict[str, Tensor]:
    """Parameters after the virtual SGD step, with all label weights zero.

    `gradients` are those of the terms without label weights (the consistency terms). With momentum,
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

    Computed as one forward-mode product, chunk by chunk of the batch; `model` maps parameters and
    images (``batch channels *space``) to logits (``batch classes *space``). Nothing is recorded for
    a backward pass.
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

    Positive where learning that class lowers the clean loss, negative where it raises it.
    """
    expected = (logits.softmax(dim=1) * derivative).sum(dim=1, keepdim=True)
    return expected - derivative


def value_of(
    maps: Float[Tensor, "batch classes *space"], labels: Int[Tensor, "batch *space"]
) -> Float[Tensor, "batch *space"]:
    """The entry of `maps` for each pixel's label; 0 where the label is to be ignored."""
    chosen = maps.gather(1, labels.clamp_min(0).unsqueeze(1)).squeeze(1)
    return chosen * (labels != IGNORE)


def normalised(*prices: Float[Tensor, "batch *space"]) -> tuple[Tensor, ...]:
    """Turn prices into weights: the positive part of each map, summing to 1 over all maps.

    All weights are zero if no label agrees with the training slices.
    """
    positive = [p.clamp_min(0) for p in prices]
    total = torch.stack([p.sum() for p in positive]).sum()
    scale = torch.where(total > 0, 1 / total.clamp_min(torch.finfo(total.dtype).tiny), 0.0)
    return tuple(p * scale for p in positive)


def tilted_probabilities(
    logits: Float[Tensor, "batch classes *space"], derivative: Float[Tensor, "batch classes *space"]
) -> Float[Tensor, "batch classes *space"]:
    """The tilted confidence: class probabilities after a small step along the clean direction.

    ``softmax(z - a s)``, which is ``p(y) exp(a u(y))`` up to a factor per pixel: one step of
    exponentiated gradient (Kivinen & Warmuth 1997) on the same prices u, starting from the
    network's confidence, whereas `normalised` takes one projected gradient step from zero. The
    derivative is along `clean_direction.clean_direction`, whose length is that of Polyak's step;
    ``a`` is the share `LOOK_AHEAD` of it.
    """
    return (logits - LOOK_AHEAD * derivative).softmax(dim=1)


def weights_of(
    scores: Float[Tensor, "batch classes *space"], *labels: Int[Tensor, "batch *space"]
) -> tuple[Float[Tensor, "batch *space"], ...]:
    """Weights of label maps from a rule's `scores` of every class, summing to 1 over all maps."""
    return normalised(*(value_of(scores, y) for y in labels))


def confidence(
    logits: Float[Tensor, "batch classes *space"], derivative: Float[Tensor, "batch classes *space"]
) -> Float[Tensor, "batch classes *space"]:
    """The network's current class probabilities, whatever the training slices say."""
    return logits.softmax(dim=1)

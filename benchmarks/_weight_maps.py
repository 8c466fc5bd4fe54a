"""Our weight maps beside those of double backward, on the same views, labels and virtual step."""

import numpy as np
import torch
from _cases import Case, network_of, slices
from reference_step import (
    LEARNING_RATE,
    MOMENTUM,
    WEIGHT_DECAY,
    make_views,
    pseudo_labels,
    view_consistency,
    weights_by_double_backward,
)
from torch import Tensor

from napari_mlbseg.engine.nets.model import as_model
from napari_mlbseg.engine.steps import meta_weights
from napari_mlbseg.engine.steps.base_model import clean_gradient
from napari_mlbseg.engine.steps.update import TEACHER_NOISE


def weight_difference(case: Case, dtype: torch.dtype, device: str) -> tuple[float, float]:
    """The largest difference relative to the largest weight, and the share of pixels beyond 1e-5.

    Of one noisy slice in two views and one clean slice, with momentum and consistency. A leaky
    ReLU has a kink: where a feature is zero but for its rounding, another order of summation takes
    the other slope, and the derivatives of the pixels around differ.
    """
    theirs, ours = both_weights(case, dtype, device)
    scale = max(float(t.abs().max()) for t in theirs)
    found = torch.cat([(a - b).abs().flatten() for a, b in zip(ours, theirs, strict=True)]) / scale
    return float(found.max()), float((found > 1e-5).double().mean())


def both_weights(
    case: Case, dtype: torch.dtype, device: str
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Prices of initial and pseudo labels by double backward, and by the closed form."""
    network = network_of(case).to(device, dtype)
    images, labels = slices(case, 1, seed=1, device=device)
    seen = make_views(images.to(dtype), labels, np.random.default_rng(0), drawn=2)
    clean = slices(case, 1, seed=2, device=device)
    clean = clean[0].to(dtype), clean[1]
    with torch.no_grad():
        noise = TEACHER_NOISE * torch.randn_like(seen.images)
        taught = network(seen.images + noise).softmax(dim=1)
        pseudo = pseudo_labels(network(seen.images).softmax(dim=1), seen.views)

    def agreement(probabilities: Tensor) -> Tensor:
        to_teacher: Tensor = (probabilities - taught).square().mean()
        return view_consistency(probabilities, seen.views) + to_teacher

    velocity = {n: 0.01 * torch.randn_like(p) for n, p in network.named_parameters()}
    theirs = weights_by_double_backward(
        network, velocity, seen.images, lambda _: (seen.labels, pseudo), agreement, clean
    )
    model, point = as_model(network), dict(network.named_parameters())
    agreed = torch.autograd.grad(
        agreement(model(point, seen.images).softmax(dim=1)), list(point.values())
    )
    moved = meta_weights.virtual_parameters(
        point,
        dict(zip(point, agreed, strict=True)),
        learning_rate=LEARNING_RATE,
        momentum=MOMENTUM,
        weight_decay=WEIGHT_DECAY,
        velocity=velocity,
    )
    direction, _ = clean_gradient(model, moved, *clean)
    prices = meta_weights.label_prices(
        *meta_weights.logit_derivative(model, point, direction, seen.images)
    )
    ours = [LEARNING_RATE * meta_weights.value_of(prices, y) for y in (seen.labels, pseudo)]
    return theirs, tuple(ours)

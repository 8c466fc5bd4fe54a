"""The closed form against the definition: a second-order graph through the virtual step."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from napari_mlbseg.engine.nets.labels import IGNORE
from napari_mlbseg.engine.nets.losses import clean_loss, pixel_cross_entropy
from napari_mlbseg.engine.nets.model import as_model
from napari_mlbseg.engine.nets.network import build_network
from napari_mlbseg.engine.nets.views import VIEWS, apply_view
from napari_mlbseg.engine.steps.meta_weights import (
    LOOK_AHEAD,
    label_prices,
    logit_derivative,
    normalised,
    tilted_probabilities,
    value_of,
    virtual_parameters,
)
from napari_mlbseg.engine.steps.pseudo_labels import view_disagreement
from napari_mlbseg.engine.steps.weighting.meta import LARGEST_TILT, tilted_weights
from napari_mlbseg.engine.steps.weighting.rules import RULES
from napari_mlbseg.engine.steps.weighting.uniform import equal_weights

LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.05, 0.9, 5e-4


def small_net(dims: int, classes: int) -> nn.Module:
    convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
    norm = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[dims]
    return nn.Sequential(
        convolution(1, 6, 3, padding=1),
        norm(6, affine=True),
        nn.LeakyReLU(),
        convolution(6, 6, 3, padding=1),
        nn.Tanh(),
        convolution(6, classes, 1),
    ).double()


def random_case(
    dims: int, classes: int, side: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    shape = (2, *(side,) * dims)
    images, clean_images = torch.randn(2, 2, 1, *shape[1:], dtype=torch.float64)
    initial, pseudo, clean = torch.randint(0, classes, (3, *shape))
    initial[:, 0] = IGNORE
    return images, initial, pseudo, clean_images, clean


def consistency(
    model: Callable[..., Tensor], parameters: dict[str, Tensor], images: Tensor
) -> Tensor:
    views = [VIEWS["identity"], VIEWS["zoom_in"]]
    seen = [model(parameters, apply_view(v, images)).softmax(dim=1) for v in views]
    return view_disagreement(views, seen)


def by_double_backward(
    model: Callable[..., Tensor],
    parameters: dict[str, Tensor],
    case: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    velocity: dict[str, Tensor],
) -> tuple[Tensor, Tensor]:
    """``-dL_clean/dw`` by its definition, with a differentiable virtual step."""
    images, initial, pseudo, clean_images, clean = case
    point = {n: p.detach().requires_grad_() for n, p in parameters.items()}
    weights = [torch.zeros(y.shape).double().requires_grad_() for y in (initial, pseudo)]
    logits = model(point, images)
    loss = consistency(model, point, images)
    for w, labels in zip(weights, (initial, pseudo), strict=True):
        loss = loss + (w * pixel_cross_entropy(logits, labels)).sum()
    gradients = torch.autograd.grad(loss, list(point.values()), create_graph=True)
    moved = {}
    for (name, value), gradient in zip(point.items(), gradients, strict=True):
        step = MOMENTUM * velocity[name] + gradient + WEIGHT_DECAY * value
        moved[name] = value - LEARNING_RATE * step
    found = torch.autograd.grad(clean_loss(model(moved, clean_images), clean), weights)
    return -found[0], -found[1]


def by_closed_form(
    model: Callable[..., Tensor],
    parameters: dict[str, Tensor],
    case: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    velocity: dict[str, Tensor],
) -> tuple[Tensor, Tensor]:
    images, initial, pseudo, clean_images, clean = case
    point = {n: p.detach().requires_grad_() for n, p in parameters.items()}
    agreed = torch.autograd.grad(consistency(model, point, images), list(point.values()))
    moved = virtual_parameters(
        point,
        dict(zip(point, agreed, strict=True)),
        learning_rate=LEARNING_RATE,
        momentum=MOMENTUM,
        weight_decay=WEIGHT_DECAY,
        velocity=velocity,
    )
    moved = {n: p.requires_grad_() for n, p in moved.items()}
    loss = clean_loss(model(moved, clean_images), clean)
    direction = dict(zip(moved, torch.autograd.grad(loss, list(moved.values())), strict=True))
    logits, derivative = logit_derivative(model, point, direction, images)
    prices = LEARNING_RATE * label_prices(logits, derivative)
    return value_of(prices, initial), value_of(prices, pseudo)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("classes", [2, 5])
def test_closed_form_is_the_meta_gradient(dims: int, classes: int) -> None:
    torch.manual_seed(dims * 10 + classes)
    network = small_net(dims, classes)
    parameters: dict[str, Tensor] = dict(network.named_parameters())
    velocity = {n: 0.1 * torch.randn_like(p) for n, p in parameters.items()}
    case = random_case(dims, classes, side=8)
    model = as_model(network)
    expected = by_double_backward(model, parameters, case, velocity)
    found = by_closed_form(model, parameters, case, velocity)
    for ours, theirs in zip(found, expected, strict=True):
        assert theirs.abs().max() > 0
        assert (ours - theirs).abs().max() <= 1e-9 * theirs.abs().max()


def test_closed_form_holds_for_the_default_network() -> None:
    torch.manual_seed(0)
    network = build_network("unet", channels=1, classes=3).double()
    parameters: dict[str, Tensor] = dict(network.named_parameters())
    velocity = {n: torch.zeros_like(p) for n, p in parameters.items()}
    case = random_case(2, 3, side=32)
    expected = by_double_backward(as_model(network), parameters, case, velocity)
    found = by_closed_form(as_model(network), parameters, case, velocity)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).abs().max() <= 1e-9 * theirs.abs().max()


def test_prices_cover_every_class_and_average_to_nothing_under_the_prediction() -> None:
    torch.manual_seed(1)
    logits, derivative = torch.randn(2, 3, 4, 6, 6, dtype=torch.float64)
    prices = label_prices(logits, derivative)
    for value in range(4):
        labels = torch.full((3, 6, 6), value)
        error = logits.softmax(1) - nn.functional.one_hot(labels, 4).movedim(-1, 1)
        by_hand = (error * derivative).sum(1)
        torch.testing.assert_close(value_of(prices, labels), by_hand)
    torch.testing.assert_close((prices * logits.softmax(1)).sum(1), torch.zeros(3, 6, 6).double())


def test_tilted_probabilities_are_one_step_of_exponentiated_gradient() -> None:
    torch.manual_seed(3)
    logits, derivative = torch.randn(2, 3, 4, 6, 6, dtype=torch.float64)
    tilted = tilted_probabilities(logits, derivative)
    by_hand = logits.softmax(1) * torch.exp(LOOK_AHEAD * label_prices(logits, derivative))
    torch.testing.assert_close(tilted, by_hand / by_hand.sum(1, keepdim=True))


def test_a_label_that_the_clean_slices_object_to_weighs_less_than_the_network_believes_it() -> None:
    torch.manual_seed(4)
    logits, derivative = torch.randn(2, 2, 3, 8, 8, dtype=torch.float64)
    labels = torch.randint(0, 3, (2, 8, 8))
    confidence = value_of(logits.softmax(1), labels)
    price = value_of(label_prices(logits, derivative), labels)
    ratio = value_of(tilted_probabilities(logits, derivative), labels) / confidence
    extremes = price.abs() > price.abs().quantile(0.9)
    assert ((ratio > 1) == (price > 0))[extremes].double().mean() > 0.9


def test_weights_are_equal_but_for_what_the_clean_slices_say() -> None:
    torch.manual_seed(6)
    logits, derivative = torch.randn(2, 2, 3, 8, 8, dtype=torch.float64)
    prices = label_prices(logits, derivative)
    weights = tilted_weights(logits, derivative)
    torch.testing.assert_close(weights.log() / LOOK_AHEAD, prices)
    assert (tilted_weights(logits, torch.zeros_like(derivative)) == 1).all()
    extreme = tilted_weights(logits, 1e6 * derivative)
    assert extreme.max() <= math.exp(LARGEST_TILT) * 1.0001
    assert extreme.min() >= math.exp(-LARGEST_TILT) * 0.9999


@pytest.mark.parametrize("rule", ["meta", "published", "uniform"])
def test_rules_leave_out_what_is_to_be_ignored(rule: str) -> None:
    torch.manual_seed(5)
    logits, derivative = torch.randn(2, 1, 3, 6, 6)
    labels = torch.randint(0, 3, (2, 1, 6, 6))
    labels[:, :, 0] = IGNORE
    weights = RULES[rule].weights(lambda: (logits, derivative), *labels)
    assert all((w[:, 0] == 0).all() for w in weights)
    torch.testing.assert_close(sum(w.sum() for w in weights), torch.tensor(1.0))


def test_weights_are_a_distribution_over_both_maps() -> None:
    torch.manual_seed(2)
    first, second = torch.randn(2, 3, 6, 6)
    weights = normalised(first, second)
    assert all((w >= 0).all() for w in weights)
    torch.testing.assert_close(sum(w.sum() for w in weights), torch.tensor(1.0))
    assert (weights[0][first <= 0] == 0).all()
    ratio = weights[0][first > 0] / first[first > 0]
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))


def test_weights_are_zero_where_all_labels_are_objected_to() -> None:
    for weights in normalised(-torch.ones(1, 2, 2), torch.zeros(1, 2, 2)):
        assert (weights == 0).all()


def test_uniform_weights_leave_out_what_is_to_be_ignored() -> None:
    first, second = torch.zeros(2, 1, 2, 2, dtype=torch.long)
    first[0, 0, 0] = IGNORE
    weights = equal_weights(first, second)
    assert weights[0][0, 0, 0] == 0
    assert weights[1].min() == weights[1].max()
    torch.testing.assert_close(sum(w.sum() for w in weights), torch.tensor(1.0))

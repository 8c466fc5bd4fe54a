"""Weights that a few features of a pixel decide, as `benchmarks/weights_worth.py` learns them."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_mlbseg.engine.nets.labels import IGNORE, as_input
from napari_mlbseg.engine.nets.losses import clean_loss
from napari_mlbseg.engine.nets.model import as_model
from napari_mlbseg.engine.steps.base_model import clean_gradient
from napari_mlbseg.engine.steps.meta_weights import logit_derivative

RATE = 0.05


@pytest.fixture
def binned(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    return importlib.import_module("_binned_weights")


def network(dims: int, classes: int) -> nn.Module:
    convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
    layers = convolution(1, 5, 3, padding=1), nn.Tanh(), convolution(5, classes, 1)
    return nn.Sequential(*layers).double()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("classes", [2, 4])
def test_prices_of_bins_are_those_of_double_backward(binned: Any, dims: int, classes: int) -> None:
    torch.manual_seed(10 * dims + classes)
    model, shape = as_model(made := network(dims, classes)), (3, *(8,) * dims)
    images, clean_images = torch.randn(2, 3, 1, *shape[1:], dtype=torch.float64)
    labels, clean = torch.randint(0, classes, (2, *shape))
    labels[:, 0] = IGNORE
    numbers = torch.randint(0, 6, shape)
    weights = torch.rand(6, dtype=torch.float64).requires_grad_()

    point = {name: value.detach().requires_grad_() for name, value in made.named_parameters()}
    loss = binned.binned_loss(model(point, images), labels, weights[numbers])
    slopes = torch.autograd.grad(loss, list(point.values()), create_graph=True)
    moved = {
        n: value - RATE * slope for (n, value), slope in zip(point.items(), slopes, strict=True)
    }
    after = clean_loss(model(moved, clean_images), clean)
    (expected,) = torch.autograd.grad(after, weights)

    stopped = {name: value.detach() for name, value in moved.items()}
    direction, _ = clean_gradient(model, stopped, clean_images, clean)
    logits, derivative = logit_derivative(model, point, direction, images)
    found = binned.bin_prices(logits, derivative, labels, numbers, weights)
    torch.testing.assert_close(-RATE * found, expected)
    assert found.abs().max() > 0


@pytest.mark.parametrize("classes", [2, 4])
def test_equal_weights_give_the_loss_of_clean_slices(binned: Any, classes: int) -> None:
    torch.manual_seed(classes)
    logits, labels = torch.randn(3, classes, 9, 9), torch.randint(-1, classes, (3, 9, 9))
    for weight in (1.0, 0.3):
        found = binned.binned_loss(logits, labels, torch.full((3, 9, 9), weight))
        torch.testing.assert_close(found, clean_loss(logits, labels), atol=1e-5, rtol=1e-5)


def test_a_weight_of_nothing_leaves_a_label_out(binned: Any) -> None:
    torch.manual_seed(2)
    logits, labels = torch.randn(2, 3, 9, 9), torch.randint(0, 3, (2, 9, 9))
    counts = torch.rand(2, 9, 9) < 0.5
    found = binned.binned_loss(logits, labels, counts.float())
    expected = clean_loss(logits, torch.where(counts, labels, IGNORE))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_bins_tell_class_confidence_distance_and_imported_labels(binned: Any) -> None:
    labels = torch.zeros(1, 20, 30, dtype=torch.long)
    labels[:, :, 12:] = 1
    own = torch.full((1, 20, 30), 0.95)
    own[:, :, :3] = 0.05
    probabilities = torch.stack([torch.where(labels == c, own, 1 - own) for c in (0, 1)], dim=1)
    said = torch.zeros(1, 20, 30, dtype=torch.long)
    said[:, :, 14:] = 1
    channels = as_input(said[0], classes=2)[None]
    channels[..., 10:] = 0  # not known here
    row = binned.bins(labels, probabilities, channels)[0, 7]
    parts = []
    for size in (3, 4, 5):
        parts.append((row % size).tolist())
        row = row // size
    saying, distance, confidence = parts
    assert row.tolist() == [0] * 12 + [1] * 18
    assert confidence == [0] * 3 + [3] * 27
    assert saying == [1] * 10 + [0] * 20  # said 14 and on, but not known there
    assert distance[12:] == [0] * 2 + [1] * 2 + [2] * 4 + [3] * 10
    assert distance[:12] == distance[12:24][::-1]
    assert int(binned.bins(labels, probabilities, channels).max()) < binned.bin_count(2)


def test_an_imported_label_may_say_something_else(binned: Any) -> None:
    labels = torch.tensor([[[0, 1, 2, 2]]])
    said = torch.tensor([[0, 2, 2, 0]])
    channels = as_input(said, classes=3)[None]
    probabilities = torch.full((1, 3, 1, 4), 1 / 3)
    found = binned.bins(labels, probabilities, channels) % binned.SAYINGS
    assert found.tolist() == [[[1, 2, 1, 2]]]


def test_bins_of_volumes_are_those_of_their_slices_in_the_plane(binned: Any) -> None:
    flat = torch.zeros(1, 24, 24, dtype=torch.long)
    flat[:, 8:17, 5:15] = 1
    probabilities = torch.full((1, 2, 24, 24), 0.5)
    nothing = torch.zeros(1, 0, 24, 24)
    deep = binned.bins(
        flat[:, None].expand(1, 20, 24, 24),
        probabilities[:, :, None].expand(1, 2, 20, 24, 24),
        nothing[:, :, None].expand(1, 0, 20, 24, 24),
    )
    expected = binned.bins(flat, probabilities, nothing)
    assert all(torch.equal(plane, expected[0]) for plane in deep[0])


def learnt(binned: Any, price: Tensor, numbers: Tensor, *, steps: int = 200) -> Tensor:
    """Log weights after some steps in which every label has a price, with noise."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.zeros(1, 2, 32, 32)
    labels = torch.zeros(1, 32, 32, dtype=torch.long)
    table = binned.Learnt(4)
    for _ in range(steps):
        noise = 0.1 * torch.randn(price.shape, generator=generator)
        derivative = torch.stack([-(price + noise), price + noise], dim=1)
        table.note(binned.bin_prices(logits, derivative, labels, numbers, table.weights))
    found: Tensor = table.weights.log()
    return found


def test_weights_stay_equal_where_all_prices_are(binned: Any) -> None:
    numbers = torch.arange(32 * 32).reshape(1, 32, 32) % 4
    found = learnt(binned, torch.ones(1, 32, 32), numbers)
    assert found.abs().max() < binned.STRENGTH / 2
    table = binned.Learnt(4)
    assert (table.weights.log() == 0).all()


def test_labels_that_the_clean_slices_object_to_lose_their_weight(binned: Any) -> None:
    numbers = torch.arange(32 * 32).reshape(1, 32, 32) % 4
    price = torch.where(numbers == 2, -0.2, 0.2)
    found = learnt(binned, price, numbers)
    assert found[2] < -0.9 * binned.STRENGTH
    assert (found[[0, 1, 3]].abs() < binned.STRENGTH / 2).all()


def test_labels_count_by_how_often_those_of_their_bin_are_right(binned: Any) -> None:
    numbers = torch.arange(3).repeat(1000)
    right = (numbers == 0) | ((numbers == 1) & (torch.arange(3000) % 2 == 0))
    known = binned.Known(4)
    for _ in range(5):
        known.note(numbers, right)
    always, half, never, unseen = known.weights.tolist()
    assert always == pytest.approx(1, abs=0.01)
    assert half < 0.05
    assert never == pytest.approx(half, abs=0.05)
    assert unseen == 1

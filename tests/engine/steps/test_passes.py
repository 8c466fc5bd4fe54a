"""Passes in chunks give what passes of the whole batch give."""

import math

import pytest
import torch
from torch import Tensor, nn

from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.losses import clean_loss
from napari_mlbseg.engine.nets.model import as_model
from napari_mlbseg.engine.nets.network import build_network
from napari_mlbseg.engine.nets.teacher import copy_of
from napari_mlbseg.engine.nets.views import VIEWS
from napari_mlbseg.engine.steps import chunks as chunks_module
from napari_mlbseg.engine.steps.base_model import clean_gradient
from napari_mlbseg.engine.steps.chunks import chunks
from napari_mlbseg.engine.steps.meta_weights import logit_derivative
from napari_mlbseg.engine.steps.passes import Recorded, forward
from napari_mlbseg.engine.steps.update import BootstrapGradient, bootstrap_gradient
from napari_mlbseg.engine.steps.weighting.rules import RULES

IMAGE = 32 * 32


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return build_network("unet", channels=1, classes=3).double()


def batch(count: int, *, seed: int) -> Batch:
    torch.manual_seed(seed)
    shape = (count, 32, 32)
    return Batch(torch.randn(count, 1, 32, 32, dtype=torch.float64), torch.randint(-1, 3, shape))


def set_chunk(monkeypatch: pytest.MonkeyPatch, images: int) -> None:
    monkeypatch.setattr(chunks_module, "CHUNK_PIXELS", images * IMAGE)


def assert_same(ours: dict[str, Tensor], whole: dict[str, Tensor]) -> None:
    largest = max(float(g.abs().max()) for g in whole.values())
    for name in whole:
        assert float((ours[name] - whole[name]).abs().max()) <= 1e-12 * largest


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize("pixels", [64, 100, 400, 10_000])
def test_no_chunk_is_a_lone_image_or_much_too_large(
    count: int, pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks_module, "CHUNK_PIXELS", pixels)
    images = torch.arange(count * 2 * 100.0).reshape(count, 2, 10, 10)
    parts = chunks(images)
    assert torch.cat(parts).equal(images)
    assert min(map(len, parts)) >= min(2, count)
    assert max(map(len, parts)) <= max(3, math.ceil(pixels / 100))


def test_a_gpu_gets_its_batch_whole() -> None:
    elsewhere = torch.zeros(4096, 1, 32, 32, device="meta")
    assert [len(part) for part in chunks(elsewhere)] == [4096]


def test_clean_gradient_in_chunks_is_that_of_the_whole_batch(
    monkeypatch: pytest.MonkeyPatch, network: nn.Module
) -> None:
    clean, model = batch(5, seed=1), as_model(network)
    point = dict(network.named_parameters())
    loss = clean_loss(model(point, clean.images), clean.labels)
    whole = dict(zip(point, torch.autograd.grad(loss, list(point.values())), strict=True))
    set_chunk(monkeypatch, 2)
    found, found_loss = clean_gradient(model, point, clean.images, clean.labels)
    assert_same(found, whole)
    torch.testing.assert_close(found_loss, loss.detach(), rtol=1e-12, atol=0)


def test_logits_and_their_derivative_in_chunks_are_those_of_the_whole_batch(
    monkeypatch: pytest.MonkeyPatch, network: nn.Module
) -> None:
    images, model = batch(5, seed=2).images, as_model(network)
    point = copy_of(dict(network.named_parameters()))
    direction = {n: torch.randn_like(p) for n, p in point.items()}
    whole = torch.func.jvp(lambda p: model(p, images), (point,), (direction,))
    set_chunk(monkeypatch, 2)
    found = logit_derivative(model, point, direction, images)
    for ours, theirs in zip(found, whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12 * float(theirs.abs().max()))
    torch.testing.assert_close(forward(model, point, images), whole[0])


def test_shares_of_unequal_parts_are_their_own_gradients_and_add_up(network: nn.Module) -> None:
    images, model = batch(5, seed=6).images, as_model(network)
    point = dict(network.named_parameters())
    parts = torch.split(images, [2, 1, 2])
    seen = Recorded.forward(model, point, parts)
    cotangent = torch.randn_like(seen.logits())
    whole = seen.pull_back(cotangent, once_more=True)
    shares = seen.shares(cotangent)
    assert_same({n: torch.stack([s[n] for s in shares]).sum(dim=0) for n in point}, whole)
    second = (model(point, parts[1]) * cotangent[2:3]).sum()
    own = torch.autograd.grad(second, list(point.values()))
    assert_same(shares[1], dict(zip(point, own, strict=True)))


@pytest.mark.parametrize("weights", ["meta", "published", "uniform", "none"])
def test_a_step_in_chunks_is_the_step_of_the_whole_batch(
    monkeypatch: pytest.MonkeyPatch, network: nn.Module, weights: str
) -> None:
    def step() -> BootstrapGradient:
        student = dict(network.named_parameters())
        torch.manual_seed(3)
        return bootstrap_gradient(
            as_model(network),
            student,
            batch(2, seed=4),
            batch(3, seed=5),
            views=[VIEWS["identity"], VIEWS["flip_x"], VIEWS["zoom_in"]],
            weighting=RULES[weights],
            learning_rate=1e-2,
            consistency=1.0,
            clean_step=True,
            teacher={n: 1.1 * p.detach() for n, p in student.items()},
            teacher_noise=0.1 * torch.randn(6, 1, 32, 32, dtype=torch.float64),
        )

    whole = step()
    set_chunk(monkeypatch, 1)
    ours = step()
    assert_same(dict(ours.gradient), dict(whole.gradient))
    for name, loss in whole.losses.items():
        torch.testing.assert_close(ours.losses[name], loss, rtol=1e-12, atol=0)

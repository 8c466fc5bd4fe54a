"""In bfloat16 the network computes nearly the same, and everything around it stays in float32."""

import pytest
import torch
from torch import Tensor

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.nets.device import choose_precision
from napari_mlbseg.engine.nets.model import as_model
from napari_mlbseg.engine.nets.network import build_network
from napari_mlbseg.engine.steps.base_model import clean_gradient
from napari_mlbseg.engine.steps.meta_weights import label_prices, logit_derivative
from napari_mlbseg.errors import UserError

CPU = torch.device("cpu")


@pytest.mark.parametrize("can", ["avx512_bf16", "amx_bf16"])
def test_a_processor_that_multiplies_bfloat16_is_used_that_way(
    monkeypatch: pytest.MonkeyPatch, can: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {can: True})
    assert choose_precision("auto", CPU) is torch.bfloat16
    assert choose_precision("float32", CPU) is torch.float32


def test_another_processor_computes_in_float32_unless_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert choose_precision("auto", CPU) is torch.float32
    assert choose_precision("bfloat16", CPU) is torch.bfloat16


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(UserError, match="float16"):
        Config(precision="float16")  # type: ignore[arg-type]


def test_gradients_and_prices_in_bfloat16_are_nearly_those_in_float32() -> None:
    torch.manual_seed(0)
    network = build_network("unet", channels=1, classes=3)
    parameters = dict(network.named_parameters())
    images, labels = torch.randn(4, 1, 64, 64), torch.randint(0, 3, (4, 64, 64))
    exact, lower = (as_model(network, p) for p in (torch.float32, torch.bfloat16))
    logits = lower(parameters, images).detach()
    assert logits.dtype is torch.float32
    assert 0 < float((logits - exact(parameters, images).detach()).abs().max()) < 0.2

    gradient, _ = clean_gradient(exact, parameters, images, labels)
    rough, _ = clean_gradient(lower, parameters, images, labels)
    assert {g.dtype for g in rough.values()} == {torch.float32}
    assert _cosine(torch.cat([rough[n].flatten() for n in gradient]), _flat(gradient)) > 0.99

    prices = label_prices(*logit_derivative(exact, parameters, gradient, images))
    roughly = label_prices(*logit_derivative(lower, parameters, gradient, images))
    assert _cosine(roughly.flatten(), prices.flatten()) > 0.99


def _flat(gradient: dict[str, Tensor]) -> Tensor:
    return torch.cat([g.flatten() for g in gradient.values()])


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0))


@pytest.mark.parametrize("depth", [16, 32, pytest.param(48, marks=pytest.mark.slow)])
def test_gradients_of_thin_volumes_in_bfloat16_use_no_uninitialised_memory(depth: int) -> None:
    torch.manual_seed(0)
    network = build_network("unet", channels=1, classes=2, dims=3)
    parameters = dict(network.named_parameters())
    images, labels = torch.randn(1, 1, depth, 32, 32), torch.randint(0, 2, (1, depth, 32, 32))
    exact, lower = (as_model(network, p) for p in (torch.float32, torch.bfloat16))
    wanted, _ = clean_gradient(exact, parameters, images, labels)
    for _ in range(3):
        _leave_nan_in_freed_memory()
        found, _ = clean_gradient(lower, parameters, images, labels)
        for name in (n for n in wanted if n.endswith("conv.weight")):
            assert _cosine(found[name].flatten(), wanted[name].flatten()) > 0.8, name


def _leave_nan_in_freed_memory() -> None:
    sizes = (128 * 128 * 27, 64 * 128 * 27, 64 * 64 * 27, 32 * 64 * 27, 20_000, 100_000)
    left = [torch.full((n,), torch.nan, dtype=torch.bfloat16) for n in sizes for _ in range(3)]
    left.clear()

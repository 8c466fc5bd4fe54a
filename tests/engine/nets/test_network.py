import pytest
import torch
from torch import Tensor, nn

from napari_mlbseg.engine.nets import network
from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.model import as_model
from napari_mlbseg.engine.nets.network import build_network, count_parameters, sound
from napari_mlbseg.engine.nets.teacher import copy_of
from napari_mlbseg.engine.nets.views import VIEWS
from napari_mlbseg.engine.steps.meta_weights import logit_derivative
from napari_mlbseg.engine.steps.update import bootstrap_gradient
from napari_mlbseg.engine.steps.weighting.rules import RULES


@pytest.mark.parametrize(
    ("name", "large", "millions"),
    [("unet", False, 0.6), ("unet", True, 4.4), ("unet++", False, 36.6)],
)
def test_every_network_can_be_bootstrapped(name: str, large: bool, millions: float) -> None:
    torch.manual_seed(0)
    network = build_network(name, channels=3, classes=4, large=large)
    assert count_parameters(network) / 1e6 == pytest.approx(millions, rel=0.1)
    student = dict(network.named_parameters())
    batch = Batch(torch.randn(1, 3, 32, 32), torch.randint(0, 4, (1, 32, 32)))
    found = bootstrap_gradient(
        as_model(network),
        student,
        batch,
        batch,
        views=[VIEWS["identity"], VIEWS["flip_x"]],
        weighting=RULES["meta"],
        learning_rate=1e-3,
        consistency=1.0,
        clean_step=True,
        teacher=copy_of(student),
        teacher_noise=torch.zeros(2, 3, 32, 32),
    )
    assert as_model(network)(student, batch.images).shape == (1, 4, 32, 32)
    assert set(found.gradient) == set(student)
    moved = sum(bool(g.abs().max() > 0) for g in found.gradient.values())
    assert moved > 0.9 * len(student)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_norm_in_elementary_operations_is_the_norm(
    dims: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its derivative along a direction, too, in float32 and (in type at least) in bfloat16."""
    torch.manual_seed(dims)
    net = build_network("unet", channels=1, classes=3, dims=dims)
    point = dict(net.named_parameters())
    direction = {name: torch.randn_like(value) for name, value in point.items()}
    images = torch.randn(2, 1, *(32,) * dims)
    exact = logit_derivative(as_model(net), point, direction, images)
    asked: list[Tensor] = []

    def plain_here(x: Tensor) -> bool:
        asked.append(x)
        return True

    monkeypatch.setattr(network, "_needs_plain", plain_here)
    for plain, native in zip(
        logit_derivative(as_model(net), point, direction, images), exact, strict=True
    ):
        # On the mean: at a kink of the activation a lone derivative may take the other slope.
        assert float((plain - native).abs().mean()) <= 1e-4 * float(native.abs().max())
    assert asked
    layer = sound(nn.InstanceNorm2d(4, affine=True)).bfloat16()
    value = torch.randn(2, 4, 8, 8).bfloat16()
    found, tangent = torch.func.jvp(  # type: ignore[misc]
        lambda x: layer(x), (value,), (torch.ones_like(value),)
    )
    assert found.dtype is tangent.dtype is torch.bfloat16


def test_only_forward_mode_in_bfloat16_on_cuda_needs_it() -> None:
    (layer,) = sound(nn.Sequential(nn.InstanceNorm3d(2, affine=True))).children()
    assert type(layer) is not nn.InstanceNorm3d
    assert isinstance(layer.eps, float)
    images = torch.randn(1, 2, 4, 4, 4)
    with torch.no_grad():
        assert torch.equal(layer(images), nn.functional.instance_norm(images, eps=layer.eps))
        assert not network._needs_plain(images.bfloat16())

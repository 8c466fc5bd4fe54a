import pytest
import torch

from napari_mlbseg.engine.nets.network import build_network, count_parameters
from napari_mlbseg.engine.nets.teacher import copy_of
from napari_mlbseg.engine.nets.views import VIEWS
from napari_mlbseg.engine.state import as_model
from napari_mlbseg.engine.steps.update import Batch, bootstrap_gradient


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
        weights="meta",
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

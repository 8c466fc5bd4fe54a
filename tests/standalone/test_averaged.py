"""The exported average over views, against the engine's."""

import pytest
import torch

from napari_mlbseg.engine.nets.model import as_model
from napari_mlbseg.engine.nets.network import build_network
from napari_mlbseg.engine.nets.views import averaged_views
from napari_mlbseg.engine.steps.predict import probabilities
from napari_mlbseg.standalone.averaged import ViewAveraged

ZOOMS = ("identity", "zoom_in", "zoom_out")


@pytest.mark.parametrize("views", [("identity",), ZOOMS, (*ZOOMS, "flip_x"), ("flip_y", "zoom_in")])
@pytest.mark.parametrize("space", [(64, 48), (128, 128), (16, 32, 48)])
def test_what_the_engine_averages_over(views: tuple[str, ...], space: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = build_network("unet", channels=1, classes=3, dims=len(space)).eval()
    images = 2 * torch.randn(2, 1, *space)
    wanted = averaged_views(views)
    ours = probabilities(as_model(network), dict(network.named_parameters()), images, views=wanted)
    with torch.no_grad():
        found = ViewAveraged(network, [v.name for v in wanted], (space[-2], space[-1]))(images)
        alone = network(images).softmax(dim=1)
    assert (found - ours).abs().max() <= 1e-5
    assert len(wanted) == 1 or (ours - alone).abs().max() > 1e-3, "the views say something else"

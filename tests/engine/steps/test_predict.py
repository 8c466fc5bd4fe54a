"""Maps for the eye: the same passes make prediction, weights and trust."""

import torch
from torch import nn

from napari_mlbseg.engine.nets.model import as_model
from napari_mlbseg.engine.nets.views import VIEWS
from napari_mlbseg.engine.steps.meta_weights import (
    LOOK_AHEAD,
    confidence,
    logit_derivative,
    tilted_probabilities,
)
from napari_mlbseg.engine.steps.predict import look_ahead, probabilities, relative_weights


def network_and_direction() -> tuple[nn.Module, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 3, 1)).double()
    return network, {n: torch.randn_like(p) for n, p in network.named_parameters()}


def test_confidence_on_the_way_to_the_derivative_is_the_prediction() -> None:
    network, direction = network_and_direction()
    model, parameters = as_model(network), dict(network.named_parameters())
    images = torch.randn(2, 1, 12, 12).double()
    views = [VIEWS[name] for name in ("identity", "flip_x", "zoom_in")]
    (found,) = look_ahead(model, parameters, direction, images, views=views, scores=[confidence])
    expected = probabilities(model, parameters, images, views=views)
    torch.testing.assert_close(found, expected)


def test_averaged_probabilities_are_tilted_by_the_derivative_of_the_identity_view() -> None:
    network, direction = network_and_direction()
    model, parameters = as_model(network), dict(network.named_parameters())
    images = torch.randn(2, 1, 12, 12).double()
    views = [VIEWS["identity"], VIEWS["flip_x"]]
    (found,) = look_ahead(
        model, parameters, direction, images, views=views, scores=[tilted_probabilities]
    )
    average = probabilities(model, parameters, images, views=views)
    derivative = logit_derivative(model, parameters, direction, images)[1]
    tilted = average * (-LOOK_AHEAD * derivative).exp()
    torch.testing.assert_close(found, tilted / tilted.sum(dim=1, keepdim=True))


def test_relative_weights_are_multiples_of_the_mean_where_there_is_an_image() -> None:
    torch.manual_seed(0)
    valid = torch.ones(2, 6, 5, dtype=torch.bool)
    valid[:, :2] = False
    maps = [torch.rand(2, 6, 5) * valid for _ in range(2)]
    found = relative_weights(*maps, valid=valid)
    for one, scaled in zip(
        found, relative_weights(*(7 * m for m in maps), valid=valid), strict=True
    ):
        torch.testing.assert_close(one, scaled)
        assert (one[~valid] == 1).all()
    means = torch.stack([m[valid].reshape(2, -1).mean(dim=1) for m in found]).mean(dim=0)
    torch.testing.assert_close(means, torch.ones(2))

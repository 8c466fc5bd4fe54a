"""What the clean slices agree on: the shrinkage against simulation, and the length of the step."""

import pytest
import torch

from napari_mlbseg.engine.nets.model import as_model
from napari_mlbseg.engine.nets.network import build_network
from napari_mlbseg.engine.steps.base_model import clean_gradient, clean_shares
from napari_mlbseg.engine.steps.clean_direction import agreement, clean_direction, mean_gradient


def test_agreement_is_the_share_of_the_mean_that_the_groups_have_in_common() -> None:
    torch.manual_seed(0)
    common, groups, size = 0.5, 8, 200_000
    gradients = [common + torch.randn(size, dtype=torch.float64) for _ in range(groups)]
    expected = common**2 / (common**2 + 1 / groups)  # |E g|^2 over the expectation of |g|^2
    assert float(agreement(gradients)) == pytest.approx(expected, rel=0.02)


def test_what_is_only_noise_counts_for_nothing_on_average() -> None:
    torch.manual_seed(1)
    found = torch.stack(
        [agreement(list(torch.randn(8, 50, dtype=torch.float64))) for _ in range(500)]
    )
    assert float(found.mean()) < 0.15
    assert float((found == 0).double().mean()) > 0.4


def test_gradients_that_cancel_agree_on_nothing_and_equal_ones_on_everything() -> None:
    gradient = torch.randn(5, 3, dtype=torch.float64)
    assert float(agreement([gradient, -gradient])) == 0
    assert float(agreement([gradient, gradient, gradient])) == pytest.approx(1)
    assert float(agreement([gradient])) == 0


def test_the_direction_does_not_depend_on_the_scale_of_the_gradients_parameters_or_loss() -> None:
    torch.manual_seed(2)
    gradients = [
        {"a": 1 + torch.randn(4, 4).double(), "b": 2 + torch.randn(3).double()} for _ in range(4)
    ]
    direction = clean_direction(gradients, torch.tensor(0.7).double())
    # Parameters counted in halves: gradients double, steps along them halve.
    doubled = [{n: 2 * g for n, g in group.items()} for group in gradients]
    halved = clean_direction(doubled, torch.tensor(0.7).double())
    for name, step in direction.items():
        torch.testing.assert_close(halved[name], step / 2)


def test_where_all_agree_the_linearised_loss_vanishes_at_the_full_step() -> None:
    gradient = {"a": torch.randn(4, 4).double(), "b": torch.randn(3).double()}
    loss = torch.tensor(0.7).double()
    direction = clean_direction([gradient, gradient], loss)
    fall = torch.stack([(gradient[n] * direction[n]).sum() for n in gradient]).sum()
    torch.testing.assert_close(fall, loss)


def test_one_tensor_may_be_noise_while_another_is_agreed_on() -> None:
    noise = torch.randn(6).double()
    gradients = [{"agreed": torch.ones(3).double(), "noise": sign * noise} for sign in (1.0, -1.0)]
    direction = clean_direction(gradients, torch.tensor(1.0).double())
    assert (direction["noise"] == 0).all()
    torch.testing.assert_close(direction["agreed"], torch.full((3,), 1 / 3).double())
    assert mean_gradient(gradients)["agreed"].equal(torch.ones(3).double())


def test_the_shares_of_the_groups_average_to_the_gradient_of_the_whole_batch() -> None:
    torch.manual_seed(4)
    network = build_network("unet", channels=1, classes=3).double()
    model, parameters = as_model(network), dict(network.named_parameters())
    images, labels = torch.randn(6, 1, 32, 32).double(), torch.randint(0, 3, (6, 32, 32))
    shares, loss = clean_shares(model, parameters, images, labels)
    whole, expected = clean_gradient(model, parameters, images, labels)
    assert len(shares) > 2
    torch.testing.assert_close(loss, expected)
    for name, mean in mean_gradient(shares).items():
        torch.testing.assert_close(mean, whole[name])

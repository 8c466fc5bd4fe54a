import math

import pytest
import torch
from torch import Tensor

from napari_mlbseg.engine.nets.labels import IGNORE
from napari_mlbseg.engine.nets.sampling import compose, invert
from napari_mlbseg.engine.nets.views import (
    IDENTITY,
    VIEWS,
    apply_view,
    apply_view_to_labels,
    carry,
)
from napari_mlbseg.engine.steps.pseudo_labels import (
    average_prediction,
    pseudo_labels,
    view_disagreement,
)


def smooth(*shape: int) -> Tensor:
    """Two channels of long waves, which resampling hardly blurs."""
    axes = [torch.linspace(0, math.pi, n, dtype=torch.float64) for n in shape]
    mesh = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([sum((torch.sin(m + i) for m in mesh), torch.zeros(())) for i in range(2)])[
        None
    ]


@pytest.mark.parametrize("shape", [(48, 64), (6, 48, 64)])
@pytest.mark.parametrize("name", VIEWS)
def test_inverse_of_every_view(name: str, shape: tuple[int, ...]) -> None:
    images = smooth(*shape)
    there = apply_view(VIEWS[name], images)
    back, known = carry(there, source=VIEWS[name], target=IDENTITY)
    inside = known.expand_as(images) > 0
    assert inside.double().mean() > 0.6
    # the waves are 4 high: what is left is the blur of two linear interpolations
    assert (back - images)[inside].abs().max() < 0.05
    if name != "identity":
        assert (there - images).abs().max() > 0.1


@pytest.mark.parametrize("name", VIEWS)
def test_the_planes_of_a_volume_are_seen_alike(name: str) -> None:
    torch.manual_seed(0)
    view, volume = VIEWS[name], torch.randn(2, 3, 4, 20, 16, dtype=torch.float64)
    labels = torch.randint(-1, 3, (2, 4, 20, 16))
    seen, of_labels = apply_view(view, volume), apply_view_to_labels(view, labels, volume)
    carried, known = carry(volume, source=view, target=VIEWS["zoom_out"])
    for z in range(4):
        plane = volume[:, :, z]
        torch.testing.assert_close(seen[:, :, z], apply_view(view, plane))
        assert of_labels[:, z].equal(apply_view_to_labels(view, labels[:, z], plane))
        moved, there = carry(plane, source=view, target=VIEWS["zoom_out"])
        torch.testing.assert_close(carried[:, :, z], moved)
        assert known[:, :, z].equal(there)


@pytest.mark.parametrize("name", VIEWS)
def test_the_inverse_matrix_undoes_the_view(name: str) -> None:
    matrix = VIEWS[name].matrix(torch.float64)
    identity = torch.eye(2, 3, dtype=torch.float64)[None]
    torch.testing.assert_close(compose(invert(matrix), matrix), identity, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["identity", "flip_x", "flip_y"])
def test_flips_are_exact_even_on_noise(name: str) -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 16, 20, dtype=torch.float64)
    back, known = carry(apply_view(VIEWS[name], images), source=VIEWS[name], target=IDENTITY)
    torch.testing.assert_close(back, images, rtol=0, atol=1e-12)
    assert (known == 1).all()


def test_flips_mirror_the_axis_of_their_name() -> None:
    images = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(apply_view(VIEWS["flip_x"], images), images.flip(-1))
    torch.testing.assert_close(apply_view(VIEWS["flip_y"], images), images.flip(-2))


def test_zooming_in_hides_the_border_and_says_so() -> None:
    images = smooth(40, 40)
    _, known = carry(apply_view(VIEWS["zoom_in"], images), source=VIEWS["zoom_in"], target=IDENTITY)
    assert known[0, 0, 20, 20] == 1
    assert known[0, 0, 1, 1] == 0
    assert known.mean() == pytest.approx(0.64, abs=0.03)


def test_zooming_out_shows_labels_to_ignore_around_the_image() -> None:
    labels = torch.ones(1, 40, 40, dtype=torch.long)
    seen = apply_view_to_labels(VIEWS["zoom_out"], labels, smooth(40, 40))
    assert seen[0, 20, 20] == 1
    assert seen[0, 0, 0] == IGNORE


def test_average_of_the_same_prediction_is_that_prediction() -> None:
    images = smooth(48, 48)
    views = list(VIEWS.values())
    seen = [apply_view(v, images) for v in views]
    average, count = average_prediction(views, seen)
    middle = (..., slice(8, -8), slice(8, -8))
    assert (average - images)[middle].abs().max() < 0.02
    assert count.min() >= 1
    assert count.max() == len(views)


def test_pseudo_labels_of_each_view_show_the_same_anatomy() -> None:
    truth = (smooth(64, 64)[:, :1] > 1.2).long().squeeze(1)
    probabilities = torch.nn.functional.one_hot(truth, 2).movedim(-1, 1).double()
    views = list(VIEWS.values())
    found = pseudo_labels(views, [apply_view(v, probabilities) for v in views])
    for view, labels in zip(views, found, strict=True):
        expected = apply_view_to_labels(view, truth, probabilities)
        both = (labels != IGNORE) & (expected != IGNORE)
        assert (labels == expected)[both].double().mean() > 0.97


def test_disagreement_vanishes_when_views_agree_and_reaches_every_view() -> None:
    images = smooth(48, 48)
    views = [VIEWS["identity"], VIEWS["flip_x"], VIEWS["flip_y"]]
    agreeing = [apply_view(v, images) for v in views]
    assert view_disagreement(views, agreeing) < 1e-20
    torch.manual_seed(0)
    noisy = [(p + 0.1 * torch.randn_like(p)).requires_grad_() for p in agreeing]
    view_disagreement(views, noisy).backward()  # type: ignore[no-untyped-call]
    norms = [p.grad.norm() for p in noisy if p.grad is not None]
    assert len(norms) == len(views)
    assert max(norms) < 2 * min(norms)

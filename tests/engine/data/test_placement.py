"""Samples are turned and zoomed, and mirrored only where a structure is found on either side."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_study import QUICK, Phantoms
from torch import Tensor

from napari_mlbseg.engine.config import Config, ViewName, WantedDimensions
from napari_mlbseg.engine.data.choose import choose_source
from napari_mlbseg.engine.data.placement import random_turn
from napari_mlbseg.engine.nets.views import averaged_views


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("mirrored", [(False, False), (True, False), (False, True), (True, True)])
def test_only_the_axes_asked_for_are_mirrored(dims: int, mirrored: tuple[bool, bool]) -> None:
    turns = random_turn(200, torch.Generator().manual_seed(0), dims=dims, mirrored=mirrored)
    along = torch.diagonal(turns, dim1=1, dim2=2)  # turned by 20 degrees at most, the sign stays
    shares = (along < 0).float().mean(dim=0)
    for axis, share in enumerate(shares.tolist()):
        if axis < 2 and mirrored[axis]:
            assert 0.4 < share < 0.6
        else:
            assert share == 0


@pytest.mark.parametrize("dimensions", ["2d", "3d"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_samples_are_mirrored_where_a_mirrored_view_is_among_the_views(
    rough_phantoms: Phantoms, dimensions: WantedDimensions, mirrored: bool
) -> None:
    # The initial labels lie to the right of what they are of.
    views: tuple[ViewName, ...] = ("identity", "flip_x") if mirrored else ("identity",)
    config = replace(QUICK, dimensions=dimensions, views=views)
    _, source = choose_source(rough_phantoms.study, config, torch.device("cpu"))
    batch = source.noisy_batch(24, torch.Generator().manual_seed(0))
    to_the_right = [
        _middle(labels > 0) > _middle(image[0] > 0.5)
        for image, labels in zip(batch.images, batch.labels, strict=True)
        if (labels > 0).any() and (image > 0.5).any()
    ]
    share = np.mean(to_the_right)
    assert 0.2 < share < 0.8 if mirrored else share > 0.95


def _middle(where: Tensor) -> float:
    return float(where.nonzero()[:, -1].float().mean())


def test_predictions_are_averaged_over_zooms_and_mirrors_but_not_over_turns() -> None:
    names = [view.name for view in averaged_views(Config().views)]
    assert names == ["identity", "zoom_in", "zoom_out"]
    mirrored = averaged_views(("identity", "flip_x", "rotate_left"))
    assert [view.name for view in mirrored] == ["identity", "flip_x"]

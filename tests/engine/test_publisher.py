"""How often the network looks at what it publishes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from small_study import QUICK, make_phantoms
from torch import Tensor

from napari_mlbseg.engine.data.choose import choose_source
from napari_mlbseg.engine.data.source import Span
from napari_mlbseg.engine.nets.views import averaged_views
from napari_mlbseg.engine.publisher import Publisher
from napari_mlbseg.project.arrays import ArrayName


@pytest.mark.parametrize(
    ("dimensions", "hasty", "passes"),
    [("2d", False, 3), ("2d", True, 3), ("3d", False, 3), ("3d", True, 1)],
)
def test_only_a_hasty_look_at_a_volume_is_not_averaged_over_views(
    tmp_path: Path, dimensions: str, hasty: bool, passes: int
) -> None:
    seen: list[Tensor] = []

    def model(parameters: object, images: Tensor) -> Tensor:
        seen.append(images)
        return torch.cat([images[:, :1], -images[:, :1], images[:, :1]], dim=1)

    shape, spacing_mm = (16, 34, 32), (1.0, 1.0, 1.0)
    path = tmp_path / "solid.mlbseg"
    study = make_phantoms(path, cases=1, rough=True, shape=shape, spacing_mm=spacing_mm).study
    config = QUICK.from_dict(QUICK.to_dict() | {"dimensions": dimensions})
    _, source = choose_source(study, config, torch.device("cpu"))
    publisher = Publisher(study, source, model, views=averaged_views(config.views), weigh=None)
    case = study.cases[0]
    span = Span(case, case.axis, 5, 7)
    publisher.publish(span, parameters={}, direction=None, step=1, hasty=hasty)
    assert len(seen) == passes


@pytest.mark.parametrize("dimensions", ["2d", "3d"])
def test_equal_weights_are_equal_up_to_the_edge(tmp_path: Path, dimensions: str) -> None:
    def model(parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        return parameters["bias"] + 0 * images[:, :1].expand(-1, 3, *images.shape[2:])

    shape, spacing_mm = (16, 68, 60), (1.0, 1.0, 1.0)  # finer than the grid
    path = tmp_path / "solid.mlbseg"
    study = make_phantoms(path, cases=1, rough=True, shape=shape, spacing_mm=spacing_mm).study
    config = QUICK.from_dict(QUICK.to_dict() | {"dimensions": dimensions})
    _, source = choose_source(study, config, torch.device("cpu"))
    views = averaged_views(config.views)
    publisher = Publisher(study, source, model, views=views, weigh=lambda z, s: torch.ones_like(z))
    case, bias = study.cases[0], {"bias": torch.zeros(1)}
    publisher.publish(Span(case, case.axis, 0, 16), parameters=bias, direction=bias, step=1)
    for name in (ArrayName.META_WEIGHTS_INITIAL, ArrayName.META_WEIGHTS_PSEUDO):
        weights = np.asarray(study.array(case.id, name)[:], dtype=float)
        np.testing.assert_allclose(weights, 1.0, atol=2e-3)

"""How often the network looks at what it publishes."""

from pathlib import Path

import pytest
import torch
from small_study import QUICK, make_phantoms
from torch import Tensor

from napari_mlbseg.engine.data.choose import choose_source
from napari_mlbseg.engine.data.source import Span
from napari_mlbseg.engine.nets.views import averaged_views
from napari_mlbseg.engine.publisher import Publisher


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

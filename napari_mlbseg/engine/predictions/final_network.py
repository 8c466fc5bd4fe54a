"""The network that a study's last checkpoint holds, ready to predict the study's cases."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from napari_mlbseg.engine.data.grid import Grid, VolumeGrid, with_room_for
from napari_mlbseg.engine.data.patches import PatchSource
from napari_mlbseg.engine.data.slices import SliceSource
from napari_mlbseg.engine.data.source import Source
from napari_mlbseg.engine.nets.device import choose_device, choose_precision
from napari_mlbseg.engine.nets.model import Model, Parameters, as_model
from napari_mlbseg.engine.nets.views import VIEWS, View, averaged_views
from napari_mlbseg.engine.training.checkpoint import Checkpoint, read_checkpoint, settings_of
from napari_mlbseg.engine.training.untrained import check_trained
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.exporting.provenance import Maker, run_behind
from napari_mlbseg.project.study import Study


@dataclass(frozen=True)
class FinalNetwork:
    """What a published prediction is made with.

    Attributes
    ----------
    views
        Those that predictions are averaged over.
    source
        The cases of the study as this network sees them.
    """

    model: Model
    parameters: Parameters
    views: list[View]
    source: Source
    maker: Maker


def read_final_network(study: Study) -> FinalNetwork:
    """The network that published predictions are made with, built as the last checkpoint says.

    Cases that came later are seen at its resolution; the computer may be another one.

    Raises
    ------
    UserError
        If nothing was trained, if the checkpoint cannot be read, or if the classes are others now.
    """
    checkpoint = _read(study)
    fits = checkpoint.fits
    _require_classes(study, fits["class_values"])
    run = run_behind(study)
    settings = settings_of(run)
    device = _device(settings.get("device", "auto"))
    network = checkpoint.network(teacher=settings.get("teacher", True)).to(device)
    return FinalNetwork(
        as_model(network, choose_precision(settings.get("precision", "float32"), device)),
        dict(network.named_parameters()),
        averaged_views(settings.get("views", VIEWS)),
        _source(study, fits, device),
        Maker(checkpoint.sha256, run),
    )


def _read(study: Study) -> Checkpoint:
    check_trained(study)
    return read_checkpoint(study.checkpoint_path)


def _require_classes(study: Study, known: list[int]) -> None:
    now = [0, *(c.value for c in study.classes)]
    if list(known) != now:
        raise UserError(
            f"The network was trained for the classes {_listed(known)}, but the study has "
            f"{_listed(now)} now. Start the training again, then export."
        )


def _listed(values: list[int]) -> str:
    return ", ".join(str(value) for value in values if value)


def _device(wanted: str) -> torch.device:
    try:
        return choose_device(wanted)
    except UserError:  # trained on another computer
        return choose_device("auto")


def _source(study: Study, fits: Mapping[str, Any], device: torch.device) -> Source:
    if fits["dimensions"] == 3:
        grid = VolumeGrid(tuple(fits["size"]), tuple(fits["resolution_mm"]))
        return PatchSource(study, grid, device=device)
    plane = with_room_for(Grid(fits["size"], fits["resolution_mm"]), study.cases)
    return SliceSource(study, plane, context=fits["channels"] // 2, device=device)

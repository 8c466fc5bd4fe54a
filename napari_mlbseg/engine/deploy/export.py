"""Exports the trained model in any of the formats."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from monai.inferers import SlidingWindowInferer
from torch import nn

from napari_mlbseg.engine.deploy.bundle import tiling, write_bundle
from napari_mlbseg.engine.deploy.checked import require_same
from napari_mlbseg.engine.deploy.folder import (
    copy_standalone,
    new_folder,
    size_of,
    write_json,
    write_text,
)
from napari_mlbseg.engine.deploy.formats import ModelFormat
from napari_mlbseg.engine.deploy.graphs import write_exported, write_onnx
from napari_mlbseg.engine.deploy.readme import graph_readme
from napari_mlbseg.engine.deploy.trained import TrainedModel, read_trained, sample_grids
from napari_mlbseg.engine.nets.network import build_network
from napari_mlbseg.project.study import Study
from napari_mlbseg.standalone.averaged import ViewAveraged
from napari_mlbseg.standalone.bundle_parts import VolumeInferer
from napari_mlbseg.standalone.image import Grids, Model
from napari_mlbseg.standalone.predict import load_model

_GRAPH_PARTS = (
    "image.py",
    "sampling.py",
    "views.py",
    "slices.py",
    "volumes.py",
    "predict.py",
    "LICENSE",
)


@dataclass(frozen=True)
class ExportedModel:
    """An exported model that was checked against the engine.

    Attributes
    ----------
    folder
        The folder of the model.
    worst_difference
        Largest difference to the engine's probabilities, on a few slices of the study.
    size
        Size of all files in bytes.
    """

    folder: Path
    worst_difference: float
    size: int


def export_model(study: Study, wanted: ModelFormat, path: Path) -> ExportedModel:
    """Write the trained model of a study to a new folder and check it against the engine.

    Raises
    ------
    UserError
        If there is no model that can be exported, if `path` is taken, if packages are missing,
        or if the exported model's predictions differ from the engine's.
    """
    trained = read_trained(study)
    grids = sample_grids(study, trained.preparation)
    with new_folder(path) as folder:
        exported = _WRITERS[wanted](folder, trained)
        worst = require_same(trained, exported, grids, wanted.value)
        size = size_of(folder)
    return ExportedModel(path, worst, size)


def _bundle(folder: Path, trained: TrainedModel) -> Model:
    write_bundle(folder, trained)
    network: nn.Module = build_network(**trained.built)
    network.load_state_dict(torch.load(folder / "models" / "model.pt", weights_only=True))
    network.eval()

    def said(grids: Grids) -> Grids:
        images = torch.from_numpy(grids)
        with torch.no_grad():
            if trained.sees_volumes:
                tiled = SlidingWindowInferer(**tiling(trained))
                found = VolumeInferer(trained.views, tiled)(images, network)
            else:
                height, width = grids.shape[-2:]
                found = ViewAveraged(network, trained.views, (height, width))(images)
        return found.numpy()

    return said


def _graph(
    folder: Path, trained: TrainedModel, name: str, write: Callable[[Path, TrainedModel], None]
) -> Model:
    write(folder / name, trained)
    write_json(folder / "model.json", trained.description())
    copy_standalone(_GRAPH_PARTS, folder)
    write_text(folder / "README.md", graph_readme(trained, name))
    return load_model(folder)


def _torch_export(folder: Path, trained: TrainedModel) -> Model:
    return _graph(folder, trained, "model.pt2", write_exported)


def _onnx(folder: Path, trained: TrainedModel) -> Model:
    return _graph(folder, trained, "model.onnx", write_onnx)


_WRITERS = {
    ModelFormat.BUNDLE: _bundle,
    ModelFormat.TORCH_EXPORT: _torch_export,
    ModelFormat.ONNX: _onnx,
}

"""The network that a study's last checkpoint holds, ready to predict."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.data.grid import Grid, VolumeGrid, with_room_for
from napari_mlbseg.engine.data.patches import PatchSource
from napari_mlbseg.engine.data.slices import SliceSource
from napari_mlbseg.engine.data.source import Source
from napari_mlbseg.engine.nets.device import choose_device, choose_precision
from napari_mlbseg.engine.nets.model import Model, Parameters, as_model
from napari_mlbseg.engine.nets.views import VIEWS, View, averaged_views
from napari_mlbseg.engine.steps import predict
from napari_mlbseg.engine.training.checkpoint import Checkpoint, read_checkpoint
from napari_mlbseg.engine.training.design import NetworkDesign
from napari_mlbseg.engine.training.untrained import check_trained
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.catalogue.runs import RunRecord
from napari_mlbseg.project.exporting.provenance import Maker, run_behind
from napari_mlbseg.project.study import Study


@dataclass(frozen=True)
class TrainedNetwork:
    """What published predictions are made with.

    Attributes
    ----------
    network
        From ``batch channels *space`` to logits; not to be trained on.
    precision
        What it computes in.
    views
        Those that predictions are averaged over, the image itself among them.
    checkpoint
        Where it was read from.
    run
        The run that made it, where that is known.
    """

    network: nn.Module
    precision: torch.dtype
    views: list[View]
    checkpoint: Checkpoint
    run: RunRecord | None

    @property
    def design(self) -> NetworkDesign:
        """What it was built for."""
        return self.checkpoint.design

    @property
    def model(self) -> Model:
        """The network as a function of its parameters."""
        return as_model(self.network, self.precision)

    @property
    def parameters(self) -> Parameters:
        """Those that predictions are made with."""
        return dict(self.network.named_parameters())

    @property
    def maker(self) -> Maker:
        """What the provenance of an export names."""
        return Maker(self.checkpoint.sha256, self.run)

    def probabilities(
        self, images: Float[Tensor, "batch channels *space"], *, tile: tuple[int, ...] | None
    ) -> Float[Tensor, "batch classes *space"]:
        """Of each class, averaged over the views; tile by tile where `tile` is given."""
        return predict.probabilities(
            self.model, self.parameters, images, views=self.views, tile=tile
        )

    def source_for(self, study: Study) -> Source:
        """The cases of a study as this network sees them, at the resolution that it learnt.

        Raises
        ------
        UserError
            If the study has other classes than the network.
        """
        self._require_classes(study)
        sample, device = self.design.sample, next(self.network.parameters()).device
        if sample.dimensions == 3:
            (depth, height, width), (z, y, x) = sample.size, sample.resolution_mm
            return PatchSource(study, VolumeGrid((depth, height, width), (z, y, x)), device=device)
        plane = with_room_for(Grid(sample.size[0], sample.resolution_mm[0]), study.cases)
        return SliceSource(study, plane, context=sample.channels // 2, device=device)

    def _require_classes(self, study: Study) -> None:
        known, now = self.design.class_values, (0, *(c.value for c in study.classes))
        if known != now:
            raise UserError(
                f"The network was trained for the classes {_listed(known)}, but the study has "
                f"{_listed(now)} now. Start the training again, then export."
            )


def read_trained_network(
    study: Study, *, device: str | None = None, precision: str | None = None
) -> TrainedNetwork:
    """The network of the last checkpoint, as it is shown: the last one that did well.

    Parameters
    ----------
    device, precision
        None for those of the run that made it; where this computer lacks the device, the best that
        it has.

    Raises
    ------
    UserError
        If nothing was trained, or if the checkpoint cannot be read.
    """
    check_trained(study)
    checkpoint = read_checkpoint(study.checkpoint_path)
    run = run_behind(study)
    settings = Config().to_dict() if run is None else run.config
    place = _device(device or settings.get("device", "auto"))
    network = checkpoint.network(teacher=settings.get("teacher", True)).to(place).eval()
    return TrainedNetwork(
        network,
        choose_precision(precision or settings.get("precision", "float32"), place),
        averaged_views(settings.get("views", VIEWS)),
        checkpoint,
        run,
    )


def _device(wanted: str) -> torch.device:
    try:
        return choose_device(wanted)
    except UserError:  # trained on another computer
        return choose_device("auto")


def _listed(values: tuple[int, ...]) -> str:
    return ", ".join(str(value) for value in values if value)

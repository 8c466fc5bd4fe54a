"""The network of a study's latest checkpoint, ready to predict."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.data.grid import Grid, VolumeGrid, with_room_for
from napari_mlbseg.engine.data.patches import PatchSource
from napari_mlbseg.engine.data.slices import SliceSource
from napari_mlbseg.engine.data.source import CleanSlices, Source
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
    """The network used for predictions.

    Attributes
    ----------
    network
        Maps ``batch channels *space`` to logits; not for further training.
    precision
        Number format that it computes in.
    views
        Views that predictions are averaged over, including the identity view.
    checkpoint
        The checkpoint that it was read from.
    run
        The run that made it, if known.
    """

    network: nn.Module
    precision: torch.dtype
    views: list[View]
    checkpoint: Checkpoint
    run: RunRecord | None

    @property
    def design(self) -> NetworkDesign:
        """The design of the network."""
        return self.checkpoint.design

    @property
    def images_alone(self) -> bool:
        """Whether it predicts from images alone, although it was trained beside imported labels."""
        return bool(self.checkpoint.content.get("images_alone", False))

    @property
    def model(self) -> Model:
        """The network as a function of its parameters."""
        return as_model(self.network, self.precision)

    @property
    def parameters(self) -> Parameters:
        """The parameters of the network, by name."""
        return dict(self.network.named_parameters())

    @property
    def maker(self) -> Maker:
        """The checkpoint and run that the provenance of an export names."""
        return Maker(self.checkpoint.sha256, self.run)

    def probabilities(
        self, images: Float[Tensor, "batch channels *space"], *, tile: tuple[int, ...] | None
    ) -> Float[Tensor, "batch classes *space"]:
        """Class probabilities, averaged over the views; tile by tile if `tile` is given."""
        return predict.probabilities(
            self.model, self.parameters, images, views=self.views, tile=tile
        )

    def source_for(self, study: Study) -> Source:
        """The cases of a study as this network sees them, at the resolution of its training.

        Raises
        ------
        UserError
            If the study has other classes or channels than the network.
        """
        self._require_classes(study)
        self._require_channels(study)
        sample, device = self.design.sample, next(self.network.parameters()).device
        sees_labels = sample.label_channels > 0
        source: Source
        if sample.dimensions == 3:
            (depth, height, width), (z, y, x) = sample.size, sample.resolution_mm
            grid = VolumeGrid((depth, height, width), (z, y, x))
            source = PatchSource(study, grid, device=device, sees_labels=sees_labels)
        else:
            plane = with_room_for(Grid(sample.size[0], sample.resolution_mm[0]), study.cases)
            context = sample.slices // 2
            source = SliceSource(
                study, plane, context=context, device=device, sees_labels=sees_labels
            )
        source.use(CleanSlices(images_alone=self.images_alone))
        return source

    def _require_channels(self, study: Study) -> None:
        known, now = self.design.sample.channel_names, study.channels
        if known != now:
            raise UserError(
                f"The network was trained on the channels {', '.join(known)}, but the study has "
                f"{', '.join(now)}. Start the training again, then export."
            )

    def _require_classes(self, study: Study) -> None:
        known, now = self.design.class_values, (0, *sorted(c.value for c in study.classes))
        if known != now:
            raise UserError(
                f"The network was trained for the classes {_listed(known)}, but the study has "
                f"{_listed(now)} now. Start the training again, then export."
            )


def read_trained_network(
    study: Study, *, device: str | None = None, precision: str | None = None
) -> TrainedNetwork:
    """Read the network used for predictions from the latest checkpoint.

    Parameters
    ----------
    device, precision
        None for those of the run that made it; if this computer lacks that device, for the best
        one that it has.

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

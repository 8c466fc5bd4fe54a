"""The trained network of a study, with everything needed to use it elsewhere."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_mlbseg.engine.forecast import VALIDATION_DICE
from napari_mlbseg.engine.training.checkpoint import Checkpoint
from napari_mlbseg.engine.training.design import NetworkDesign
from napari_mlbseg.engine.training.trained_network import TrainedNetwork, read_trained_network
from napari_mlbseg.errors import UserError
from napari_mlbseg.former_names import with_former_names
from napari_mlbseg.project.arrays.store import CHANNELS, ArrayName
from napari_mlbseg.project.catalogue.runs import RunRecord
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.study import Study
from napari_mlbseg.standalone.averaged import ViewAveraged
from napari_mlbseg.standalone.image import Grids, Preparation
from napari_mlbseg.standalone.slices import Slices
from napari_mlbseg.standalone.volumes import on_grid

PERCENTILES = (0.5, 99.5)
"""The percentiles of `napari_mlbseg.project.records.cases.Intensity`."""
SAMPLE_SLICES = 4

INTENDED_USE = (
    "Research only, not for diagnosis. The model proposes labels for images of the kind that it "
    "was trained on (same body region, modality and protocol); a person has to check them."
)
LIMITATIONS = (
    "It learned from a few slices that a person corrected and from rough labels of the others. It "
    "was tested on the validation slices only. On other scanners, protocols, resolutions or "
    "diseases it may fail without warning."
)


@dataclass(frozen=True)
class TrainedModel:
    """A network with everything that prediction needs.

    Attributes
    ----------
    trained
        The network, on the CPU and in float32.
    preparation
        How images are prepared for the network.
    class_names
        Class names by the class index of the network.
    provenance
        Where the model comes from, as plain data for JSON; names no case, file or person.
    """

    trained: TrainedNetwork
    preparation: Preparation
    class_names: tuple[str, ...]
    provenance: Mapping[str, Any]

    @property
    def network(self) -> nn.Module:
        """Maps ``batch channels *space`` to logits."""
        return self.trained.network

    @property
    def built(self) -> Mapping[str, Any]:
        """The arguments that `build_network` was called with."""
        return self.trained.design.arguments | {"channels": self.preparation.channels}

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the views that predictions are averaged over, including the identity view."""
        return tuple(view.name for view in self.trained.views)

    @property
    def sees_volumes(self) -> bool:
        """Whether the network sees patches of volumes rather than slices."""
        return len(self.preparation.size) == 3

    @property
    def tensor_names(self) -> tuple[str, str]:
        """Names of the graph's input and output; for patches it gives logits, to be blended."""
        return ("patches", "logits") if self.sees_volumes else ("slices", "probabilities")

    def averaged(self) -> nn.Module:
        """A module from ``slices channels y x`` to class probabilities, averaged over views."""
        height, width = self.preparation.size
        return ViewAveraged(self.network, self.views, (height, width)).eval()

    def plugin_probabilities(
        self, images: Float[Tensor, "batch channels *space"]
    ) -> Float[Tensor, "batch classes *space"]:
        """The probabilities that the engine predicts for slices, or for a volume, on the grid."""
        tile = self.preparation.size if self.sees_volumes else None
        return self.trained.probabilities(images, tile=tile)

    def description(self) -> dict[str, Any]:
        """Everything except the weights, as plain data for JSON."""
        values = self.preparation.class_values
        return {
            "preparation": asdict(self.preparation),
            "views": list(self.views),
            "classes": [
                {"index": i, "value": value, "name": name}
                for i, (value, name) in enumerate(zip(values, self.class_names, strict=True))
            ],
            "channels": channel_meanings(self.preparation, self.class_names),
            "intended_use": INTENDED_USE,
            "limitations": LIMITATIONS,
            "provenance": with_former_names(self.provenance),
        }


def channel_meanings(preparation: Preparation, class_names: Sequence[str]) -> list[str]:
    """The meaning of each channel, in words."""
    sees_labels = preparation.label_channels > 0
    marked = [
        f"initial labels of {name}: 1 inside, -1 outside, 0 where there are none"
        for name in (class_names[1:] if sees_labels else ())
    ]
    context = preparation.slices // 2
    offsets = range(-context, context + 1)
    seen = ["the slice" if k == 0 else f"the slice {k:+d} along the slice axis" for k in offsets]
    if len(preparation.size) == 3:
        seen = ["the volume"]
    names = preparation.channel_names
    images = [f"{name}: {one}" for name in names for one in seen] if len(names) > 1 else seen
    return images + marked


def read_trained(study: Study) -> TrainedModel:
    """The model of the study's checkpoint; without label channels if it predicts without them.

    Raises
    ------
    UserError
        If there is no checkpoint, if it cannot be read or holds NaN, or if the cases are annotated
        along different axes.
    """
    trained = read_trained_network(study, device="cpu", precision="float32")
    design, names = trained.design, {0: "background"} | {c.value: c.name for c in study.classes}
    _require_finite(trained.network)
    if trained.images_alone:
        trained = replace(trained, network=_for_images_alone(trained.network, design))
        labels = 0
    else:
        labels = design.sample.label_channels
    return TrainedModel(
        trained,
        Preparation(
            size=design.sample.size,
            resolution_mm=design.sample.resolution_mm,
            channels=design.sample.image_channels + labels,
            label_channels=labels,
            class_values=design.class_values,
            axis=_axis(study),
            percentiles=PERCENTILES,
            channel_names=design.sample.channel_names,
        ),
        tuple(names.get(value, f"label {value}") for value in design.class_values),
        _provenance(study, trained.checkpoint, trained.run),
    )


def sample_grids(study: Study, preparation: Preparation) -> Grids:
    """Inputs to compare models on: a few slices, or two tiles, of the middle of a case.

    It is the first case, or the first that came with labels if the network sees them.
    """
    cases = study.cases
    case = next((c for c in cases if preparation.label_channels and c.labels_path), cases[0])
    geometry, axis = case.geometry, case.axis
    count = geometry.shape[axis]
    wanted = _sample_slices(preparation, geometry.spacing_mm[axis])
    first = max(0, (count - wanted) // 2)
    indices = range(first, min(first + wanted, count))
    volumes = [_stack(study, case, name, indices) for name in CHANNELS[: len(case.channels)]]
    initial: NDArray[Any] | None = None
    if preparation.label_channels and case.labels_path:
        initial = _stack(study, case, ArrayName.INITIAL_LABELS, indices)
    rows, columns = (mm for k, mm in enumerate(geometry.spacing_mm) if k != axis)
    affine = np.array([[0, 0, -columns], [0, -rows, 0], [geometry.spacing_mm[axis], 0, 0]])
    as_if_axial = Preparation(**{**asdict(preparation), "axis": "z"})
    if len(preparation.size) == 2:
        return Slices(volumes, affine, as_if_axial, initial).grids(0, len(indices))
    grid = on_grid(volumes, affine, as_if_axial, initial)
    _, height, width = preparation.size
    y, x = (grid.shape[-2] - height) // 2, (grid.shape[-1] - width) // 2
    return grid[..., y : y + height, x : x + width]


def _stack(study: Study, case: Case, name: ArrayName, indices: range) -> NDArray[Any]:
    """Slices along the axis of a case; zeros of a channel that it lacks."""
    if not study.arrays.has(case.id, name):
        return np.zeros((len(indices), *case.slice_shape(case.axis)), np.float32)
    return np.stack([study.arrays.read(case.id, name, case.axis, i) for i in indices])


def _sample_slices(preparation: Preparation, spacing_mm: float) -> int:
    """Slices to read; for volumes a tile and a half, which two overlapping tiles cover."""
    if len(preparation.size) == 2:
        return SAMPLE_SLICES
    return int(1.5 * preparation.size[0] * preparation.resolution_mm[0] / spacing_mm)


def _for_images_alone(network: nn.Module, design: NetworkDesign) -> nn.Module:
    """The network without its label channels, which hold zeros whenever it predicts."""
    sample = replace(design.sample, channels=design.sample.image_channels, label_channels=0)
    cut = replace(design, sample=sample).build()
    wanted = cut.state_dict()
    cut.load_state_dict(
        {
            name: values if values.shape == wanted[name].shape else values[:, : sample.channels]
            for name, values in network.state_dict().items()
        }
    )
    return cut.eval().requires_grad_(False)


def _require_finite(network: nn.Module) -> None:
    """Raise a UserError for a network with NaN or infinite numbers, before anything is written."""
    bad = [name for name, values in network.state_dict().items() if not values.isfinite().all()]
    if bad:
        raise UserError(
            f"The trained model holds NaN or infinite numbers (in {bad[0]}), because its training "
            "went wrong. They are never exported. Start the training afresh, then export again."
        )


def _axis(study: Study) -> str:
    """The axis along which images are sliced; for those of the study, the annotated axis."""
    cases = study.cases
    if all(case.axis == case.geometry.default_axis for case in cases):
        return "largest_spacing"
    axes = {case.axis for case in cases}
    if len(axes) > 1:
        raise UserError(
            "The cases of this study are annotated along different axes, so the model cannot know "
            "along which axis to slice a new image. Choose one axis for all cases."
        )
    return "zyx"[axes.pop()]


def _provenance(study: Study, checkpoint: Checkpoint, run: RunRecord | None) -> dict[str, Any]:
    content = checkpoint.content
    scores = study.runs.metrics(run.id, VALIDATION_DICE) if run else []
    return {
        "software": "napari-mlbseg",
        "software_version": version("napari-mlbseg"),
        "torch_version": torch.__version__,
        "method": "https://arxiv.org/abs/2307.11604",
        "checkpoint_sha256": checkpoint.sha256,
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "stage": content["stage"],
        "steps": checkpoint.steps,
        "cases": len(study.cases),
        "clean_slices": len(study.slices.teaching()),
        "validation_slices": len(content["validation"]),
        "validation_dice": scores[-1][1] if scores and math.isfinite(scores[-1][1]) else None,
        # A path may name a patient.
        "settings": {k: v for k, v in run.config.items() if k != "begin_with"} if run else {},
    }

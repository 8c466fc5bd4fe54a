"""An earlier model that a fresh training begins with: of another study, or an exported bundle."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from napari_mlbseg.engine.data.grid import SampleShape
from napari_mlbseg.engine.training.design import NetworkDesign
from napari_mlbseg.engine.training.trained_network import read_trained_network
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.channels import ONE_CHANNEL
from napari_mlbseg.project.study import SUFFIX, Study

_ALIKE = 1.05
"""Ratio of two pixel sizes up to which nobody needs to be told."""


@dataclass(frozen=True)
class EarlierModel:
    """A trained network, and what its channels and classes mean.

    Attributes
    ----------
    path
        The study or the folder that it was read from.
    design
        The design of the network.
    class_names
        Name of each class index; the first is the background.
    network
        The network used for predictions, on the CPU.
    """

    path: Path
    design: NetworkDesign
    class_names: tuple[str, ...]
    network: nn.Module

    def parameters_for(
        self, fresh: nn.Module, design: NetworkDesign, class_names: Sequence[str]
    ) -> dict[str, Tensor]:
        """Parameters to begin with, for a network of another design, by name.

        Classes are matched by name; those that the earlier model does not know keep the parameters
        of `fresh`. Channels are matched by meaning, see `_channels_from`.
        """
        inputs, outputs = _reading_images(design), _telling_classes(design)
        channels = _channels_from(self.design.sample, design.sample, self._names_from(class_names))
        rows = self._classes_from(class_names)
        known = self.network.state_dict()
        found = {}
        for name, value in fresh.state_dict().items():
            if name in inputs:
                found[name] = torch.einsum("oe...,ce->oc...", known[name], channels)
            elif name in outputs:
                each = [value[i] if row is None else known[name][row] for i, row in enumerate(rows)]
                found[name] = torch.stack([one.cpu() for one in each])
            else:
                found[name] = known[name]
        return found

    def knows(self, class_names: Sequence[str]) -> bool:
        """Whether it knows all of these classes (by class index), and can label them at once."""
        return None not in self._classes_from(class_names)

    def require_same_kind(self, design: NetworkDesign) -> None:
        """Raise a `UserError` if the parameters cannot be taken over into such a network."""
        theirs, ours = _kind(self.design), _kind(design)
        if theirs != ours:
            raise UserError(
                f"The model of {self.path} is a {theirs}, and the settings ask for a {ours}. Leave "
                "network and dimensions to choice (auto), or begin without it."
            )

    def told(self, design: NetworkDesign, class_names: Sequence[str]) -> str:
        """What a training with this design takes over, in words for the annotator."""
        said = [f"The training begins with the model of {self.path}."]
        rows = self._classes_from(class_names)
        new = [name for name, row in zip(class_names, rows, strict=True) if row is None]
        if len(new) == len(class_names) - 1:
            said.append("It knows none of the classes by name; all of them start from scratch.")
        elif new:
            said.append(f"It does not know {_listed(new)}, which starts from scratch.")
        theirs, ours = self.design.sample, design.sample
        apart = [a / b for a, b in zip(theirs.resolution_mm, ours.resolution_mm, strict=True)]
        if max(max(ratio, 1 / ratio) for ratio in apart) > _ALIKE:
            said.append(
                f"It was trained with pixels of {_mm(theirs)} mm; this study has {_mm(ours)} mm."
            )
        if theirs.slices != ours.slices:
            said.append(f"It saw {_slices(theirs)} at once; here the network sees {_slices(ours)}.")
        said += _told_channels(theirs.channel_names, ours.channel_names)
        if ours.label_channels and not theirs.label_channels:
            said.append("It saw no imported labels; it learns here how far to follow them.")
        return " ".join(said)

    def _classes_from(self, class_names: Sequence[str]) -> list[int | None]:
        """For each class index the one of the earlier model with the same name, if any."""
        known = {_same(name): index for index, name in enumerate(self.class_names) if index}
        return [0, *(known.get(_same(name)) for name in class_names[1:])]

    def _names_from(self, class_names: Sequence[str]) -> list[int | None]:
        """The same for the foreground classes alone, counted from 0, as label channels are."""
        return [None if row is None else row - 1 for row in self._classes_from(class_names)[1:]]


def read_earlier_model(path: Path) -> EarlierModel:
    """Read the model of another study, or of a bundle that `mlbseg model export` wrote.

    Raises
    ------
    UserError
        If there is neither, or if it cannot be read.
    """
    if (path / "configs" / "inference.json").is_file():
        return _of_bundle(path)
    if path.suffix == SUFFIX:
        with Study.open(path, writable=False) as study:
            trained = read_trained_network(study, device="cpu", precision="float32")
            names = {c.value: c.name for c in study.classes}
        values = trained.design.class_values
        shown = tuple(names.get(value, f"label {value}") if value else "" for value in values)
        return EarlierModel(path, trained.design, shown, trained.network)
    raise UserError(
        f"{path} is neither a study nor an exported model that a training can begin with. Choose a "
        f"folder NAME{SUFFIX}, or one that 'mlbseg model export --format bundle' wrote."
    )


def _of_bundle(folder: Path) -> EarlierModel:
    try:
        about = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
        workflow = json.loads((folder / "configs" / "inference.json").read_text(encoding="utf-8"))
        design = _design_of(workflow["network_def"], about["preparation"])
        network = design.build()
        weights = torch.load(folder / "models" / "model.pt", map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
        names = tuple(one["name"] if one["index"] else "" for one in about["classes"])
    except Exception as error:
        raise UserError(
            f"The model in {folder} cannot be read ({type(error).__name__}: {error}). Export it "
            "again with 'mlbseg model export --format bundle'."
        ) from error
    return EarlierModel(folder, design, names, network.requires_grad_(False))


def _design_of(built: dict[str, Any], preparation: dict[str, Any]) -> NetworkDesign:
    sample = SampleShape(
        preparation["channels"],
        tuple(preparation["size"]),
        tuple(preparation["resolution_mm"]),
        preparation.get("label_channels", 0),
        tuple(preparation.get("channel_names", (ONE_CHANNEL,))),
    )
    values = tuple(preparation["class_values"])
    return NetworkDesign(built["name"], built["large"], values, sample)


def _channels_from(
    theirs: SampleShape, ours: SampleShape, labels: Sequence[int | None]
) -> Float[Tensor, "ours theirs"]:
    """How much of each channel of an earlier model is heard in each channel of ours.

    Channels of studies are matched by name. Slices that are not seen any more are replaced by the
    slice itself, which looks much like its neighbours; neighbours, channels, and labels of classes,
    that were not seen before start with no say.
    """
    found = torch.zeros(ours.channels, theirs.channels)
    here, there = ours.slices, theirs.slices
    slices = torch.eye(here) if here == there else torch.zeros(here, there)
    if here != there:
        slices[here // 2] = 1
    for one, other in enumerate(_matched(theirs.channel_names, ours.channel_names)):
        if other is not None:
            rows = slice(one * here, (one + 1) * here)
            found[rows, other * there : (other + 1) * there] = slices
    if theirs.label_channels:
        for channel, known in enumerate(labels[: ours.label_channels]):
            if known is not None:
                found[ours.image_channels + channel, theirs.image_channels + known] = 1
    return found


def _matched(theirs: Sequence[str], ours: Sequence[str]) -> list[int | None]:
    """For each of our channels the one of the earlier model with the same name, if any.

    Where no name is the same, channels that are as many are matched in their order, and a single
    one is our first.
    """
    known = {_same(name): place for place, name in enumerate(theirs)}
    found = [known.get(_same(name)) for name in ours]
    if any(place is not None for place in found):
        return found
    if len(theirs) == len(ours):
        return list(range(len(ours)))
    return [0, *(None for _ in ours[1:])] if len(theirs) == 1 else found


def _told_channels(theirs: Sequence[str], ours: Sequence[str]) -> list[str]:
    """How the channels of the earlier model and ours differ, in words."""
    if len(theirs) == len(ours) == 1:
        return []
    matched = _matched(theirs, ours)
    said = [
        f"Its channel '{theirs[place]}' is taken for '{name}'."
        for name, place in zip(ours, matched, strict=True)
        if place is not None and _same(theirs[place]) != _same(name)
    ]
    new = [name for name, place in zip(ours, matched, strict=True) if place is None]
    gone = [name for place, name in enumerate(theirs) if place not in matched]
    said += [f"It did not see {_listed(new)}, and learns here what to make of it."] if new else []
    said += [f"What it saw in {_listed(gone)} is missing here."] if gone else []
    return said


def _reading_images(design: NetworkDesign) -> frozenset[str]:
    """Names of the parameters whose shape depends on the channels of the input."""
    sample = replace(design.sample, channels=design.sample.channels + 1)
    return _differing(design, replace(design, sample=sample))


def _telling_classes(design: NetworkDesign) -> frozenset[str]:
    """Names of the parameters whose shape depends on the number of classes."""
    return _differing(design, replace(design, class_values=(*design.class_values, -1)))


def _differing(one: NetworkDesign, other: NetworkDesign) -> frozenset[str]:
    with torch.device("meta"):
        a, b = one.build().state_dict(), other.build().state_dict()
    return frozenset(name for name in a if a[name].shape != b[name].shape)


def _same(name: str) -> str:
    return " ".join(name.casefold().split())


def _kind(design: NetworkDesign) -> str:
    return f"{design.name} that sees {'volumes' if design.sees_volumes else 'slices'}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(f"'{name}'" for name in names)


def _mm(sample: SampleShape) -> str:
    return " x ".join(f"{side:.2f}" for side in dict.fromkeys(sample.resolution_mm))


def _slices(sample: SampleShape) -> str:
    return "a slice" if sample.slices == 1 else f"{sample.slices} slices"

"""A checkpoint as it lies on the disk, and the network that is in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

import torch
from torch import nn

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.nets.network import build_network
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.runs import RunRecord


@dataclass(frozen=True)
class Checkpoint:
    """What `state.save_checkpoint` wrote, tensors on the CPU, and the hash of the same bytes."""

    content: Mapping[str, Any]
    sha256: str

    @property
    def fits(self) -> Mapping[str, Any]:
        """What the network was built for, see `state.save_checkpoint`."""
        fits: Mapping[str, Any] = self.content["fits"]
        return fits

    @property
    def built(self) -> dict[str, Any]:
        """What `build_network` was called with, but for the dimensions."""
        name, _, width = self.fits["network"].partition(", ")
        return {
            "name": name,
            "channels": self.fits["channels"],
            "classes": len(self.fits["class_values"]),
            "large": width == "large",
        }

    def network(self, *, teacher: bool) -> nn.Module:
        """The network as it predicts: with the student's parameters or with the teacher's."""
        network = build_network(**self.built, dims=self.fits["dimensions"])
        averaged = self.content["teacher"] if teacher else {}
        network.load_state_dict({**self.content["network"], **averaged})
        return network.requires_grad_(False)


def settings_of(run: RunRecord | None) -> Mapping[str, Any]:
    """What a run was told; the defaults where nothing is known of it."""
    return Config().to_dict() if run is None else run.config


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the file once opened, whatever a run puts in its place meanwhile.

    Raises
    ------
    UserError
        If it is damaged, or is not there.
    """
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
            file.seek(0)
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"The checkpoint {path} cannot be read ({type(error).__name__}). Start a fresh run to "
            "replace it; no annotation is lost."
        ) from error
    return Checkpoint(content, digest)

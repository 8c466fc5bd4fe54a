"""A checkpoint as it lies on the disk, and the network that is in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

import torch
from torch import nn

from napari_mlbseg.engine.training.design import NetworkDesign
from napari_mlbseg.engine.training.finite import is_finite
from napari_mlbseg.errors import UserError
from napari_mlbseg.former_names import with_new_names
from napari_mlbseg.project.folder.durable import new_file


class DamagedError(Exception):
    """A file is no sound checkpoint; the rest of a sentence that begins with its name."""


@dataclass(frozen=True)
class Checkpoint:
    """What `TrainingState.content` gave, tensors on the CPU, and the hash of the same bytes."""

    content: Mapping[str, Any]
    sha256: str

    @property
    def design(self) -> NetworkDesign:
        """What the network was built for; DamagedError where that is not told as a whole."""
        try:
            return NetworkDesign.from_plain(self.content["fits"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DamagedError(f"lacks a part ({type(error).__name__})") from error

    @property
    def steps(self) -> int:
        """How many steps the network of `network` has learnt for."""
        steps: int = self._better["total"] if self._better else self.content["total"]
        return steps

    def network(self, *, teacher: bool) -> nn.Module:
        """The network as it predicts: with the student's parameters or with the teacher's.

        Where the newest ones did worse on the validation slices, those that were shown instead.
        """
        network = self.design.build()
        averaged = self.content["teacher"] if teacher else {}
        shown = self._better["parameters"] if self._better else averaged
        network.load_state_dict({**self.content["network"], **shown})
        return network.requires_grad_(False)

    @property
    def _better(self) -> Mapping[str, Any] | None:
        kept: Mapping[str, Any] | None = self.content.get("kept")
        return kept if kept is not None and kept["worse"] else None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the file once opened, whatever a run puts in its place meanwhile.

    Raises
    ------
    UserError
        If it is damaged, is not there, or holds numbers that are none.
    """
    try:
        found = load(path)
        _ = found.design
    except DamagedError as error:
        raise UserError(
            f"The checkpoint {path} {error}. Start the training again: it goes on from the "
            "checkpoint before, or else a fresh run replaces it; no annotation is lost."
        ) from error
    return found


def load(path: Path) -> Checkpoint:
    """As `read_checkpoint`; raises `DamagedError`."""
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
            file.seek(0)
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DamagedError(f"cannot be read ({type(error).__name__})") from error
    if not isinstance(content, dict) or "fits" not in content:
        raise DamagedError("is no checkpoint")
    if not is_finite(content):
        raise DamagedError("holds numbers that are not finite")
    return Checkpoint(with_new_names(content), digest)


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file as a whole, down to the disk; what cannot be written leaves nothing behind.

    Raises
    ------
    UserError
        If there is no room, or no permission.
    """
    try:
        with new_file(path) as file:
            torch.save(dict(content), file)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"The checkpoint cannot be written to {path.parent} ({error}). Make room there and "
            "start the training again: it goes on from the checkpoint before."
        ) from error

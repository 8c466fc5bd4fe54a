"""A checkpoint on the disk, and the network in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

import torch
from torch import nn

from napari_mlbseg.engine.training.design import NetworkDesign
from napari_mlbseg.engine.training.finite import is_finite
from napari_mlbseg.engine.training.state import keys_of
from napari_mlbseg.errors import UserError
from napari_mlbseg.former_names import with_new_names
from napari_mlbseg.project.folder.durable import new_file
from napari_mlbseg.project.records.slices import SliceKey


class DamagedError(Exception):
    """A file is not a sound checkpoint; the message completes a sentence that names the file."""


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file and the SHA-256 hash of the same bytes.

    `content` is what `TrainingState.content` returned, with tensors on the CPU.
    """

    content: Mapping[str, Any]
    sha256: str

    @property
    def design(self) -> NetworkDesign:
        """The design of the network; raises DamagedError if a part of it is missing."""
        try:
            return NetworkDesign.from_plain(self.content["fits"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DamagedError(f"lacks a part ({type(error).__name__})") from error

    @property
    def steps(self) -> int:
        """Number of training steps of the network that `network` returns."""
        steps: int = self._better["total"] if self._better else self.content["total"]
        return steps

    @property
    def validation(self) -> frozenset[SliceKey]:
        """The validation slices when it was written."""
        return keys_of(self.content["validation"])

    def network(self, *, teacher: bool) -> nn.Module:
        """The network used for predictions, with the parameters of the student or the teacher.

        If the newest ones did worse on the validation slices, it has those of the last model that
        did well.
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
    """Read a checkpoint; a run may replace the file meanwhile.

    Raises
    ------
    UserError
        If the file is damaged or missing, or holds non-finite numbers.
    """
    try:
        found = load(path)
        _ = found.design
    except DamagedError as error:
        raise UserError(
            f"The checkpoint {path} {error}. Start the training again: it resumes from the "
            "previous checkpoint, or else a fresh run replaces it. No annotation is lost."
        ) from error
    return found


def load(path: Path) -> Checkpoint:
    """Like `read_checkpoint`, but raises `DamagedError`."""
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
            file.seek(0)
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DamagedError(f"cannot be read ({type(error).__name__})") from error
    if not isinstance(content, dict) or "fits" not in content:
        raise DamagedError("is not a checkpoint")
    if not is_finite(content):
        raise DamagedError("holds numbers that are not finite")
    return Checkpoint(with_new_names(content), digest)


def design_in(path: Path) -> NetworkDesign | None:
    """The design in a checkpoint file, without reading its tensors; None if it is unsound."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return NetworkDesign.from_plain(content["fits"])
    except Exception:
        return None


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint completely and flush it to the disk; on failure no file is left.

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
            "start the training again: it resumes from the previous checkpoint."
        ) from error

"""The mean teacher: an exponential moving average of the network (Tarvainen & Valpola 2017)."""

import torch
from torch import Tensor

from napari_mlbseg.engine.nets.model import Parameters


def copy_of(parameters: Parameters) -> dict[str, Tensor]:
    """A detached copy of the parameters."""
    return {name: value.detach().clone() for name, value in parameters.items()}


@torch.no_grad()
def follow(teacher: dict[str, Tensor], student: Parameters, *, decay: float, step: int) -> None:
    """Move the teacher towards the student, in place.

    The decay starts at 0 and approaches `decay` as ``min(decay, 1 - 1 / (step + 1))``, so that the
    untrained network of the first steps is soon forgotten.
    """
    share = 1 - min(decay, 1 - 1 / (step + 1))
    torch._foreach_lerp_(list(teacher.values()), [student[n].detach() for n in teacher], share)

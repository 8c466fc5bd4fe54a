"""Random fields on any device, all from the one generator of a run."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor

_SEEDS = 2**62


def normal(
    shape: Sequence[int], generator: Generator, *, like: Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """Standard normal numbers of a given shape, with the dtype and device of `like`.

    On a device other than the CPU, a generator there draws them with a seed from the run's
    generator (on the CPU). So no field is drawn slowly and then transferred, and the later draws of
    the run's generator do not depend on the size of the field.
    """
    if like.device.type == "cpu":
        return torch.randn(shape, generator=generator).to(like)
    seed = int(torch.randint(_SEEDS, (1,), generator=generator))
    there = torch.Generator(like.device).manual_seed(seed)
    return torch.randn(shape, generator=there, device=like.device, dtype=like.dtype)

"""Random fields on whatever device, all from the one generator of a run."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor

_SEEDS = 2**62


def normal(
    shape: Sequence[int], generator: Generator, *, like: Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """Standard normal numbers of a shape, of the type and on the device of another tensor.

    On another device than the CPU a generator there draws them, from a seed that the run's
    generator (on the CPU) gives: a field is not drawn slowly and sent over, and what the run's
    generator draws does not depend on the size of the field.
    """
    if like.device.type == "cpu":
        return torch.randn(shape, generator=generator).to(like)
    seed = int(torch.randint(_SEEDS, (1,), generator=generator))
    there = torch.Generator(like.device).manual_seed(seed)
    return torch.randn(shape, generator=there, device=like.device, dtype=like.dtype)

"""Splits a batch into chunks of a few images.

Large batches are slow on a CPU: forty slices of 128 x 128 took more than twice as long per slice as
eight. Most of that time is spent in the kernel, probably because glibc requests blocks of more than
32 MB from it and returns them at every layer. A GPU is fastest with large batches and gets them
whole.
"""

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

CHUNK_PIXELS = 2**17
"""Pixels per chunk on a CPU: eight slices of 128 x 128.

With four, steps need a quarter less memory and 8 % more time.
"""


def chunks(images: Float[Tensor, "batch channels *space"]) -> tuple[Tensor, ...]:
    """Split a batch into parts of about `CHUNK_PIXELS`; on a GPU it stays whole.

    No part is a single image unless the batch is: on one thread torch convolves single images
    without oneDNN, in 3-D at half the speed.
    """
    if images.device.type != "cpu":
        return (images,)
    count = len(images)
    wanted = math.ceil(images[:, 0].numel() / CHUNK_PIXELS)
    return torch.tensor_split(images, min(wanted, max(1, count // 2)))


def added(gradients: Iterable[tuple[Tensor, ...]]) -> list[Tensor]:
    """The sum of gradients that arrive one after another."""
    remaining = iter(gradients)
    total = list(next(remaining))
    for more in remaining:
        torch._foreach_add_(total, list(more))
    return total

"""How long work is interrupted: it calls a check function between its parts.

Steps stay pure functions. The network that they are given calls the check before every layer,
forwards and backwards, and so raises in the middle of whatever is computed with it.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

Check = Callable[[], None]
"""Returns, or raises `CutOffError`; cheap enough to call a thousand times a second."""


class CutOffError(Exception):
    """An urgent request has arrived that cannot wait for the computation in progress.

    Drop whatever was computed, and start it over if it is still wanted.
    """


def never() -> None:
    """The check for work that nothing interrupts."""


def interrupts(check: Check) -> bool:
    """Whether `check` asks for an interruption now."""
    try:
        check()
    except CutOffError:
        return True
    return False


def let_interrupt(network: nn.Module, check: Check) -> nn.Module:
    """Make a network call `check` on every pass; returns the network itself.

    On a CPU it does so before every layer, because a pass may take seconds there; on CUDA not at
    all, because a step is short and recorded as a whole (`training.cuda_graphs`).
    """
    device = next(network.parameters()).device
    if device.type == "cuda":
        return network
    layers = [m for m in network.modules() if not any(m.children())]

    def forwards(module: nn.Module, images: Any) -> None:
        check()

    def backwards(module: nn.Module, images: Any, output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(lambda _: check())  # type: ignore[no-untyped-call]

    for module in layers if device.type == "cpu" else [network]:
        module.register_forward_pre_hook(forwards)
        module.register_forward_hook(backwards)
    return network

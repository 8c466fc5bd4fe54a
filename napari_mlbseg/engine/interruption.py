"""How long work is cut off: a function that is handed down is called between its parts.

A step stays a pure function: what it is given, the network, asks before every layer, forwards and
backwards, and so raises in the middle of whatever is computed with it.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

Check = Callable[[], None]
"""Returns, or raises `CutOffError`; cheap enough to be called a thousand times a second."""


class CutOffError(Exception):
    """Somebody asked for something that does not wait for what is being computed.

    Whatever was computed is to be dropped and begun anew, if at all.
    """


def never() -> None:
    """The check of work that nobody cuts off."""


def interrupts(check: Check) -> bool:
    """Whether somebody is asking."""
    try:
        check()
    except CutOffError:
        return True
    return False


def let_interrupt(network: nn.Module, check: Check) -> nn.Module:
    """Have a network call `check` on every pass; returns the network itself.

    On a CPU it does so before every layer, because a pass may take seconds there; on CUDA it does
    not, because a step is short and recorded as a whole (`graphs`).
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

"""How long work tells how far it is."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many steps are done, and how many there are.

It may raise to cancel: what was under way is then as it was before.
"""


def silent(what: str, done: int, total: int) -> None:
    """Nobody wants to know."""

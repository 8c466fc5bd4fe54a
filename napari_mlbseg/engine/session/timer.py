"""Which pieces of work are due again."""

import math
from collections.abc import Callable

LONGEST_SHARE = 0.25
"""Largest share of the time for work that reports its end.

The slice on view takes seconds in 3-D on a CPU.
"""


class Timer:
    """Remembers, by name, when each piece of work was last done and how long it took."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}
        self._took_s: dict[str, float] = {}

    def due(self, what: str, every_s: float) -> bool:
        """Whether `what` is due again; if so, it counts as begun now.

        Work that took long is due less often than `every_s`.
        """
        now = self._clock()
        wait_s = max(every_s, self._took_s.get(what, 0.0) / LONGEST_SHARE)
        if now - self._last.get(what, -math.inf) < wait_s:
            return False
        self._last[what] = now
        return True

    def begin(self, what: str) -> None:
        """Count `what` as done now."""
        self._last[what] = self._clock()

    def ended(self, what: str) -> None:
        """Note that `what` ended now; it began when it was last due."""
        self._took_s[what] = self._clock() - self._last[what]

    def at_once(self, what: str) -> None:
        """Make `what` due at once, whenever it was last done."""
        self._last.pop(what, None)

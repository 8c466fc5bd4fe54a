"""What is due again after some seconds."""

import math
from collections.abc import Callable

LONGEST_SHARE = 0.25
"""Of the time, for what says when it ended: the slice on view takes seconds in 3-D on a CPU."""


class Timer:
    """Remembers when pieces of work were last done, by name, and how long they took."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}
        self._took_s: dict[str, float] = {}

    def due(self, what: str, every_s: float) -> bool:
        """Whether it is time again; if so it begins now.

        What took long waits for longer than `every_s`.
        """
        now = self._clock()
        wait_s = max(every_s, self._took_s.get(what, 0.0) / LONGEST_SHARE)
        if now - self._last.get(what, -math.inf) < wait_s:
            return False
        self._last[what] = now
        return True

    def begin(self, what: str) -> None:
        """It counts as done now."""
        self._last[what] = self._clock()

    def ended(self, what: str) -> None:
        """It took from when it was due until now."""
        self._took_s[what] = self._clock() - self._last[what]

    def at_once(self, what: str) -> None:
        """It is due whenever it was last done."""
        self._last.pop(what, None)

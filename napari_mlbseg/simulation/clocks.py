"""The clock that a timed run goes by, and when the run is measured."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from napari_mlbseg.errors import UserError


class Clock(StrEnum):
    """WALL is the time that a user waits; PROCESSOR does not count what other programs take.

    Minutes of PROCESSOR are the processor time of this process, divided by its number of threads:
    the least that the same work takes on an idle machine. Whenever a thread waits, more passes on
    the wall.
    """

    WALL = "wall"
    PROCESSOR = "processor"

    def reading(self, threads: int) -> Callable[[], float]:
        """A function that tells the seconds, from any start."""
        if self is Clock.WALL:
            return time.perf_counter
        return lambda: time.process_time() / threads


@dataclass(frozen=True)
class Timing:
    """When a run is measured, in minutes since its start; the last mark is its time limit."""

    marks_min: tuple[float, ...]
    clock: Clock = Clock.WALL

    def __post_init__(self) -> None:
        marks = self.marks_min
        positive = all(0 < mark < math.inf for mark in marks)
        if not marks or not positive or list(marks) != sorted(set(marks)):
            raise UserError(
                f"The marks are {', '.join(map(str, marks)) or 'missing'}; write increasing "
                "numbers of minutes: 1,4,8,30."
            )

    @property
    def limit_min(self) -> float:
        """The time limit of the run."""
        return self.marks_min[-1]

    @property
    def in_words(self) -> str:
        """What distinguishes this timing from others, to be kept with the records."""
        return f"{', '.join(f'{mark:g}' for mark in self.marks_min)} min ({self.clock})"


class StopWatch:
    """Tells the time of a run, which stands still while the run is measured.

    >>> told = iter([0.0, 10.0, 70.0, 75.0])
    >>> watch = StopWatch(lambda: next(told))
    >>> watch.now()
    0.0
    >>> with watch.stopped():  # from 10 to 70
    ...     pass
    >>> watch.now()
    15.0
    """

    def __init__(self, reading: Callable[[], float]) -> None:
        self._reading, self._stood_s = reading, 0.0

    def now(self) -> float:
        """Seconds that the run has taken, from any start."""
        return self._reading() - self._stood_s

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """A block of work that does not count."""
        began = self._reading()
        try:
            yield
        finally:
            self._stood_s += self._reading() - began

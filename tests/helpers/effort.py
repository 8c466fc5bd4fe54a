"""How much a piece of work takes, counted, so that a busy machine changes nothing of it."""

import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Effort:
    """Calls of functions, and bytes in use at most, beyond those at the start."""

    calls: int = 0
    peak_bytes: int = 0


@contextmanager
def counted() -> Iterator[Effort]:
    """Count what is done inside, in this thread."""
    found = Effort()

    def count(frame: object, event: str, argument: object) -> None:
        if event in ("call", "c_call"):
            found.calls += 1

    before = sys.getprofile()
    tracemalloc.start()
    sys.setprofile(count)
    try:
        yield found
    finally:
        sys.setprofile(before)
        found.peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

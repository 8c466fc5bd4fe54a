"""How long a slice takes an annotator, from when slices were accepted."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final, NamedTuple

_BREAK_S: Final = 600.0
_FEWEST: Final = 5


class Pace(NamedTuple):
    """Seconds that a slice took on average, and of how many slices."""

    seconds: float
    slices: int


def pace_of(accepted: Sequence[datetime]) -> Pace | None:
    """Return how long a slice took from one acceptance to the next; None if too few are known.

    Longer than ten minutes is a break. What was accepted in one go counts slice by slice.

    >>> from datetime import timedelta
    >>> start = datetime(2026, 1, 1)
    >>> pace_of([start + timedelta(seconds=30 * k) for k in range(7)])
    Pace(seconds=30.0, slices=6)
    """
    times = sorted(accepted)
    gaps = [(after - before).total_seconds() for before, after in pairwise(times)]
    worked = [gap for gap in gaps if gap <= _BREAK_S]
    return Pace(sum(worked) / len(worked), len(worked)) if len(worked) >= _FEWEST else None

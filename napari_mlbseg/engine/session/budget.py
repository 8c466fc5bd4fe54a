"""How the time of a run is shared between its stages."""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from statistics import median

from napari_mlbseg.engine.events import Stage, StepDone

BASE_SHARE = 0.5
"""Share of the training time that the base model may take."""
UNKNOWN_SHARE = 0.2
"""Share of the whole time that is reserved for publishing until its speed has been measured."""
LARGEST_SHARE = 0.5
"""Largest share of the whole time that is reserved for publishing, however slow it is.

The most important slices are published first.
"""
SAFETY = 1.25
"""Margin on the time reserved for publishing: another program may start meanwhile."""
REMEMBERED = 15
"""Measurements whose median is the speed of publishing: now and then one takes twice as long."""


class Budget:
    """Shares the time of a run between its stages; `minutes` is None for no limit.

    The time to publish everything at the end is reserved from the start, according to the speed
    measured so far. The base model may take half of the rest, and bootstrapping takes what the
    base model has not used.

    Attributes
    ----------
    now
        The clock, in seconds.
    """

    def __init__(
        self, minutes: float | None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._slices = 0
        self.now = clock
        self._began = self._round_began = clock()
        self._total_s = math.inf if minutes is None else 60 * minutes
        self._measured: deque[float] = deque(maxlen=REMEMBERED)
        self._labelling_s = 0.0
        self._base_share = BASE_SHARE

    def share_among(self, slices: int, *, base_alone: bool = False) -> None:
        """Set the number of slices that are published at the end.

        `base_alone` says that no bootstrapping follows: the base model may take all the time.
        """
        self._slices = slices
        self._base_share = 1.0 if base_alone else BASE_SHARE

    @property
    def limited(self) -> bool:
        """Whether the run has a time limit."""
        return math.isfinite(self._total_s)

    @property
    def left_s(self) -> float:
        """Seconds until the end of the run."""
        return self._began + self._total_s - self.now()

    def published(self, slices: int, seconds: float, *, share: float = 1.0) -> None:
        """Measure the speed of publishing.

        `slices` took `seconds`, for a `share` (0 to 1) of the passes that the final publishing
        makes.
        """
        self._measured.append(seconds / share / max(1, slices))

    def labelled(self, seconds: float) -> None:
        """Measure how long a labelling of the cohort takes."""
        self._labelling_s = seconds

    def suffices_for(self, slices: int) -> bool:
        """Whether there is time left to publish this many slices."""
        return self.left_s > slices * self._slice_s

    def begin_round(self) -> None:
        """Start the time of a round now."""
        self._round_began = self.now()

    def share_of(self, stage: Stage) -> float:
        """Share of the current round's time that is used up, from 0 to 1; 0 without a limit.

        A round may go on until the time of its stage is over.
        """
        if not self.limited:
            return 0.0
        training_s = self._total_s - self._reserved_s()
        share = self._base_share if stage is Stage.BASE_MODEL else 1.0
        length_s = self._began + share * training_s - self._round_began
        if length_s <= 0:
            return 1.0
        return min(1.0, (self.now() - self._round_began) / length_s)

    def has_time_for_another_round(self) -> bool:
        """Whether half of what the current round took, or more, is left for training."""
        if not self.limited:
            return True
        left_s = self.left_s - self._reserved_s()
        return left_s >= (self.now() - self._round_began) / 2

    def remaining_s(self, estimated_s: float | None) -> float | None:
        """A stage's own estimate of its remaining time, capped by the time left for the run."""
        if not self.limited or estimated_s is None:
            return estimated_s
        return max(0.0, min(estimated_s, self.left_s))

    def within(self, progress: StepDone, *, labellings: int = 0) -> StepDone:
        """The event with the whole remaining time, at most the time left for the run.

        To the time for the remaining steps it adds that for the `labellings` still to come and for
        publishing at the end, as far as their speed is known.
        """
        estimated = progress.remaining_s
        if estimated is not None and progress.stage is not Stage.PUBLISHING:
            estimated += labellings * self._labelling_s + self._slices * self._slice_s
        return replace(progress, remaining_s=self.remaining_s(estimated))

    @property
    def _slice_s(self) -> float:
        """Seconds to publish a slice; 0 until it has been measured."""
        return median(self._measured) if self._measured else 0.0

    def _reserved_s(self) -> float:
        if not self._measured:
            return UNKNOWN_SHARE * self._total_s
        return min(SAFETY * self._slices * self._slice_s, LARGEST_SHARE * self._total_s)

"""How the minutes of a run are shared between its stages."""

import math
import time
from collections.abc import Callable
from dataclasses import replace

from napari_mlbseg.engine.events import Stage, StepDone

BASE_SHARE = 0.5
"""Of the time for training, for the base model."""
UNKNOWN_SHARE = 0.2
"""Of the whole time, kept for publishing before its speed has been measured."""
LARGEST_SHARE = 0.5
"""Of the whole time, kept for publishing however slow it is; what matters first comes first."""
SAFETY = 1.25
"""Another program may start meanwhile."""
NEWEST = 0.3
"""Weight of the newest measurement in the running mean."""


class Budget:
    """Shares out the time of a run; without `minutes` there is no end to it.

    The time for publishing everything at the end is kept from the start, by the speed at which
    slices were published so far. Of what is left the base model may take half, and the
    bootstrapping takes what the base model has not used.

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
        self._began = self._stage_began = clock()
        self._total_s = math.inf if minutes is None else 60 * minutes
        self._slice_s: float | None = None

    def share_among(self, slices: int) -> None:
        """So many slices are to be published at the end."""
        self._slices = slices

    @property
    def limited(self) -> bool:
        """Whether there is an end to the time."""
        return math.isfinite(self._total_s)

    @property
    def left_s(self) -> float:
        """Seconds until the end of the run."""
        return self._began + self._total_s - self.now()

    def published(self, slices: int, seconds: float, *, share: float = 1.0) -> None:
        """Learn how fast publishing is: `seconds` for `share` of what the end does for slices."""
        measured = seconds / share / max(1, slices)
        before = measured if self._slice_s is None else self._slice_s
        self._slice_s = NEWEST * measured + (1 - NEWEST) * before

    def suffices_for(self, slices: int) -> bool:
        """Whether so many slices can still be published before the end."""
        return self.left_s > slices * (self._slice_s or 0.0)

    def begin_stage(self) -> None:
        """A stage begins now."""
        self._stage_began = self.now()

    def share_of(self, stage: Stage) -> float:
        """How much of the time of the stage under way is over, from 0 to 1; 0 without an end."""
        if not self.limited:
            return 0.0
        training_s = self._total_s - self._reserved_s()
        share = BASE_SHARE if stage is Stage.BASE_MODEL else 1.0
        length_s = self._began + share * training_s - self._stage_began
        if length_s <= 0:
            return 1.0
        return min(1.0, (self.now() - self._stage_began) / length_s)

    def remaining_s(self, estimated_s: float | None) -> float | None:
        """What a stage takes by its own estimate, but no longer than the run may."""
        if not self.limited or estimated_s is None:
            return estimated_s
        return max(0.0, min(estimated_s, self.left_s))

    def within(self, progress: StepDone) -> StepDone:
        """The same, with no more time left than the run may take."""
        return replace(progress, remaining_s=self.remaining_s(progress.remaining_s))

    def _reserved_s(self) -> float:
        if self._slice_s is None:
            return UNKNOWN_SHARE * self._total_s
        return min(SAFETY * self._slices * self._slice_s, LARGEST_SHARE * self._total_s)

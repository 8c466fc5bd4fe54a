"""How fast a run progresses, and when to report it."""

import time
from collections.abc import Callable, Mapping

from torch import Tensor

from napari_mlbseg.engine.events import Stage, StepDone

REPORT_EVERY_S = 0.12


class Pace:
    """Collects losses and reports at most about eight times a second.

    The rate is a running mean over the last reports. It includes the time spent on publishing, so
    the estimate of the remaining time is what a person will actually wait.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._since = clock()
        self._steps = 0
        self._sums: dict[str, Tensor] = {}
        self._rate: float | None = None

    def step_done(
        self, losses: Mapping[str, Tensor], *, stage: Stage, step: int, steps: int, later_steps: int
    ) -> StepDone | None:
        """Count a step; returns an event when a report is due or the stage ends."""
        self._steps += 1
        for name, loss in losses.items():
            self._sums[name] = self._sums[name] + loss if name in self._sums else loss
        elapsed = self._clock() - self._since
        if elapsed < REPORT_EVERY_S and step < steps:
            return None
        now = self._steps / max(elapsed, 1e-9)
        self._rate = now if self._rate is None else 0.9 * self._rate + 0.1 * now
        means = {name: float(total) / self._steps for name, total in self._sums.items()}
        remaining = (steps - step + later_steps) / self._rate
        self.restart()
        return StepDone(stage, step, steps, means, self._rate, remaining)

    def restart(self) -> None:
        """Start a new interval, for example after a pause."""
        self._since, self._steps, self._sums = self._clock(), 0, {}

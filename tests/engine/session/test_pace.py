"""How fast a run goes, by a clock that stands still until it is moved."""

import pytest
import torch

from napari_mlbseg.engine.events import Stage, StepDone
from napari_mlbseg.engine.session.pace import REPORT_EVERY_S, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Work:
    """Steps of a stage of 100 steps, with 50 of later stages behind it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.pace = Pace(self.clock)
        self.step = 0

    def done(self, seconds: float, **losses: float) -> StepDone | None:
        self.clock.now += seconds
        self.step += 1
        tensors = {name: torch.tensor(loss) for name, loss in losses.items()}
        return self.pace.step_done(
            tensors, stage=Stage.BOOTSTRAPPING, step=self.step, steps=100, later_steps=50
        )


def test_reports_come_when_it_is_time_with_means_since_the_last() -> None:
    work = Work()
    assert work.done(REPORT_EVERY_S / 4, clean=1.0, noisy=4.0) is None
    assert work.done(REPORT_EVERY_S / 4, clean=2.0) is None
    event = work.done(REPORT_EVERY_S, clean=6.0)
    assert event is not None
    assert (event.stage, event.step, event.steps) == (Stage.BOOTSTRAPPING, 3, 100)
    assert event.losses == pytest.approx({"clean": 3.0, "noisy": 4.0 / 3})
    again = work.done(REPORT_EVERY_S, clean=5.0)
    assert again is not None
    assert again.losses == pytest.approx({"clean": 5.0})


def test_what_remains_is_what_the_rate_makes_of_all_steps_to_come() -> None:
    event = Work().done(2.0)
    assert event is not None
    assert event.steps_per_s == pytest.approx(0.5)
    assert event.remaining_s == pytest.approx((99 + 50) * 2.0)


def test_the_rate_follows_slowly() -> None:
    """One slow step in between does not turn the estimate over."""
    work = Work()
    work.done(0.5)
    slow = work.done(5.0)
    assert slow is not None
    assert slow.steps_per_s == pytest.approx(0.9 * 2.0 + 0.1 * 0.2)
    rates = [event.steps_per_s for _ in range(80) if (event := work.done(0.5)) is not None]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(2.0, rel=1e-3)


def test_the_last_step_of_a_stage_is_always_told() -> None:
    work = Work()
    work.step = 99
    event = work.done(0.0)
    assert event is not None
    assert event.step == 100


def test_a_pause_does_not_count() -> None:
    work = Work()
    work.done(0.01, clean=9.0)
    work.clock.now += 3600
    work.pace.restart()
    event = work.done(0.5, clean=1.0)
    assert event is not None
    assert event.steps_per_s == pytest.approx(2.0)
    assert event.losses == pytest.approx({"clean": 1.0})

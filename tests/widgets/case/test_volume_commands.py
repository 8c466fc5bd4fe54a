"""Clean-up of the whole volume, on a case of a real study."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from desk import Desk

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.labels import Labels
from napari_mlbseg.project.records.slices import SliceState
from napari_mlbseg.widgets.tools import cleaning

pytestmark = pytest.mark.one_binding

DRAFT, CLEAN, SKIPPED = SliceState.DRAFT, SliceState.CLEAN, SliceState.SKIPPED


def at_once(work: Callable[[Any], Any], done: Callable[[Any], None]) -> None:
    done(work(lambda _: None))


def clean_up(desk: Desk, name: str, run: Any = at_once) -> None:
    desk.annotation.volume.clean_up(name, 50.0, run)


def grown(labels: Labels) -> Labels:
    return cleaning.grow(labels, 1, (3.0, 1.0, 1.0), 1.0)  # thick slices


def test_a_volume_is_drafted_in_one_step_and_a_person_s_slices_stay(desk: Desk) -> None:
    desk.draw(7, desk.disc(30))
    desk.draw(8, desk.disc(40))
    desk.commands.accept()
    desk.annotation.go_to(20)
    desk.commands.skip()
    desk.annotation.go_to(12)
    desk.annotation.paint_with(1)
    before, kept = desk.labels, [7, 8, 20]
    clean_up(desk, "grow")
    wanted = grown(before)
    wanted[kept] = before[kept]
    assert np.array_equal(desk.labels, wanted)
    assert {k: desk.state(k) for k in kept} == {7: DRAFT, 8: CLEAN, 20: SKIPPED}
    changed = int((wanted != before).sum())
    assert f"In the volume, grow 'class 1': {changed} pixels on " in desk.told[-1]
    stayed = int((grown(before) != before).sum()) - changed
    assert f"{stayed} pixels on slices of yours" in desk.told[-1]
    assert desk.annotation.key.index == 12
    desk.undone_and_redone()
    assert np.array_equal(desk.labels, before)


def test_one_clean_up_follows_another_but_not_where_somebody_painted(desk: Desk) -> None:
    desk.annotation.paint_with(1)
    before = desk.labels
    clean_up(desk, "grow")
    once = desk.labels
    painted = once[12].copy()
    painted[:4, :4] = 1
    desk.draw(12, painted)
    clean_up(desk, "grow")
    wanted = grown(np.where(np.arange(len(once))[:, None, None] == 12, painted, once))
    wanted[12] = painted
    assert np.array_equal(desk.labels, wanted)
    for _ in range(3):
        desk.commands.undo()
    assert np.array_equal(desk.labels, before)


def test_what_a_person_does_meanwhile_stays(desk: Desk) -> None:
    desk.annotation.paint_with(1)
    later: list[Callable[[], None]] = []

    def run(work: Callable[[Any], Any], done: Callable[[Any], None]) -> None:
        found = work(lambda _: None)
        later.append(lambda: done(found))

    clean_up(desk, "grow", run)
    desk.draw(12, desk.disc(20))
    desk.paint_across(3, 15)
    row = desk.labels[15, 3].copy()
    later[0]()
    assert np.array_equal(desk.labels[12], desk.disc(20))
    assert np.array_equal(desk.labels[15, 3], row)


def test_a_class_that_needs_nothing_is_left_alone(desk: Desk) -> None:
    desk.annotation.paint_with(2)
    clean_up(desk, "keep_largest")
    clean_up(desk, "keep_largest")
    assert desk.told[-1].startswith(
        "In the volume, keep the largest piece of 'class 2': nothing to change."
    )
    desk.annotation.paint_with(0)
    with pytest.raises(UserError, match="Choose the class to clean up"):
        clean_up(desk, "grow")

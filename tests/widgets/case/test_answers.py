"""Answers at once on a case of a real study: asked for, taken, dropped, asked for anew."""

from collections.abc import Callable

import numpy as np
import pytest
from desk import DRAFT, Desk
from napari.components import ViewerModel
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.slices import SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.case.outline import ANSWER
from napari_mlbseg.widgets.tools.answer import answered

pytestmark = pytest.mark.one_binding

SLICE = 7


@pytest.fixture
def strokes(desk: Desk) -> NDArray[np.bool_]:
    return accepted_and_painted(desk)


def accepted_and_painted(desk: Desk) -> NDArray[np.bool_]:
    """A disc that was accepted, and background painted into its rim; returns where."""
    desk.draw(SLICE, desk.disc(40, 14))
    desk.commands.accept()
    desk.annotation.go_to(SLICE)
    before = desk.labels[SLICE]
    paint(desk, 50, 52)
    return np.asarray(desk.labels[SLICE] != before)


def paint(desk: Desk, first: int, last: int) -> None:
    middle = desk.rows // 2
    desk.annotation.layers.working.data[SLICE, middle - 3 : middle + 3, first:last] = 0


def asked(qtbot: QtBot, desk: Desk) -> NDArray[np.uint8]:
    """The labels on offer."""
    desk.annotation.answers.ask()
    return offered(qtbot, desk)


def offered(qtbot: QtBot, desk: Desk) -> NDArray[np.uint8]:
    answers = desk.annotation.answers
    qtbot.waitUntil(lambda: answers.offered is not None)
    assert answers.offered is not None
    return answers.offered.labels


def test_an_answer_is_outlined_and_changes_nothing_until_it_is_taken_as_one_step(
    qtbot: QtBot, viewer: ViewerModel, desk: Desk, strokes: NDArray[np.bool_]
) -> None:
    before = desk.labels
    found = asked(qtbot, desk)
    image = desk.study.arrays.open(desk.case.id, ArrayName.IMAGE)[SLICE]
    initial = desk.study.arrays.open(desk.case.id, ArrayName.INITIAL_LABELS)[SLICE]
    expected = answered(
        desk.disc(40, 14), before[SLICE], np.asarray(image), (1.0, 1.0), [np.asarray(initial)]
    )
    assert np.array_equal(found, expected)
    changed = found != before[SLICE]
    assert changed.any()
    assert not (changed & strokes).any()
    assert np.array_equal(desk.labels, before)
    layer = viewer.layers[ANSWER]
    assert np.array_equal(np.squeeze(layer.data) != 0, changed)
    # In no class's colour, and nothing where nothing changes.
    shown = layer.colormap.map(np.array([0, 1, 2, 256], np.uint16))
    assert shown[0, 3] == 0
    assert (shown[1:] == shown[1]).all()
    assert layer.data_to_world((0, 0, 0))[0] == pytest.approx(
        desk.annotation.layers.working.data_to_world((SLICE, 0, 0))[0]
    )
    assert viewer.layers.selection.active is desk.annotation.layers.working
    assert str(desk.annotation.layers.working.mode) == "paint"
    count = int(changed.sum())
    assert desk.told[-1].startswith(f"Slice 7, answer: {count} pixels would change as outlined.")
    desk.annotation.answers.take()
    assert np.array_equal(desk.labels[SLICE], found)
    assert desk.state(SLICE) is DRAFT
    assert ANSWER not in viewer.layers
    assert desk.told[-1] == f"Slice 7 took the answer: {count} pixels changed."
    step = desk.annotation.history.last
    assert step is not None
    assert step.name == "take the answer on slice 7"
    desk.undone_and_redone()
    assert np.array_equal(desk.labels, before)


def test_a_dropped_answer_leaves_nothing_and_is_the_same_when_asked_again(
    qtbot: QtBot, viewer: ViewerModel, desk: Desk, strokes: NDArray[np.bool_]
) -> None:
    before, names = desk.labels, [layer.name for layer in viewer.layers]
    found = asked(qtbot, desk)
    last = desk.annotation.history.last
    desk.annotation.answers.drop()
    assert desk.annotation.answers.offered is None
    assert [layer.name for layer in viewer.layers] == names
    assert np.array_equal(desk.labels, before)
    assert np.array_equal(asked(qtbot, desk), found)
    assert desk.annotation.history.last is last


def test_an_answer_leaves_what_was_locked_meanwhile(
    qtbot: QtBot, desk: Desk, strokes: NDArray[np.bool_]
) -> None:
    before = desk.labels[SLICE]
    changed = asked(qtbot, desk) != before
    desk.marks.switch_lock(1)
    desk.annotation.answers.take()
    assert np.array_equal(desk.labels[SLICE], before)
    assert desk.told[-1] == (
        f"Slice {SLICE} took the answer: 0 pixels changed. "
        f"{int(changed.sum())} pixels whose class is locked stayed."
    )


def test_another_stroke_asks_anew_and_undoing_all_strokes_drops_the_answer(
    qtbot: QtBot, viewer: ViewerModel, desk: Desk, strokes: NDArray[np.bool_]
) -> None:
    first = asked(qtbot, desk)
    paint(desk, 29, 31)
    desk.annotation.layers.working.events.paint(value=[])  # what napari announces after a stroke
    assert desk.annotation.answers.offered is None
    second = offered(qtbot, desk)
    assert not np.array_equal(first, second)
    assert (second[desk.rows // 2 - 3 : desk.rows // 2 + 3, 29:31] == 0).all()
    desk.commands.undo()
    assert np.array_equal(offered(qtbot, desk), first)
    desk.commands.undo()
    assert desk.annotation.answers.offered is None
    assert ANSWER not in viewer.layers


LEAVING: dict[str, Callable[[Desk], object]] = {
    "another slice": lambda desk: desk.annotation.go_to(SLICE + 1),
    "accept": lambda desk: desk.commands.accept(),
    "another command": lambda desk: desk.tools.grow(),
    "another axis": lambda desk: desk.annotation.show_axis(1),
}


@pytest.mark.parametrize("way", LEAVING)
def test_what_leaves_the_strokes_behind_drops_the_answer(
    qtbot: QtBot, viewer: ViewerModel, desk: Desk, strokes: NDArray[np.bool_], way: str
) -> None:
    asked(qtbot, desk)
    LEAVING[way](desk)
    assert desk.annotation.answers.offered is None
    assert ANSWER not in viewer.layers


def test_without_strokes_since_the_last_command_there_is_no_answer(
    qtbot: QtBot, desk: Desk, strokes: NDArray[np.bool_]
) -> None:
    asked(qtbot, desk)
    desk.annotation.answers.take()
    with pytest.raises(UserError, match="slice 7 has none since it was last changed by a command"):
        desk.annotation.answers.ask()
    desk.annotation.go_to(SLICE + 1)
    with pytest.raises(UserError, match="slice 8 has none"):
        desk.annotation.answers.ask()
    assert desk.state(SLICE + 1) is SliceState.UNTOUCHED


def test_strokes_on_a_slice_of_the_machines_go_on_from_what_it_showed_then(
    qtbot: QtBot, desk: Desk
) -> None:
    machine = np.array(desk.study.labels.machine(desk.case.id))
    machine[SLICE] = desk.disc(40, 14)
    desk.publish(ArrayName.PREDICTION, machine)
    desk.annotation.go_to(SLICE)
    paint(desk, 50, 52)
    desk.annotation.flush()
    desk.publish(ArrayName.PREDICTION, np.zeros_like(machine))
    found = asked(qtbot, desk)
    assert (found[desk.rows // 2 - 3 : desk.rows // 2 + 3, 50:55] == 0).all()
    assert np.array_equal(found[:, :40], desk.disc(40, 14)[:, :40])


def test_an_answer_that_is_awaited_when_the_case_closes_comes_to_nothing(
    qtbot: QtBot, viewer: ViewerModel, study: Study
) -> None:
    desk = Desk(viewer, study)
    accepted_and_painted(desk)
    desk.annotation.answers.ask()
    desk.annotation.close()
    assert desk.annotation.answers.offered is None

"""The row of classes: their chips, padlocks and eyes."""

from collections.abc import Sequence

import pytest
from at_work import heard
from canvas import LEFT, PLAIN
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, QPointF, QRect, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication

from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.palette import color_of
from napari_mlbseg.project.records.slices import SliceState
from napari_mlbseg.widgets.panels.class_chips import ClassChips
from napari_mlbseg.widgets.panels.style import STATE_COLORS, contrast, ink_on


def classes(count: int) -> list[LabelClass]:
    long = " with a name that is far too long for any chip"
    return [LabelClass(v, f"class {v}{long}", color_of(v)) for v in range(1, count + 1)]


def chips_of(qtbot: QtBot, many: Sequence[LabelClass]) -> ClassChips:
    made = ClassChips()
    qtbot.addWidget(made)
    made.set_classes(many)
    made.resize(360, 26)
    made.show()
    return made


def values(chips: ClassChips) -> list[int]:
    return [one.value for one, _ in chips.on_view()]


def click(qtbot: QtBot, chips: ClassChips, where: QRect) -> None:
    qtbot.mouseClick(chips, LEFT, PLAIN, where.center())


def test_a_click_chooses_a_class_or_asks_for_its_lock_or_eye(qtbot: QtBot) -> None:
    chips = chips_of(qtbot, classes(3))
    told = heard(chips.chosen), heard(chips.lock_asked), heard(chips.eye_asked)
    _, chip = chips.on_view()[1]
    click(qtbot, chips, QRect(chip.left(), chip.top(), 30, chip.height()))
    click(qtbot, chips, chips.lock_of(chip))
    click(qtbot, chips, chips.eye_of(chip))
    assert told == ([2], [2], [2])
    assert "class 2 with a name that is far too long" in chips.said_at(chip.topLeft())
    assert "Ctrl+2" in chips.said_at(chip.topLeft())
    assert "not locked" in chips.said_at(chips.lock_of(chip).center())
    chips.set_marks({2}, {2})
    assert ": locked" in chips.said_at(chips.lock_of(chip).center())
    assert ": hidden" in chips.said_at(chips.eye_of(chip).center())


@pytest.mark.parametrize("count", [1, 9, 254])
def test_however_many_classes_there_are_each_can_be_reached(qtbot: QtBot, count: int) -> None:
    chips = chips_of(qtbot, classes(count))
    chips.set_current(count)
    assert count in values(chips)
    assert all(chip.left() >= 0 and chip.right() < chips.width() for _, chip in chips.on_view())
    reached = set(values(chips))
    for _ in range(count):
        qtbot.mouseClick(chips, LEFT, PLAIN, QPoint(3, 12))
        reached |= set(values(chips))
    assert reached == set(range(1, count + 1))
    assert values(chips)[0] == 1


def test_the_wheel_goes_through_the_chips(qtbot: QtBot) -> None:
    chips = chips_of(qtbot, classes(9))
    place = QPointF(100, 12)
    turned = QWheelEvent(
        *(place, QPointF(chips.mapToGlobal(place.toPoint())), QPoint(0, 0), QPoint(0, -240)),
        *(Qt.MouseButton.NoButton, PLAIN, Qt.ScrollPhase.NoScrollPhase, False),
    )
    QApplication.sendEvent(chips, turned)
    assert values(chips)[0] == 3


@pytest.mark.parametrize("state", list(SliceState))
def test_the_state_of_a_slice_can_be_read_on_its_colour(state: SliceState) -> None:
    assert contrast(STATE_COLORS[state], ink_on(STATE_COLORS[state])) >= 4.5

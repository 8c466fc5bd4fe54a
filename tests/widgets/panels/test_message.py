"""The message line: whole or cut off, until the next action, and never in the way."""

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QMessageBox

from napari_mlbseg.widgets.panels.message import MessageLine

LEFT = Qt.MouseButton.LeftButton
LONG = "The labels of case 7 lie elsewhere than its image. " * 20


@pytest.fixture
def line(qtbot: QtBot) -> MessageLine:
    made = MessageLine()
    qtbot.addWidget(made)
    made.resize(360, made.height())
    made.show()
    return made


def label(line: MessageLine) -> QLabel:
    found = line.findChild(QLabel)
    assert found is not None
    return found


def test_nothing_moves_when_a_message_comes_or_goes(line: MessageLine) -> None:
    height = line.maximumHeight(), line.minimumHeight()
    for text in ("Saved.", LONG, ""):
        line.say(text)
        assert (line.maximumHeight(), line.minimumHeight()) == height


@pytest.mark.parametrize("width", [200, 360, 700])
def test_a_long_message_is_cut_to_what_fits(line: MessageLine, width: int) -> None:
    line.resize(width, line.height())
    line.say(LONG)
    assert line.cut
    shown = label(line).text()
    assert shown.endswith("…")
    assert LONG.startswith(shown[:-1])
    room = label(line).contentsRect().size()
    needed = label(line).heightForWidth(label(line).width())
    assert needed <= label(line).height() + 1
    assert len(shown) > room.width() / 8  # it is not cut to next to nothing
    assert label(line).toolTip() == LONG


def test_a_short_message_is_whole_and_not_taken_for_markup(line: MessageLine) -> None:
    line.say("<b>case</b> & more")
    assert not line.cut
    assert label(line).text() == "<b>case</b> & more"
    assert label(line).textFormat() == Qt.TextFormat.PlainText


def test_a_click_shows_the_whole_of_a_message_that_is_cut(qtbot: QtBot, line: MessageLine) -> None:
    line.say("Short.")
    qtbot.mouseClick(label(line), LEFT)
    assert line.findChildren(QMessageBox) == []
    line.say(LONG)
    qtbot.mouseClick(label(line), LEFT)
    (box,) = line.findChildren(QMessageBox)
    assert box.text() == LONG
    box.close()


def test_a_message_can_be_dismissed(qtbot: QtBot, line: MessageLine) -> None:
    assert not line.dismiss.isVisible()
    line.say("Saved.")
    assert line.text() == "Saved."
    qtbot.mouseClick(line.dismiss, LEFT)
    assert line.text() == ""
    assert not line.dismiss.isVisible()


def test_what_is_held_comes_back_until_it_is_over(line: MessageLine) -> None:
    line.hold("The last edits are not saved.")
    line.say("Exported.")
    assert line.text() == "Exported."
    line.clear()
    assert line.text() == "The last edits are not saved."
    assert not line.dismiss.isVisible()
    line.clear()
    assert line.text() == "The last edits are not saved."
    line.hold("")
    assert line.text() == ""
    line.say("Exported.")
    line.hold("")  # over already: what was said since stays
    assert line.text() == "Exported."

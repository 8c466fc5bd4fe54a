import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QRect, Qt
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_mlbseg.widgets.panels.tour import Tour

LEFT = Qt.MouseButton.LeftButton


@pytest.mark.every_binding
def test_a_tour_goes_from_control_to_control_and_away(qtbot: QtBot) -> None:
    dock = QWidget()
    qtbot.addWidget(dock)
    first, second = QLabel("first"), QLabel("second")
    tour = Tour(dock, [(first, "Here."), (second, "There.")])
    column = QVBoxLayout(dock)
    for each in (first, second, tour):
        column.addWidget(each)
    dock.resize(300, 200)
    dock.show()
    frame = tour._frame
    assert tour.isHidden()
    tour.begin()
    assert tour.text.text() == "1 of 2. Here."
    assert frame.geometry().contains(QRect(first.pos(), first.size()))
    assert not frame.geometry().intersects(QRect(second.pos(), second.size()))
    qtbot.mouseClick(tour.next, LEFT)
    assert (tour.text.text(), tour.next.text()) == ("2 of 2. There.", "Done")
    assert frame.geometry().contains(QRect(second.pos(), second.size()))
    qtbot.mouseClick(tour.next, LEFT)
    assert tour.isHidden()
    assert frame.isHidden()
    tour.begin()
    qtbot.mouseClick(tour.close_button, LEFT)
    assert tour.isHidden()
    assert frame.isHidden()

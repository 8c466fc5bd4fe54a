"""Keyboard and wheel in the real window, with events as they come from the screen."""

from collections.abc import Callable

import napari
import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent, QWindow
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDockWidget,
    QLabel,
    QLineEdit,
    QMainWindow,
    QScrollArea,
    QScrollBar,
    QSpinBox,
    QStyle,
    QStyleOptionSpinBox,
    QTabBar,
    QVBoxLayout,
    QWidget,
)
from real_input import QTest

from napari_mlbseg.engine.config import Config
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.slices import SliceState
from napari_mlbseg.widgets.case.annotation import Annotation
from napari_mlbseg.widgets.dock import MLBSegDock
from napari_mlbseg.widgets.focus import FocusKeeper
from napari_mlbseg.widgets.panels.classes_dialog import ClassesDialog

LEFT = Qt.MouseButton.LeftButton
SHIFT = Qt.KeyboardModifier.ShiftModifier
PATIENCE_MS = 60_000
PAINTED = 2


class Hands:
    """Mouse and keyboard on napari's window; positions are those of the canvas."""

    def __init__(self, dock: MLBSegDock) -> None:
        self.dock = dock

    @property
    def main(self) -> QMainWindow:
        """Looked for each time: whoever keeps it keeps napari's window after the test."""
        above = self.dock.parentWidget()
        while not isinstance(above, QMainWindow):
            assert above is not None
            above = above.parentWidget()
        return above

    @property
    def canvas(self) -> QWidget:
        center = self.main.centralWidget()
        assert center is not None
        return next(w for w in center.findChildren(QWidget) if w.inherits("QOpenGLWidget"))

    @property
    def screen(self) -> QWindow:
        handle = self.main.windowHandle()
        assert handle is not None
        return handle

    @property
    def annotation(self) -> Annotation:
        annotation = self.dock.workbench.annotation
        assert annotation is not None
        return annotation

    def at(self, x: int, y: int) -> QPoint:
        return self.canvas.mapTo(self.main, self.canvas.rect().center() + QPoint(x, y))

    def point_at_canvas(self) -> None:
        """Bring the pointer to the canvas, in two moves as a hand does."""
        for x in (-60, -50):
            QTest.mouseMove(self.screen, self.at(x, 0))
            QApplication.processEvents()

    def point_at_dock(self) -> None:
        QTest.mouseMove(self.screen, self.dock.mapTo(self.main, QPoint(30, 5)))
        QApplication.processEvents()

    def click_canvas(self, x: int = 0, y: int = 0) -> None:
        """Press and release; from another place Qt moves the pointer there first."""
        QTest.mouseClick(self.screen, LEFT, pos=self.at(x, y))
        QApplication.processEvents()

    def click(self, widget: QWidget | None, place: QPoint | None = None) -> None:
        """Where it lies on the screen, the pointer having been moved there."""
        assert widget is not None
        self.show(widget)
        place = widget.rect().center() if place is None else place
        QTest.mouseMove(self.screen, widget.mapTo(self.main, place))
        QTest.mouseClick(self.screen, LEFT, pos=widget.mapTo(self.main, place))
        QApplication.processEvents()

    def show(self, widget: QWidget) -> None:
        """Its tab, if it is on one."""
        self.dock.bring(widget)
        QApplication.processEvents()

    def key(self, key: str | Qt.Key, modifier: Qt.KeyboardModifier | None = None) -> None:
        """To whatever has the keyboard."""
        window = QApplication.focusWindow()
        assert window is not None
        QTest.keyClick(window, key, modifier or Qt.KeyboardModifier.NoModifier)
        QApplication.processEvents()

    def type(self, text: str) -> None:
        for letter in text:
            self.key(letter)

    def painted(self) -> int:
        """Pixels of the slice on view that show the class that is painted with here."""
        key = self.annotation.key
        shown = np.asarray(self.annotation.layers.working.data[key.index])
        return int((shown == PAINTED).sum())

    def keys_work(self) -> bool:
        """Whether the accept key makes the slice on view clean."""
        annotation = self.annotation
        index = annotation.key.index
        self.key("a", SHIFT)
        return annotation.states()[index] is SliceState.CLEAN


@pytest.fixture
def window(make_napari_viewer: Callable[..., napari.Viewer]) -> napari.Viewer:
    return make_napari_viewer(show=True)


@pytest.fixture
def hands(qtbot: QtBot, dock: MLBSegDock) -> Hands:
    hands = Hands(dock)
    hands.main.resize(1400, 980)
    dock.training_panel.settings.expand()
    activate(qtbot, hands.main)
    working = hands.annotation.layers.working
    working.data_setitem(tuple(np.nonzero(np.asarray(working.data) == PAINTED)), 0)
    working.selected_label = PAINTED
    assert hands.painted() == 0
    return hands


def activate(qtbot: QtBot, window: QWidget) -> None:
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow, timeout=PATIENCE_MS)


def text_of(box: QAbstractSpinBox) -> QLineEdit:
    edit = box.lineEdit()
    assert edit is not None
    return edit


def arrow_of(box: QAbstractSpinBox) -> QPoint:
    option = QStyleOptionSpinBox()
    box.initStyleOption(option)
    style = box.style()
    assert style is not None
    up = QStyle.SubControl.SC_SpinBoxUp
    return style.subControlRect(QStyle.ComplexControl.CC_SpinBox, option, up, box).center()


# --- a click leaves the keyboard with the canvas --------------------------------------------------


def test_keys_work_after_a_click_on_the_list_of_cases(hands: Hands) -> None:
    panel = hands.dock.cases_panel
    place = panel.table.visualRect(panel.shown.index(1, 0)).center()
    hands.click(panel.table.viewport(), place)
    assert hands.annotation.case.id == "phantom_02"
    assert hands.keys_work()


def test_a_digit_after_choosing_a_class_chooses_no_other(hands: Hands) -> None:
    box = hands.dock.slices_panel.label
    hands.click(box)
    hands.key(Qt.Key.Key_Up)
    hands.key(Qt.Key.Key_Return)
    assert hands.annotation.label == box.currentData() == 1
    hands.key("2")
    assert hands.annotation.label == box.currentData() == 1
    hands.key(Qt.Key.Key_Down)
    assert hands.annotation.label == box.currentData() == 1
    assert hands.keys_work()


def test_keys_work_after_a_click_on_anything_but_a_text(hands: Hands, qtbot: QtBot) -> None:
    dock = hands.dock
    training, slices = dock.training_panel, dock.slices_panel
    steps = training.form.control("steps")
    hands.show(steps)
    hands.click(steps, arrow_of(steps))
    assert steps.value() == Config().steps + 100
    assert hands.canvas.hasFocus()
    bar = dock.tabs.tabBar()
    assert bar is not None
    for tab in (1, 2, 3, 0):
        hands.click(bar, bar.tabRect(tab).center())
        assert dock.tabs.currentIndex() == tab
        assert hands.canvas.hasFocus()
    for widget in (slices.strip, slices.title, slices.buttons["weights"], training.plot):
        hands.click(widget)
        assert hands.canvas.hasFocus(), widget
    assert hands.keys_work()
    for each in filter(dock.isAncestorOf, dock.findChildren(QWidget)):
        typed = isinstance(each, (QLineEdit, QAbstractSpinBox, QLabel))
        by_click = (Qt.FocusPolicy.ClickFocus, Qt.FocusPolicy.StrongFocus)
        wanted = (Qt.FocusPolicy.NoFocus, Qt.FocusPolicy.TabFocus, *(by_click if typed else ()))
        assert each.focusPolicy() in wanted, each


def test_a_control_reached_by_tab_hands_the_keyboard_back_after_the_choice(
    hands: Hands, qtbot: QtBot
) -> None:
    panel = hands.dock.slices_panel
    panel.label.setFocus(Qt.FocusReason.TabFocusReason)
    hands.key(Qt.Key.Key_Down, Qt.KeyboardModifier.AltModifier)
    qtbot.waitUntil(lambda: QApplication.activePopupWidget() is not None, timeout=PATIENCE_MS)
    hands.key(Qt.Key.Key_Return)
    qtbot.waitUntil(hands.canvas.hasFocus, timeout=PATIENCE_MS)
    table = hands.dock.cases_panel.table
    hands.dock.bring(table)
    table.setFocus(Qt.FocusReason.TabFocusReason)
    hands.key(Qt.Key.Key_Down)
    hands.key(Qt.Key.Key_Return)
    qtbot.waitUntil(hands.canvas.hasFocus, timeout=PATIENCE_MS)
    assert hands.annotation.case.id == "phantom_02"


# --- the pointer takes it, but not from somebody who types ----------------------------------------


def test_the_pointer_over_the_canvas_takes_the_keyboard(hands: Hands) -> None:
    steps = hands.dock.training_panel.form.control("steps")
    holders: list[QWidget] = [hands.dock.cases_panel.table, hands.dock.slices_panel.axis]
    for holder in holders:
        hands.point_at_dock()
        hands.dock.bring(holder)
        holder.setFocus(Qt.FocusReason.TabFocusReason)
        hands.point_at_canvas()
        assert hands.canvas.hasFocus()
    hands.click(text_of(steps))
    assert steps.hasFocus()
    hands.point_at_canvas()
    assert hands.keys_work()


def test_a_number_that_is_being_typed_is_typed_to_its_end(hands: Hands) -> None:
    steps = hands.dock.training_panel.form.control("steps")
    hands.click(text_of(steps))
    text_of(steps).selectAll()
    hands.type("25")
    hands.point_at_canvas()
    hands.type("00")
    assert steps.value() == 2500
    hands.key(Qt.Key.Key_Return)
    assert hands.keys_work()
    assert steps.value() == 2500


def test_a_line_of_text_keeps_the_keyboard_until_it_is_left(hands: Hands) -> None:
    hands.dock.bring(hands.dock.export_panel)
    folder = hands.dock.export_panel.folder
    hands.click(folder)
    hands.point_at_canvas()  # out of the way, before anything is typed
    hands.type("/two")
    hands.point_at_dock()
    hands.point_at_canvas()
    hands.type("/1p2")
    for end in (Qt.Key.Key_Return, Qt.Key.Key_Escape):
        folder.setFocus()
        hands.key(end)
        assert hands.keys_work()
    assert folder.text() == "/two/1p2"


def test_nothing_is_taken_from_a_text_of_somebody_else(hands: Hands, window: napari.Viewer) -> None:
    other = QLineEdit()
    window.window.add_dock_widget(other, area="left")
    other.setFocus()
    hands.point_at_canvas()
    hands.type("12")
    assert other.text() == "12"


def test_a_dock_that_floats_gives_the_keyboard_back_too(hands: Hands, qtbot: QtBot) -> None:
    shell = hands.dock.parentWidget()
    while not isinstance(shell, QDockWidget):
        assert shell is not None
        shell = shell.parentWidget()
    shell.setFloating(True)
    activate(qtbot, shell)
    hands.dock.slices_panel.axis.setFocus(Qt.FocusReason.TabFocusReason)
    hands.point_at_canvas()
    qtbot.waitUntil(hands.canvas.hasFocus, timeout=PATIENCE_MS)
    assert hands.keys_work()


# --- a click that only brings the keyboard paints nothing -----------------------------------------


def test_the_click_that_ends_typing_does_not_paint(hands: Hands) -> None:
    steps = hands.dock.training_panel.form.control("steps")
    hands.click(text_of(steps))
    hands.type("7")
    hands.point_at_canvas()
    assert steps.hasFocus()
    QTest.mousePress(hands.screen, LEFT, pos=hands.at(0, 0))
    QTest.mouseMove(hands.screen, hands.at(20, 0))
    QTest.mouseRelease(hands.screen, LEFT, pos=hands.at(20, 0))
    assert hands.canvas.hasFocus()
    assert hands.painted() == 0
    hands.click_canvas(5, 5)
    assert hands.painted() > 0


def test_the_click_after_a_click_in_the_dock_paints(hands: Hands) -> None:
    panel = hands.dock.cases_panel
    hands.click(panel.table.viewport(), panel.table.visualRect(panel.shown.index(0, 0)).center())
    hands.point_at_canvas()
    hands.click_canvas()
    assert hands.painted() > 0


def test_the_click_that_brings_the_window_to_the_front_does_not_paint(
    hands: Hands, qtbot: QtBot
) -> None:
    other = QWidget()
    qtbot.addWidget(other)
    other.show()
    activate(qtbot, other)
    QTest.mouseMove(hands.screen, hands.at(0, 0))
    activate(qtbot, hands.main)  # what a window manager does at the press
    hands.click_canvas()
    assert hands.painted() == 0
    hands.click_canvas(5, 5)
    assert hands.painted() > 0


def test_the_click_that_closes_a_list_does_not_paint(hands: Hands, qtbot: QtBot) -> None:
    hands.click(hands.dock.slices_panel.axis)
    qtbot.waitUntil(lambda: QApplication.activePopupWidget() is not None, timeout=PATIENCE_MS)
    hands.click_canvas()
    qtbot.waitUntil(lambda: QApplication.activePopupWidget() is None, timeout=PATIENCE_MS)
    hands.click_canvas()  # some systems deliver once more what has closed a list
    assert hands.painted() == 0
    hands.point_at_canvas()
    hands.click_canvas(5, 5)
    assert hands.painted() > 0


# --- the wheel ------------------------------------------------------------------------------------


def turn(widget: QWidget) -> None:
    """One notch of the wheel towards oneself, in the middle of a widget.

    As Qt does with what comes from the screen, and only with that: whoever does not accept it
    leaves it to its parent.
    """
    screen = widget.mapToGlobal(widget.rect().center())
    receiver: QWidget | None = widget
    while receiver is not None:
        event = QWheelEvent(
            QPointF(receiver.mapFromGlobal(screen)),
            QPointF(screen),
            QPoint(0, 0),
            QPoint(0, -120),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        event.ignore()
        if QApplication.sendEvent(receiver, event) and event.isAccepted():
            return
        receiver = None if receiver.isWindow() else receiver.parentWidget()


def turned_by_wheel(root: QWidget) -> list[QWidget]:
    kinds = (QComboBox, QAbstractSpinBox, QAbstractSlider, QTabBar)
    found = [w for w in root.findChildren(QWidget) if isinstance(w, kinds)]
    return [w for w in found if not isinstance(w, QScrollBar)]


def state_of(widget: QWidget) -> object:
    if isinstance(widget, QAbstractSpinBox):
        return widget.text()
    if isinstance(widget, (QComboBox, QTabBar)):
        return widget.currentIndex()
    assert isinstance(widget, QAbstractSlider)
    return widget.value()


def test_the_wheel_scrolls_the_dock_and_changes_nothing(hands: Hands, qtbot: QtBot) -> None:
    areas = hands.dock.findChildren(QScrollArea)
    bars = [bar for area in areas if (bar := area.verticalScrollBar()) is not None]
    outer = bars[0]
    hands.main.resize(1400, 500)
    qtbot.waitUntil(lambda: outer.maximum() > outer.minimum(), timeout=PATIENCE_MS)
    hands.dock.training_panel.form.more.expand()
    controls = turned_by_wheel(hands.dock)
    scrolled = set()
    for tab in range(hands.dock.tabs.count()):
        hands.dock.tabs.setCurrentIndex(tab)
        before = [state_of(each) for each in controls]
        for each in (w for w in controls if w.isVisible()):
            for bar in bars:
                bar.setValue(bar.minimum())
            turn(each)
            assert [state_of(w) for w in controls] == before, each
            assert any(bar.value() > bar.minimum() for bar in bars), each
            scrolled.add(each)
    assert scrolled == set(controls)
    study = hands.dock.workbench.study
    assert study is not None
    assert [case.axis for case in study.cases] == [0, 0]


def test_the_wheel_changes_a_number_after_a_click_into_it(hands: Hands) -> None:
    steps = hands.dock.training_panel.form.control("steps")
    hands.click(text_of(steps))
    turn(steps)
    assert steps.value() == Config().steps - 100


@pytest.fixture
def plain(qtbot: QtBot) -> QWidget:
    """A dock that belongs to no window of napari."""
    dock = QWidget()
    qtbot.addWidget(dock)
    QVBoxLayout(dock)
    FocusKeeper(dock)
    dock.show()
    return dock


def test_the_wheel_over_a_dialog_changes_nothing(plain: QWidget, qtbot: QtBot) -> None:
    dialog = ClassesDialog([LabelClass(1, "organ", (1, 2, 3))], plain)
    qtbot.addWidget(dialog)
    number = QSpinBox()
    dialog.table.setCellWidget(0, 0, number)
    dialog.show()
    activate(qtbot, dialog)
    assert number.focusPolicy() == Qt.FocusPolicy.StrongFocus
    number.setValue(5)
    turn(number)
    assert number.value() == 5
    number.setFocus()
    turn(number)
    assert number.value() == 4


def test_controls_that_come_later_have_the_same_manners(plain: QWidget, qtbot: QtBot) -> None:
    layout = plain.layout()
    assert layout is not None
    group, box = QWidget(), QComboBox()
    QVBoxLayout(group).addWidget(box)
    box.addItems(["one", "two"])
    layout.addWidget(group)
    qtbot.waitUntil(box.isVisible, timeout=PATIENCE_MS)
    turn(box)
    assert box.currentIndex() == 0
    assert box.focusPolicy() == Qt.FocusPolicy.TabFocus

"""The reading layout: napari's side panels are folded away and come back."""

import pytest
from bench import WindowAtWork
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow

from napari_mlbseg.widgets.focus import main_window_of
from napari_mlbseg.widgets.reading.side_panels import PANELS


def window(bench: WindowAtWork) -> QMainWindow:
    found = main_window_of(bench.dock)
    assert found is not None
    return found


def there(main: QMainWindow) -> set[str]:
    docks = main.findChildren(QDockWidget)
    return {one.objectName() for one in docks if not one.isHidden()} & set(PANELS)


@pytest.mark.every_binding
def test_one_key_folds_the_panels_away_and_brings_them_back(
    qtbot: QtBot, bench: WindowAtWork
) -> None:
    button, narrow = bench.dock.habits.panel.layout_button, bench.hand.canvas.width()
    assert there(window(bench)) == set(PANELS)
    bench.hand.press(Qt.Key.Key_F8)
    assert there(window(bench)) == set()
    assert button.isChecked()
    qtbot.waitUntil(lambda: bench.hand.canvas.width() > narrow + 100)
    bench.hand.press(Qt.Key.Key_F8)
    assert there(window(bench)) == set(PANELS)
    assert not button.isChecked()
    qtbot.waitUntil(lambda: bench.hand.canvas.width() == narrow)


@pytest.mark.one_binding
def test_a_panel_that_was_hidden_before_stays_hidden(bench: WindowAtWork) -> None:
    button = bench.dock.habits.panel.layout_button
    hidden, kept = PANELS
    for each in window(bench).findChildren(QDockWidget):
        if each.objectName() == hidden:
            each.hide()
    button.click()
    assert there(window(bench)) == set()
    button.click()
    assert there(window(bench)) == {kept}
    assert not button.isChecked()


@pytest.mark.one_binding
def test_where_nothing_is_there_to_fold_the_button_stays_up(bench: WindowAtWork) -> None:
    for each in window(bench).findChildren(QDockWidget):
        if each.objectName() in PANELS:
            each.hide()
    bench.dock.habits.panel.layout_button.click()
    assert not bench.dock.habits.panel.layout_button.isChecked()


@pytest.mark.one_binding
def test_the_panels_come_back_with_the_end_of_the_study(bench: WindowAtWork) -> None:
    bench.dock.habits.side_panels.toggle()
    bench.dock.workbench.view.choose("b")
    assert there(window(bench)) == set()
    bench.dock.workbench.close_study()
    assert there(window(bench)) == set(PANELS)


def test_the_panels_are_back_before_napari_keeps_how_its_window_looks(
    bench: WindowAtWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[set[str]] = []
    # Of the class: whoever keeps a window keeps it after the test.
    save = "_save_current_window_settings"
    monkeypatch.setattr(type(window(bench)), save, lambda main: kept.append(there(main)))
    bench.dock.habits.side_panels.toggle()
    assert there(window(bench)) == set()
    bench.viewer.close()
    assert kept == [set(PANELS)]

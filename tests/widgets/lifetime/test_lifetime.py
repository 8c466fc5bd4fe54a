"""The dock in a real window: closed and opened again, and what it asks before something is left."""

from collections.abc import Callable, Iterator
from pathlib import Path

import napari
import pytest
from full_disk import REASON, Disk
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication, QDockWidget, QMessageBox, QPushButton
from real_input import QTest
from scripted import ScriptedEngine

from napari_mlbseg.engine import events as ev
from napari_mlbseg.engine.config import Config
from napari_mlbseg.project.folder.lock import StudyLocked
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.rescue import Rescue
from napari_mlbseg.project.rescue_files import rescue_folder, rescues_in, write_rescue
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.dock import MLBSegDock, open_dock
from napari_mlbseg.widgets.lifetime import dock_life as lifetime
from napari_mlbseg.widgets.lifetime.questions import Question

LEFT = Qt.MouseButton.LeftButton
LONG = 60_000


@pytest.fixture
def window(make_napari_viewer: Callable[..., napari.Viewer]) -> napari.Viewer:
    return make_napari_viewer()


@pytest.fixture
def dock(qtbot: QtBot, window: napari.Viewer, study_path: Path, disk: Disk) -> Iterator[MLBSegDock]:
    made = open_dock(window, study_path)
    yield made
    disk.full = False
    for question in questions():
        question.finish()
    made.workbench.shut_down()


def questions() -> list[Question]:
    return [w for w in QApplication.topLevelWidgets() if isinstance(w, Question) and w.isVisible()]


def asked(qtbot: QtBot) -> Question:
    """The one question that is open, as soon as it is."""
    qtbot.waitUntil(lambda: len(questions()) == 1, timeout=LONG)
    return questions()[0]


def choose(qtbot: QtBot, text: str) -> None:
    qtbot.mouseClick(asked(qtbot).answers[text], LEFT)


def paint(dock: MLBSegDock, index: int) -> None:
    annotation = dock.workbench.annotation
    assert annotation is not None
    annotation.go_to(index)
    annotation.layers.working.paint((index, 4, 4), 2)


def click_case(dock: MLBSegDock, row: int) -> None:
    """A click on a row of the list of cases."""
    table = dock.cases_panel.table
    place = table.visualRect(dock.cases_panel.shown.index(row, 0)).center()
    viewport = table.viewport()
    assert viewport is not None
    QTest.mouseClick(viewport, LEFT, Qt.KeyboardModifier.NoModifier, QPoint(place))


def click_title(qtbot: QtBot, dock: MLBSegDock, name: str) -> None:
    """A click on a button of the title that napari gives every dock."""
    place = dock.parentWidget()
    assert isinstance(place, QDockWidget)
    title = place.titleBarWidget()
    assert title is not None
    button = title.findChild(QPushButton, name)
    assert isinstance(button, QPushButton)
    qtbot.mouseClick(button, LEFT)


def by_the_menu(window: napari.Viewer) -> None:
    """Plugins > MLB-Seg (MLB-Seg)."""
    menu = window.window.plugins_menu
    menu.aboutToShow.emit()
    (action,) = [a for a in menu.actions() if a.text() == lifetime.NAME]
    action.trigger()


def docks(window: napari.Viewer) -> list[MLBSegDock]:
    return [w for w in window.window.dock_widgets.values() if isinstance(w, MLBSegDock)]


def check_alive(dock: MLBSegDock, window: napari.Viewer, study_path: Path) -> None:
    """One dock, which has the study, its lock and its strokes."""
    assert docks(window) == [dock]
    assert dock.study_panel.name.text() == "phantoms"
    assert dock.training_panel.start.isEnabled()
    with pytest.raises(StudyLocked):
        Study.open(study_path)
    paint(dock, 9)
    assert dock.workbench.annotation is not None
    dock.workbench.annotation.flush()
    assert dock.cases_panel.model.rows[0].drafts == 1


def test_a_closed_dock_comes_back_with_its_study(
    qtbot: QtBot,
    dock: MLBSegDock,
    window: napari.Viewer,
    study_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    monkeypatch.setattr(lifetime, "show_info", told.append)
    click_title(qtbot, dock, "QTitleBarCloseButton")
    assert docks(window) == []
    qtbot.waitUntil(lambda: len(told) == 1, timeout=LONG)
    assert "stays open" in told[0]
    by_the_menu(window)
    check_alive(dock, window, study_path)


def test_a_training_goes_on_and_is_in_hand_again(
    qtbot: QtBot, dock: MLBSegDock, window: napari.Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(lifetime, "show_info", told.append)
    engine = ScriptedEngine()
    dock.workbench.engine = engine
    qtbot.mouseClick(dock.training_panel.start, LEFT)
    click_title(qtbot, dock, "QTitleBarCloseButton")
    qtbot.waitUntil(lambda: len(told) == 1, timeout=LONG)
    assert "the training continues" in told[0]
    assert open_dock(window) is dock
    assert docks(window) == [dock]
    qtbot.waitUntil(dock.training_panel.stop.isEnabled, timeout=LONG)
    qtbot.mouseClick(dock.training_panel.stop, LEFT)
    qtbot.waitUntil(lambda: not dock.workbench.bridge.running, timeout=LONG)
    assert engine.heard[-1] == ev.Stop()


def test_hiding_and_the_menu_keep_everything(
    qtbot: QtBot, dock: MLBSegDock, window: napari.Viewer, study_path: Path
) -> None:
    click_title(qtbot, dock, "QTitleBarHideButton")
    by_the_menu(window)
    check_alive(dock, window, study_path)


def test_a_window_has_one_dock_however_it_is_asked_for(
    dock: MLBSegDock, window: napari.Viewer, study_path: Path
) -> None:
    _, again = window.window.add_plugin_dock_widget("napari-mlbseg", "MLB-Seg")
    assert again is dock
    assert open_dock(window) is dock
    check_alive(dock, window, study_path)


def test_a_click_on_another_case_asks_first_and_staying_marks_the_case_again(
    qtbot: QtBot, dock: MLBSegDock, disk: Disk
) -> None:
    disk.full = True
    paint(dock, 5)
    click_case(dock, 1)
    assert REASON in asked(qtbot).text.text()
    assert REASON in dock.message.text()
    QTest.keyClick(asked(qtbot), Qt.Key.Key_Escape)
    assert questions() == []
    assert dock.cases_panel.table.currentIndex().row() == 0
    click_case(dock, 1)
    choose(qtbot, "Try again")
    disk.full = False
    choose(qtbot, "Try again")
    assert questions() == []
    assert dock.workbench.annotation is not None
    assert dock.workbench.annotation.case.id == "phantom_02"
    assert dock.cases_panel.model.rows[0].drafts == 1


def test_discarding_is_confirmed(qtbot: QtBot, dock: MLBSegDock, disk: Disk) -> None:
    disk.full = True
    paint(dock, 5)
    click_case(dock, 1)
    question = asked(qtbot)
    for text in ("Keep", "Discard"):
        qtbot.mouseClick(question.answers["Discard the edits…"], LEFT)
        box = next(
            w
            for w in QApplication.topLevelWidgets()
            if isinstance(w, QMessageBox) and w.isVisible()
        )
        button = next(b for b in box.buttons() if b.text() == text)
        assert dock.workbench.holding.unsaved is not None
        qtbot.mouseClick(button, LEFT)
    qtbot.waitUntil(lambda: dock.workbench.holding.unsaved is None, timeout=LONG)
    assert dock.workbench.annotation is not None
    assert dock.workbench.annotation.case.id == "phantom_02"
    assert list(rescues_in(rescue_folder())) == []


def test_closing_a_study_in_training_waits_in_sight(
    qtbot: QtBot, dock: MLBSegDock, study_path: Path
) -> None:
    bench = dock.workbench
    held = [True]

    def slow(inbox: ev.Inbox) -> Iterator[ev.Event]:
        while held or not inbox:
            inbox.drain(timeout_s=0.01)
            yield ev.Heartbeat()
        yield ev.Finished(1, 1, True, 1.0)

    bench.engine = lambda *_: slow
    assert bench.train(Config())
    dock.study_panel.close_study.trigger()
    assert list(asked(qtbot).answers) == ["Stay"]
    choose(qtbot, "Stay")
    assert bench.study is not None
    dock.study_panel.close_study.trigger()
    asked(qtbot)
    held.clear()
    qtbot.waitUntil(lambda: bench.study is None, timeout=LONG)
    assert questions() == []
    Study.open(study_path).close()


def test_edits_of_last_time_are_offered_at_the_start(
    qtbot: QtBot, window: napari.Viewer, study_path: Path
) -> None:
    key = SliceKey("phantom_01", 0, 5)
    with Study.open(study_path) as study:
        mask = study.labels.working(key.case_id)[5]
        mask[4, 4] = 2
        write_rescue(rescue_folder() / "a.mlbseg-rescue", Rescue.of(study, {key: mask}))
    dock = open_dock(window)
    assert "phantom_01: labels of the slices 5" in asked(qtbot).text.text()
    choose(qtbot, "Open the study and restore")
    study = dock.workbench.study  # type: ignore[assignment]
    assert study is not None
    assert [(r.key, r.state) for r in study.slices.records()] == [(key, SliceState.DRAFT)]
    assert dock.cases_panel.model.rows[0].drafts == 1
    assert dock.slices_panel.state.text() == "draft"
    assert questions() == []
    dock.workbench.shut_down()

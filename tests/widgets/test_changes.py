"""Cases are renamed, relabelled, removed and restored from the menu of their list."""

import shutil
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
import pytest
from at_work import heard
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication, QFileDialog, QInputDialog, QMainWindow, QMenu, QMessageBox
from real_input import QTest
from scripted import ScriptedEngine

from napari_mlbseg.engine import events as ev
from napari_mlbseg.engine.config import Config
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.samples import PhantomCohort
from napari_mlbseg.widgets.dock import MLBSegDock
from napari_mlbseg.widgets.panels.add_cases import AddCasesDialog
from napari_mlbseg.widgets.panels.choices_dialog import ProblemsDialog

pytestmark = pytest.mark.one_binding

LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton


@pytest.fixture
def window(make_napari_viewer: Callable[..., napari.Viewer]) -> napari.Viewer:
    return make_napari_viewer(show=True)


class List:
    """The list of cases under a hand with a mouse."""

    def __init__(self, qtbot: QtBot, dock: MLBSegDock) -> None:
        self._qtbot, self._dock = qtbot, dock
        self.panel = dock.cases_panel
        main = dock.window()
        assert isinstance(main, QMainWindow)
        main.resize(1400, 900)
        QTest.qWaitForWindowExposed(main)
        dock.bring(self.panel)
        QApplication.processEvents()
        self._main = main

    @property
    def names(self) -> list[str]:
        shown = self.panel.shown
        return [shown.row(place).name for place in range(shown.rowCount())]

    def menu(self, row: int) -> QMenu:
        """What a right click on a row offers."""
        where, handle = self.panel.table.viewport(), self._main.windowHandle()
        assert where is not None
        assert handle is not None
        place = self.panel.table.visualRect(self.panel.shown.index(row, 0)).center()
        QTest.mouseClick(handle, RIGHT, pos=where.mapTo(self._main, place))
        self._qtbot.waitUntil(lambda: QApplication.activePopupWidget() is not None)
        menu = QApplication.activePopupWidget()
        assert isinstance(menu, QMenu)
        return menu

    def choose(self, row: int, text: str) -> None:
        menu = self.menu(row)
        action = next(one for one in menu.actions() if one.text().startswith(text))
        handle, center = menu.windowHandle(), menu.actionGeometry(action).center()
        assert handle is not None
        QTest.mouseMove(handle, center - QPoint(3, 0))
        QTest.mouseMove(handle, center)
        QTest.mouseClick(handle, LEFT, pos=center)
        self._qtbot.waitUntil(lambda: QApplication.activePopupWidget() is None)


def test_cases_change_from_the_menu_of_their_list(
    qtbot: QtBot, dock: MLBSegDock, cohort: PhantomCohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, cases = dock.workbench.study, List(qtbot, dock)
    assert study is not None
    annotation = dock.workbench.annotation
    assert annotation is not None
    annotation.layers.working.paint((5, 4, 4), 2)  # not saved yet
    cases.choose(0, "Rename")
    [asked] = cases.panel.findChildren(QInputDialog)
    asked.setTextValue("baseline")
    with qtbot.waitSignal(dock.workbench.changes.changed):
        QTest.keyClick(asked, Qt.Key.Key_Return)
    assert cases.names == ["baseline", "phantom_02"]
    assert dock.study_panel.case.text() == "baseline"
    assert study.slices.mask(SliceKey("phantom_01", 0, 5))[4, 4] == 2

    truth = cohort.truth / "phantom_01.nii.gz"
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(truth), ""))
    before = study.labels.machine("phantom_01")
    with qtbot.waitSignal(dock.workbench.changes.changed):
        cases.choose(0, "Take labels")
    assert study.case("phantom_01").labels_path == truth
    assert not np.array_equal(study.labels.machine("phantom_01"), before)
    qtbot.waitUntil(lambda: dock.workbench.annotation is not None)
    shown = dock.workbench.annotation
    assert shown is not None
    np.testing.assert_array_equal(shown.layers.working.data, study.labels.working("phantom_01"))

    cases.choose(0, "Remove")
    [box] = cases.panel.findChildren(QMessageBox)
    [remove] = [one for one in box.buttons() if one.text() == "Remove"]
    with qtbot.waitSignal(dock.workbench.changes.changed):
        QTest.mouseClick(remove, LEFT)
    assert cases.names == ["phantom_02"]
    assert dock.workbench.annotation is not None
    assert dock.workbench.annotation.case.id == "phantom_02"
    assert "baseline was removed" in dock.message.text()
    with qtbot.waitSignal(dock.workbench.changes.changed):
        cases.choose(0, "Restore baseline")
    assert cases.names == ["baseline", "phantom_02"]
    assert study.slices.mask(SliceKey("phantom_01", 0, 5))[4, 4] == 2

    first, second = study.classes
    before = study.labels.working("phantom_02")
    dialog = dock.slices_panel.ask_classes()
    dialog.table.selectRow(1)
    targets = dialog.merge.menu()
    assert targets is not None
    targets.popup(dialog.mapToGlobal(QPoint(5, 5)))
    [into, _] = targets.actions()
    QTest.mouseClick(targets, LEFT, pos=targets.actionGeometry(into).center())
    with qtbot.waitSignal(dock.workbench.classes_changed):
        dialog.accept()
    assert study.classes == (first,)
    assert study.slices.mask(SliceKey("phantom_01", 0, 5))[4, 4] == first.value
    shown = dock.workbench.annotation
    assert shown is not None
    assert shown.case.id == "phantom_02"
    expected = np.where(before == second.value, first.value, before)
    np.testing.assert_array_equal(shown.layers.working.data, expected)


def test_cases_of_a_folder_are_added_from_the_menu(
    qtbot: QtBot, dock: MLBSegDock, cohort: PhantomCohort, tmp_path: Path
) -> None:
    cases, bench = List(qtbot, dock), dock.workbench
    images, labels = tmp_path / "more", tmp_path / "rough"
    shutil.copytree(cohort.images, images)
    shutil.copytree(cohort.labels, labels)
    for folder in (images, labels):
        (folder / "phantom_01.nii.gz").rename(folder / "late.nii.gz")
        (folder / "phantom_02.nii.gz").unlink()
    (images / "broken.nii.gz").write_text("no image")
    dock.study_panel.add_cases.trigger()
    [dialog] = dock.study_panel.findChildren(AddCasesDialog)
    assert dialog.ok is not None
    assert not dialog.ok.isEnabled()
    dialog.images.text.setText(str(images))
    dialog.labels.text.setText(str(labels))
    with qtbot.waitSignal(bench.changes.added):
        QTest.mouseClick(dialog.ok, LEFT)
    assert cases.names == ["phantom_01", "phantom_02", "late"]
    [problems] = dock.study_panel.findChildren(ProblemsDialog)
    problems.close()
    study = bench.study
    assert study is not None
    assert study.labels.working("late").any()
    told = heard(bench.told)
    with qtbot.waitSignal(bench.changes.added):
        bench.changes.add(cohort.images, None)  # the cases that it was made of
    assert told == ["Added: nothing new."]
    assert cases.names == ["phantom_01", "phantom_02", "late"]


def test_while_the_training_runs_only_names_change(qtbot: QtBot, dock: MLBSegDock) -> None:
    study = dock.workbench.study
    assert study is not None
    dock.workbench.engine = ScriptedEngine()
    assert dock.workbench.train(Config())
    changes = dock.workbench.changes
    refused: list[Callable[[], None]] = [
        lambda: changes.remove("phantom_01"),
        lambda: changes.restore("phantom_01"),
        lambda: changes.relabel("phantom_01", Path("x.nii.gz")),
        lambda: changes.add(Path("more"), None),
    ]
    for change in refused:
        with qtbot.waitSignal(dock.workbench.failed) as failed:
            change()
        assert failed.args is not None
        assert "A training is going on" in failed.args[0]
    changes.rename("phantom_01", "baseline")
    assert [case.name for case in study.cases] == ["baseline", "phantom_02"]
    dock.workbench.send(ev.Stop())
    qtbot.waitUntil(lambda: not dock.workbench.bridge.running)

"""The dock in the real window."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import napari
import pytest
from contrast import drawn_contrasts, ink, pixels_of
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QLabel, QMessageBox, QScrollArea
from scripted import ScriptedEngine

from napari_mlbseg.engine import events as ev
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets import preferences
from napari_mlbseg.widgets.background.suggester import SHOWN
from napari_mlbseg.widgets.dock import _VIEWS, MLBSegDock, open_dock

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def window(make_napari_viewer: Callable[..., napari.Viewer]) -> napari.Viewer:
    return make_napari_viewer()


def paint(dock: MLBSegDock, index: int) -> Any:
    annotation = dock.workbench.annotation
    assert annotation is not None
    annotation.go_to(index)
    annotation.layers.working.paint((index, 4, 4), 2)
    return annotation.layers.working


def states(study_path: Path) -> dict[int, SliceState]:
    with Study.open(study_path, writable=False) as study:
        return {r.key.index: r.state for r in study.slices.records()}


def test_opening_the_dock_is_cheap() -> None:
    code = (
        "import sys, napari_mlbseg.widgets.dock;"
        "sys.exit(int('torch' in sys.modules or 'monai' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code]).returncode == 0


def test_keys_do_what_buttons_do(dock: MLBSegDock, window: napari.Viewer, study_path: Path) -> None:
    paint(dock, 5)
    press = {str(key): action for key, action in window.keymap.items()}
    press["Shift+A"](window)
    assert states(study_path) == {5: SliceState.CLEAN}
    assert "Slice 6" in dock.slices_panel.title.text()
    press["Shift+S"](window)
    assert states(study_path)[6] is SliceState.SKIPPED


@pytest.mark.one_binding
def test_a_study_that_is_opened_again_tells_how_many_slices_are_accepted(
    dock: MLBSegDock, window: napari.Viewer, study_path: Path
) -> None:
    status = dock.training_panel.status
    assert status.text() == "Accept a few slices, then press Start."
    press = {str(key): action for key, action in window.keymap.items()}
    press["Shift+A"](window)
    assert status.text() == "1 slice is accepted. Press Start."
    dock.workbench.close_study()
    dock.workbench.open_study(study_path)
    assert status.text() == "1 slice is accepted. Press Start."


@pytest.mark.one_binding
def test_panels_follow_what_is_done(
    qtbot: QtBot, dock: MLBSegDock, window: napari.Viewer, study_path: Path
) -> None:
    paint(dock, 5)
    qtbot.waitUntil(lambda: dock.slices_panel.state.text() == "draft")
    qtbot.mouseClick(dock.slices_panel.buttons["accept"], LEFT)
    row = dock.cases_panel.model.rows[0]
    assert (row.clean, row.drafts) == (1, 0)
    dock.slices_panel.strip.chosen.emit(5)
    assert dock.slices_panel.state.text() == "clean"
    dock.cases_panel.case_chosen.emit("phantom_02")
    assert dock.slices_panel.state.text() == "untouched"
    window.layers["working labels"].selected_label = 2
    assert dock.slices_panel.label.currentData() == 2
    dock.slices_panel.label_chosen.emit(0)
    assert window.layers["working labels"].selected_label == 0


def test_classes_are_changed_from_the_panel(
    qtbot: QtBot, dock: MLBSegDock, window: napari.Viewer
) -> None:
    dialog = dock.slices_panel.ask_classes()
    item = dialog.table.item(0, 1)
    assert item is not None
    item.setText("organ")
    with qtbot.waitSignal(dock.workbench.classes_changed):
        dialog.accept()
    assert dock.slices_panel.label.currentText() == "1  organ"
    assert window.layers["working labels"].selected_label == 1


@pytest.mark.one_binding
def test_trust_and_proposed_labels_from_keys_and_buttons(
    qtbot: QtBot, dock: MLBSegDock, window: napari.Viewer
) -> None:
    layer = window.layers["trust"]
    qtbot.mouseClick(dock.slices_panel.buttons["trust"], LEFT)
    assert layer.visible
    press = {str(key): action for key, action in window.keymap.items()}
    press["Shift+D"](window)
    assert not layer.visible
    press["Shift+W"](window)
    assert window.layers["meta-weights: initial labels"].visible
    press["Shift+T"](window)
    assert "no proposed labels yet" in dock.message.text()


@pytest.mark.one_binding
def test_another_axis_from_the_panel(dock: MLBSegDock, window: napari.Viewer) -> None:
    dock.slices_panel.axis_chosen.emit(2)
    assert window.dims.order[0] == 2
    assert dock.slices_panel.axis.currentIndex() == 2
    assert dock.slices_panel.strip.index_at(1e9) == 87


@pytest.mark.one_binding
def test_suggested_slices_from_the_key_the_button_and_the_list(
    qtbot: QtBot, dock: MLBSegDock, window: napari.Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead: list[SliceKey] = []
    monkeypatch.setattr(dock.workbench.view, "expect", ahead.append)
    qtbot.waitUntil(lambda: len(dock.suggester.best) == SHOWN)
    keys = [one.key for one in dock.suggester.best]
    assert {key.case_id for key in keys} == {"phantom_01", "phantom_02"}

    def on_view() -> SliceKey:
        annotation = dock.workbench.annotation
        assert annotation is not None
        marked = {k.index for k in keys if k.case_id == annotation.case.id}
        assert dock.slices_panel.strip.suggested == marked
        return annotation.key

    dock.slices_panel.slice_chosen.emit(min(set(range(40)) - {key.index for key in keys}))
    press = {str(key): action for key, action in window.keymap.items()}
    press["Shift+G"](window)
    assert on_view() == keys[0]
    assert ahead[-1] == keys[1]  # in whatever case it lies
    marked = {key.case_id: set[int]() for key in keys}
    for key in keys:
        marked[key.case_id].add(key.index)
    assert dock.cases_panel.model.suggested == marked
    qtbot.mouseClick(dock.slices_panel.buttons["next_suggested"], LEFT)
    assert on_view() == keys[1]
    dock.suggestions_panel.table.cellClicked.emit(5, 0)
    assert on_view() == keys[5]
    assert {i.row() for i in dock.suggestions_panel.table.selectedItems()} == {5}
    qtbot.mouseClick(dock.slices_panel.buttons["accept"], LEFT)
    assert dock.suggestions_panel.table.item(5, 1).text() == str(keys[6].index)  # type: ignore[union-attr]
    dock.study_panel.close_requested.emit()
    assert dock.suggestions_panel.table.rowCount() == 0


@pytest.mark.one_binding
def test_the_strip_marks_what_nobody_looked_at(qtbot: QtBot, dock: MLBSegDock) -> None:
    strip = dock.slices_panel.strip
    states = dock.workbench.annotation.states()  # type: ignore[union-attr]
    touched = [i for i, state in enumerate(states) if state is not SliceState.UNTOUCHED]
    free = next(i for i in range(len(states)) if i not in touched)
    assert strip.said_of(free).endswith("never looked at")
    dock.slices_panel.slice_chosen.emit(free)
    qtbot.mouseClick(dock.slices_panel.buttons["accept"], LEFT)
    assert "never" not in strip.said_of(free)


@pytest.fixture
def prefers_cpu() -> None:
    preferences.prefer_device("cpu")


@pytest.mark.usefixtures("prefers_cpu")
def test_training_is_shown_and_can_be_held_and_stopped(qtbot: QtBot, dock: MLBSegDock) -> None:
    engine = ScriptedEngine()
    dock.workbench.engine = engine
    panel = dock.training_panel
    assert panel.config().device == "cpu"
    panel.form.choose_device("auto")
    qtbot.mouseClick(panel.start, LEFT)
    assert preferences.device() == "auto"
    qtbot.waitUntil(lambda: "scripted" in panel.run.text())
    engine.tell(ev.StageStarted(ev.Stage.BOOTSTRAPPING, 100))
    engine.tell(ev.StepDone(ev.Stage.BOOTSTRAPPING, 10, 100, {"clean": 0.5}, 8.0, 20.0))
    qtbot.waitUntil(lambda: panel.plot.points("clean") != [])
    qtbot.mouseClick(panel.pause, LEFT)
    qtbot.waitUntil(lambda: panel.pause.text() == "Resume")
    qtbot.mouseClick(panel.pause, LEFT)
    qtbot.waitUntil(lambda: panel.pause.text() == "Pause")
    qtbot.mouseClick(panel.stop, LEFT)
    qtbot.waitUntil(lambda: "Stopped" in panel.status.text())
    assert panel.start.isEnabled()


@pytest.mark.one_binding
def test_a_start_without_clean_slices_is_refused_at_once(qtbot: QtBot, dock: MLBSegDock) -> None:
    panel = dock.training_panel
    before = panel.status.text()
    qtbot.mouseClick(panel.start, LEFT)
    assert "No slice has been accepted yet" in dock.message.text()
    assert not dock.workbench.bridge.running
    assert panel.start.isEnabled()
    assert panel.status.text() == before


@pytest.mark.one_binding
def test_starting_afresh_asks_where_something_would_be_forgotten(
    qtbot: QtBot, dock: MLBSegDock, study_path: Path
) -> None:
    engine = ScriptedEngine()
    dock.workbench.engine = engine
    panel = dock.training_panel
    box = panel.form.control("resume")

    def start(*, afresh: bool, answer: str | None = None) -> None:
        if afresh:
            box.click()
        qtbot.mouseClick(panel.start, LEFT)
        asked = panel.findChildren(QMessageBox)
        assert len(asked) == (answer is not None)
        if answer is not None:
            button = next(b for b in asked[0].buttons() if answer in b.text())
            qtbot.mouseClick(button, LEFT)
            qtbot.waitUntil(lambda: not panel.findChildren(QMessageBox))
        if dock.workbench.bridge.running:
            assert not box.isChecked()
            dock.workbench.send(ev.Stop())
            qtbot.waitUntil(panel.start.isEnabled)

    start(afresh=True)  # nothing has been trained yet
    assert [config.resume for _, config in engine.started] == [False]
    checkpoints = study_path / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    (checkpoints / "latest.pt").touch()
    start(afresh=True, answer="Cancel")
    assert len(engine.started) == 1
    assert box.isChecked()
    start(afresh=False, answer="afresh")
    start(afresh=False)
    assert [config.resume for _, config in engine.started] == [False, False, True]


@pytest.mark.one_binding
def test_a_failure_of_the_engine_is_shown_without_a_traceback(
    qtbot: QtBot, dock: MLBSegDock
) -> None:
    engine = ScriptedEngine()
    dock.workbench.engine = engine
    qtbot.mouseClick(dock.training_panel.start, LEFT)
    engine.tell(RuntimeError("CUDA error: device-side assert"))
    qtbot.waitUntil(lambda: dock.training_panel.start.isEnabled())
    assert "CUDA error" in dock.message.text()
    assert "Traceback" not in dock.message.text()


def test_closing_the_study_empties_the_window(dock: MLBSegDock, window: napari.Viewer) -> None:
    dock.study_panel.close_requested.emit()
    assert len(window.layers) == 0
    assert dock.cases_panel.model.rows == []
    assert not dock.training_panel.start.isEnabled()


PAINTER = """
import sys, napari
from pathlib import Path
from napari_mlbseg.widgets.dock import open_dock
viewer = napari.Viewer(show=False)
dock = open_dock(viewer, Path(sys.argv[1]))
from qtpy.QtCore import QTimer
def paint():
    annotation = dock.workbench.annotation
    annotation.go_to(7)
    annotation.layers.working.paint((7, 4, 4), 2)
    print("painted", flush=True)
QTimer.singleShot(0, paint)
if sys.argv[2] == "quit":
    from qtpy.QtWidgets import QApplication
    QTimer.singleShot(20, QApplication.quit)
napari.run(force=True)
"""


@contextmanager
def painter(study_path: Path, ending: str) -> Iterator[subprocess.Popen[str]]:
    """A window in a process of its own that has painted on slice 7."""
    code = [sys.executable, "-W", "ignore", "-c", PAINTER, str(study_path), ending]
    with subprocess.Popen(code, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "painted"
            yield process
        finally:
            process.kill()


def test_a_kill_after_painting_loses_nothing(qtbot: QtBot, study_path: Path) -> None:
    with painter(study_path, "kill"):
        qtbot.waitUntil(lambda: states(study_path) == {7: SliceState.DRAFT})  # by itself
    assert states(study_path) == {7: SliceState.DRAFT}
    with Study.open(study_path) as study:  # the lock went with the process
        key = study.slices.records()[0].key
        assert (study.slices.mask(key)[4, 4], key.index) == (2, 7)


def test_quitting_right_after_painting_loses_nothing(study_path: Path) -> None:
    with painter(study_path, "quit") as process:
        assert process.wait(timeout=600) == 0
    assert states(study_path) == {7: SliceState.DRAFT}


def test_buttons_show_and_say_which_overlays_are_shown(qtbot: QtBot, dock: MLBSegDock) -> None:
    annotation = dock.workbench.annotation
    assert annotation is not None
    buttons = dock.slices_panel.buttons

    def shown() -> set[str]:
        return {name for name in _VIEWS if buttons[name].isChecked()}

    assert shown() == {"prediction"}
    qtbot.mouseClick(buttons["initial"], LEFT)
    assert shown() == {"prediction", "initial"}
    layer = next(one for one in dock._viewer.layers if one.name == "prediction")
    layer.visible = False  # by its eye in the layer list
    assert shown() == {"initial"}
    qtbot.mouseClick(buttons["hide_all"], LEFT)
    assert shown() == set()
    assert not annotation.layers.working.visible
    qtbot.mouseClick(buttons["hide_all"], LEFT)
    assert shown() == {"initial"}
    dock.workbench.view.choose("phantom_02")
    assert shown() == {"initial"}
    qtbot.mouseClick(buttons["initial"], LEFT)
    assert shown() == set()


def test_a_message_goes_with_the_next_action(qtbot: QtBot, dock: MLBSegDock) -> None:
    slices = dock.slices_panel
    for control in (slices.buttons["prediction"], slices.strip, dock.study_panel.next):
        dock.message.say("Something was done before.")
        qtbot.mouseClick(control, LEFT)
        assert "before" not in dock.message.text()


def test_nothing_of_the_work_is_shown_without_a_study(dock: MLBSegDock) -> None:
    assert dock.tabs.isVisibleTo(dock)
    dock.workbench.close_study()
    assert not dock.tabs.isVisibleTo(dock)
    assert dock.study_panel.new.isVisibleTo(dock)


def test_the_dock_fits_a_small_screen_without_scrolling(
    qtbot: QtBot, make_napari_viewer: Callable[..., napari.Viewer], study_path: Path
) -> None:
    window = make_napari_viewer(show=True)
    window.window.resize(1366, 740)  # 768 less the bars of the system
    dock = open_dock(window, study_path)
    (area,) = (a for a in dock.findChildren(QScrollArea) if a.parent() is dock)
    bar = area.verticalScrollBar()
    assert bar is not None
    for _ in range(5):
        QApplication.processEvents()
    assert bar.maximum() == 0
    assert dock.width() <= 400
    inside = area.widget()
    assert inside is not None
    assert dock.minimumSizeHint().width() >= inside.minimumSizeHint().width()  # nothing is cut off
    assert faint_in_any_theme(window, dock) == {}
    dock.workbench.shut_down()


def faint_in_any_theme(window: napari.Viewer, dock: MLBSegDock) -> dict[str, float]:
    """The texts that are too hard to read, and signs that are too hard to see, as drawn."""
    dock.training_panel.plot.show_past({"loss": [(0, 1.0), (1, 0.5)], "other": [(0, 1), (1, 2)]})
    faint = {}
    for theme in ("light", "dark"):
        window.theme = theme
        for tab in range(dock.tabs.count()):
            dock.tabs.setCurrentIndex(tab)
            dock.message.say(f"Told in {theme}", error=bool(tab % 2))
            for _ in range(3):
                QApplication.processEvents()
            for text, found in drawn_contrasts(dock):
                if found < 4.5:
                    faint[f"{theme}: {text}"] = found
        panel = dock.slices_panel
        for sign in (panel.chips, panel.strip, dock.training_panel.plot):
            found = ink(pixels_of(sign), sign.rect())
            if found < 3:
                faint[f"{theme}: {sign.toolTip()}"] = found
    return faint


@pytest.mark.slow
def test_names_are_shown_as_they_are_even_if_they_look_like_markup(
    dock: MLBSegDock, study_path: Path, tmp_path: Path
) -> None:
    dock.workbench.close_study()
    odd = study_path.rename(tmp_path / "<img src=x>.mlbseg")
    dock.workbench.open_study(odd)
    dock.workbench.failed.emit("<b>a.nii.gz</b> cannot be read")
    own_markup = {"Keys work while the pointer is over the image"}
    shown = [label for label in dock.findChildren(QLabel) if label.toolTip() not in own_markup]
    formats = {label.text(): label.textFormat() for label in shown if label.text()}
    assert formats["<img src=x>"] == Qt.TextFormat.PlainText
    assert formats["<b>a.nii.gz</b> cannot be read"] == Qt.TextFormat.PlainText
    marked_up = {text for text, format in formats.items() if "<" in text}
    assert all(formats[text] == Qt.TextFormat.PlainText for text in marked_up)
    assert "&lt;img src=x&gt;" in dock.study_panel.name.toolTip()

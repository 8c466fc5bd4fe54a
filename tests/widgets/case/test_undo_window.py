"""Undo, redo, slice commands and the brush in the real window, by keys and mouse."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import napari
import numpy as np
import pytest
from bench import WindowAtWork
from canvas import LEFT, SHIFT
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractSpinBox, QApplication
from real_input import QTest

from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.slices import SliceState
from napari_mlbseg.widgets.dock import MLBSegDock, open_dock

DRAFT, CLEAN, UNTOUCHED = SliceState.DRAFT, SliceState.CLEAN, SliceState.UNTOUCHED
Key = Qt.Key


class Bench(WindowAtWork):
    """A window at work, and its panel of slices."""

    def __init__(self, viewer: napari.Viewer, dock: MLBSegDock) -> None:
        super().__init__(viewer, dock)
        self.panel = dock.slices_panel

    @property
    def on_view(self) -> tuple[str, int]:
        key = self.annotation.key
        return key.case_id, key.index

    def undo_tip(self) -> str:
        return self.panel.buttons["undo"].toolTip()


@pytest.fixture
def bench(make_napari_viewer: Callable[..., napari.Viewer], study_path: Path) -> Iterator[Bench]:
    viewer = make_napari_viewer()
    dock = open_dock(viewer, study_path)
    yield Bench(viewer, dock)
    dock.workbench.shut_down()


def test_undo_after_accept_goes_to_the_accepted_slice(qtbot: QtBot, bench: Bench) -> None:
    bench.annotation.go_to(5)
    machine = bench.layer.data[5]
    bench.hand.drag((20, 20), (22, 26), (25, 30))
    assert bench.undo_tip() == "Undo paint on slice 5 (Ctrl+Z)"
    painted = bench.layer.data[5]
    assert not np.array_equal(painted, machine)
    bench.hand.press(Key.Key_A, SHIFT)
    assert bench.on_view[1] == 6
    assert bench.undo_tip() == "Undo accept slice 5 (Ctrl+Z)"

    bench.hand.undo()
    assert bench.on_view[1] == 5
    assert bench.state(5) is DRAFT
    assert np.array_equal(bench.layer.data[5], painted)
    assert bench.message == "Undone: accept slice 5."
    assert bench.panel.buttons["redo"].toolTip() == "Redo accept slice 5 (Ctrl+Shift+Z)"

    bench.annotation.go_to(9)
    bench.hand.undo()  # the drag is one step
    assert (bench.on_view[1], bench.state(5)) == (5, UNTOUCHED)
    assert np.array_equal(bench.layer.data[5], machine)
    assert not bench.panel.buttons["undo"].isEnabled()

    qtbot.mouseClick(bench.panel.buttons["redo"], LEFT)
    bench.hand.redo()
    assert bench.state(5) is CLEAN
    assert np.array_equal(bench.layer.data[5], painted)


def test_undo_of_a_stray_dab_leaves_a_clean_slice_clean(qtbot: QtBot, bench: Bench) -> None:
    bench.annotation.go_to(8)
    bench.hand.press(Key.Key_A, SHIFT)
    bench.annotation.go_to(8)
    accepted = bench.layer.data[8]
    bench.hand.click(10, 10)
    qtbot.waitUntil(lambda: bench.state(8) is DRAFT, timeout=60_000)
    bench.hand.undo()
    assert bench.state(8) is CLEAN
    assert bench.panel.state.text() == "clean"
    assert np.array_equal(bench.layer.data[8], accepted)


def test_undo_belongs_to_the_case_on_view_and_is_there_after_coming_back(bench: Bench) -> None:
    bench.annotation.go_to(12)
    bench.hand.click(10, 10)
    painted = np.asarray(bench.layer.data)
    choose = bench.dock.cases_panel.case_chosen.emit
    choose("phantom_02")
    other = np.asarray(bench.layer.data)
    assert not bench.panel.buttons["undo"].isEnabled()
    bench.hand.undo()
    assert bench.message == "There is nothing to undo in this case."
    assert np.array_equal(np.asarray(bench.layer.data), other)
    bench.annotation.go_to(3)
    bench.hand.click(30, 12)
    bench.hand.undo()
    assert np.array_equal(np.asarray(bench.layer.data), other)

    choose("phantom_01")
    assert np.array_equal(np.asarray(bench.layer.data), painted)
    assert bench.undo_tip() == "Undo paint on slice 12 (Ctrl+Z)"
    bench.hand.undo()
    assert bench.on_view == ("phantom_01", 12)
    assert bench.state(12) is UNTOUCHED
    bench.hand.redo()
    assert np.array_equal(np.asarray(bench.layer.data), painted)
    bench.dock.workbench.close_study()
    assert not bench.panel.buttons["undo"].isEnabled()


def test_every_tool_has_its_name_and_undo_works_beside_another_layer(bench: Bench) -> None:
    before = np.asarray(bench.layer.data)
    tools = {}
    bench.annotation.go_to(5)
    bench.hand.click(10, 10)
    tools[Key.Key_2] = bench.undo_tip()
    bench.hand.press(Key.Key_4)
    bench.hand.click(80, 80)
    tools[Key.Key_4] = bench.undo_tip()
    bench.hand.press(Key.Key_1)
    bench.hand.click(60, 20)
    tools[Key.Key_1] = bench.undo_tip()
    bench.hand.press(Key.Key_3)
    for place in ((60, 16), (60, 24), (68, 20)):
        bench.hand.click(*place)
    bench.hand.press(Key.Key_Return)
    tools[Key.Key_3] = bench.undo_tip()
    words = [
        tip.removeprefix("Undo ").removesuffix(" on slice 5 (Ctrl+Z)") for tip in tools.values()
    ]
    assert words == ["paint", "fill", "erase", "polygon"]

    bench.viewer.layers.selection.active = bench.viewer.layers["image"]
    for _ in range(4):
        bench.hand.undo()
    assert not bench.panel.buttons["undo"].isEnabled()
    assert np.array_equal(np.asarray(bench.layer.data), before)


@pytest.mark.filterwarnings("ignore:Contours are not displayed")
def test_in_3d_no_slice_is_accepted_and_undo_goes_back_to_2d(bench: Bench) -> None:
    bench.annotation.go_to(5)
    bench.hand.click(10, 10)
    bench.viewer.dims.ndisplay = 3
    for key in (Key.Key_A, Key.Key_S, Key.Key_R, Key.Key_N, Key.Key_C, Key.Key_O, Key.Key_T):
        bench.hand.press(key, SHIFT)
        assert bench.message.startswith("Go back to 2-D")
        bench.dock.message.clear()
    bench.annotation.flush()
    assert bench.state(5) is DRAFT
    bench.hand.undo()
    assert bench.viewer.dims.ndisplay == 2
    assert (bench.on_view[1], bench.state(5)) == (5, UNTOUCHED)


def test_the_brush_cannot_leave_the_classes(qtbot: QtBot, bench: Bench) -> None:
    study = bench.dock.workbench.study
    assert study is not None
    far = LabelClass(9, "scar", (255, 0, 0))
    with qtbot.waitSignal(bench.dock.workbench.classes_changed, timeout=60_000):
        bench.dock.workbench.set_classes((*study.classes, far))
    values = [c.value for c in study.classes]
    assert values == [1, 2, 9]
    bench.annotation.go_to(5)
    seen = []
    for key in [Key.Key_Equal] * 4 + [Key.Key_Minus] * 5 + [Key.Key_M]:
        bench.hand.press(key)
        seen.append(bench.layer.selected_label)
        assert bench.panel.label.currentData() == seen[-1]
    assert seen == [2, 9, 9, 9, 2, 1, 0, 0, 0, 0]

    window = bench.dock.window()
    assert window is not None
    found = [w for w in window.findChildren(QAbstractSpinBox) if w.isVisible()]
    spin: Any = next(w for w in found if getattr(w, "maximum", int)() == 255)
    for typed, shown in (("7", 9), ("2", 2), ("200", 2)):
        spin.setFocus()
        spin.selectAll()
        QTest.keyClicks(spin, typed)
        QTest.keyClick(spin, Key.Key_Return)
        QApplication.processEvents()
        assert bench.layer.selected_label == shown
        assert int(spin.value()) == shown
    bench.layer.data[5, 10, 10] = 77  # by a script
    bench.layer.refresh()
    bench.hand.press(Key.Key_5)
    bench.hand.click(10, 10)
    assert bench.layer.selected_label == 2
    bench.hand.press(Key.Key_2)
    bench.hand.click(40, 20)
    assert set(np.unique(bench.layer.data[5])) <= {0, 1, 2, 9, 77}
    bench.hand.press(Key.Key_A, SHIFT)
    assert "1 pixel of it, the first at row 10, column 10 with the value 77" in bench.message
    assert bench.state(5) is DRAFT
    bench.hand.click(10, 10)
    bench.hand.press(Key.Key_A, SHIFT)
    assert bench.state(5) is CLEAN

"""The tools in the real window, by keys, buttons and the mouse."""

from collections.abc import Callable, Iterator
from pathlib import Path

import napari
import numpy as np
import pytest
from at_work import heard
from bench import WindowAtWork
from canvas import ALT, CTRL, LEFT, SHIFT
from napari.settings import get_settings
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication
from real_input import QTest

from napari_mlbseg.engine.events import SlicesPublished
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.slices import SliceState
from napari_mlbseg.widgets.dock import MLBSegDock, open_dock
from napari_mlbseg.widgets.panels.tools import ToolsPanel
from napari_mlbseg.widgets.shortcuts import every_key
from napari_mlbseg.widgets.tools import cleaning

pytestmark = pytest.mark.one_binding

DRAFT, CLEAN, UNTOUCHED = SliceState.DRAFT, SliceState.CLEAN, SliceState.UNTOUCHED
Key = Qt.Key


class Bench(WindowAtWork):
    """A window at work, with its tools on view."""

    def __init__(self, viewer: napari.Viewer, dock: MLBSegDock) -> None:
        super().__init__(viewer, dock)
        dock.bring(dock.tools_panel)

    @property
    def panel(self) -> ToolsPanel:
        return self.dock.tools_panel

    def publish(self, name: ArrayName, labels: NDArray[np.uint8]) -> None:
        case_id = self.annotation.case.id
        self.study.arrays.create(case_id, name)
        self.study.arrays.write(case_id, name, 0, 0, labels)
        event = SlicesPublished(case_id, 0, 0, len(labels), (name.value,), 1)
        self.dock.workbench.view.hear(event)

    def switched_on(self) -> set[str]:
        return {name for name, button in self.panel.buttons.items() if button.isChecked()}


@pytest.fixture
def bench(make_napari_viewer: Callable[..., napari.Viewer], study_path: Path) -> Iterator[Bench]:
    viewer = make_napari_viewer()
    dock = open_dock(viewer, study_path)
    yield Bench(viewer, dock)
    dock.workbench.shut_down()


def test_no_key_is_taken_already() -> None:
    keys = [key.replace("-", "+") for key in every_key()]
    assert len(set(keys)) == len(keys)
    layers = ("points", "shapes", "image", "vectors", "tracks", "surface", "in_slice")
    of_others = ("add_", "direct_mode", "activate_select_mode", "contrast_once")
    taken = {
        str(key)
        for action, found in get_settings().shortcuts.shortcuts.items()
        for key in found
        if not any(word in action for word in (*layers, *of_others))
    }
    assert "Shift+V" in taken
    assert taken & set(keys) == set()


def test_keys_clean_the_slice_up_and_undo_takes_it_back(bench: Bench) -> None:
    bench.annotation.go_to(5)
    bench.hand.drag((12, 12), (12, 30), (30, 30), (30, 12), (12, 12))  # a ring
    bench.layer.brush_size = 2
    bench.hand.click(70, 70)
    before, side = bench.labels, (1.0, 1.0)
    for key, expected in (
        (Key.Key_Up, cleaning.grow(before[5], 1, side)),
        (Key.Key_Down, cleaning.shrink(before[5], 1, side)),
        (Key.Key_M, cleaning.smooth(before[5], 1, side)),
        (Key.Key_H, cleaning.fill_holes(before[5], 1)),
        (Key.Key_K, cleaning.keep_largest(before[5], 1)),
        (Key.Key_P, cleaning.remove_islands(before[5], 1, 20, side)),
    ):
        bench.hand.press(key, SHIFT)
        after = bench.labels
        assert bench.annotation.key.index == 5
        assert np.array_equal(after[5], expected), key
        assert not np.array_equal(after[5], before[5]), key
        assert f"{int((after != before).sum())} pixels changed" in bench.message
        bench.hand.undo()
        assert np.array_equal(bench.labels, before), key
        bench.hand.redo()
        assert np.array_equal(bench.labels, after), key
        bench.hand.undo()


def test_buttons_do_what_keys_do_and_name_the_class(qtbot: QtBot, bench: Bench) -> None:
    assert bench.panel.cleaned.text() == "Clean up the slice: class 1"
    bench.hand.press(Key.Key_Equal)
    assert bench.panel.cleaned.text() == "Clean up the slice: class 2"
    before = bench.labels
    qtbot.mouseClick(bench.panel.buttons["grow"], LEFT)
    index = bench.annotation.key.index
    assert np.array_equal(bench.labels[index], cleaning.grow(before[index], 2, (1.0, 1.0)))
    assert bench.message.startswith(f"Slice {index}, grow 'class 2':")


def test_a_button_cleans_the_volume_up_in_the_background(qtbot: QtBot, bench: Bench) -> None:
    before, busy = bench.labels, heard(bench.dock.workbench.errands.busy)
    with qtbot.waitSignal(bench.annotation.volume.told):
        qtbot.mouseClick(bench.panel.buttons["grow_in_volume"], LEFT)
    assert ("In the volume: grow 'class 1'", 0, 0) in busy
    assert bench.message.startswith("In the volume, grow 'class 1':")
    assert len(np.unique(np.nonzero(bench.labels != before)[0])) > 5
    bench.hand.undo()
    assert np.array_equal(bench.labels, before)


def test_what_lies_between_two_corrected_slices_is_drafted_by_one_key(bench: Bench) -> None:
    for index in (4, 8):
        bench.annotation.go_to(index)
        bench.hand.drag((40, 20), (40, 40))
    bench.annotation.go_to(6)
    before = bench.labels
    bench.hand.press(Key.Key_I, SHIFT)
    assert [bench.state(index) for index in range(3, 10)] == [UNTOUCHED, *[DRAFT] * 5, UNTOUCHED]
    assert np.array_equal(bench.labels[[4, 8]], before[[4, 8]])
    bench.hand.undo()
    assert [bench.state(index) for index in range(4, 9)] == [DRAFT, *[UNTOUCHED] * 3, DRAFT]
    assert np.array_equal(bench.labels, before)
    bench.hand.press(Key.Key_Y, SHIFT)
    assert [bench.state(index) for index in range(4, 9)] == [
        *(DRAFT, UNTOUCHED, DRAFT, UNTOUCHED, DRAFT)
    ]


# --- going on from a correction -------------------------------------------------------------------


def test_an_answer_is_asked_for_by_a_key_and_taken_or_dropped_by_others(
    qtbot: QtBot, bench: Bench
) -> None:
    bench.annotation.go_to(6)
    bench.layer.brush_size = 9
    bench.hand.drag((20, 20), (40, 20))
    bench.hand.press(Key.Key_Up, SHIFT)  # a command: what was painted before it is no stroke
    bench.hand.press(Key.Key_1)
    bench.layer.brush_size = 2
    bench.hand.drag((28, 22), (33, 22))
    before, answers = bench.labels, bench.annotation.answers
    bench.hand.press(Key.Key_F2)
    qtbot.waitUntil(lambda: answers.offered is not None)
    assert "Enter takes it, Escape drops it" in bench.message
    assert np.array_equal(bench.labels, before)
    bench.hand.press(Key.Key_Return)
    after = bench.labels
    assert bench.message.startswith("Slice 6 took the answer")
    assert (after[6, 28:34, 22:25] == 0).all()
    assert np.array_equal(np.delete(after, 6, 0), np.delete(before, 6, 0))
    bench.hand.undo()
    assert np.array_equal(bench.labels, before)
    qtbot.mouseClick(bench.panel.buttons["answer"], LEFT)
    qtbot.waitUntil(lambda: answers.offered is not None)
    bench.hand.press(Key.Key_Escape)
    assert bench.message == "The answer was dropped."
    bench.hand.press(Key.Key_Return)  # there is nothing to take any more
    assert np.array_equal(bench.labels, before)
    bench.hand.undo()
    bench.hand.press(Key.Key_F2)
    assert bench.message.startswith("An answer goes on from your strokes, and slice 6 has none")


def test_a_correction_is_passed_on_by_a_key(bench: Bench) -> None:
    machine = bench.labels
    machine[:] = machine[6]
    bench.publish(ArrayName.PREDICTION, machine)
    bench.annotation.go_to(6)
    bench.layer.brush_size = 7
    bench.hand.drag((20, 20), (20, 24))
    bench.hand.press(Key.Key_F2, SHIFT)
    assert bench.message.endswith("as drafts. Undo takes them back as a whole.")
    assert bench.state(7) is DRAFT
    bench.hand.undo()
    assert bench.state(7) is UNTOUCHED
    assert np.array_equal(np.delete(bench.labels, 6, 0), np.delete(machine, 6, 0))


# --- fixing regions -------------------------------------------------------------------------------


@pytest.fixture
def proposed(bench: Bench) -> NDArray[np.uint8]:
    """Predicted are the initial labels; a block through slices 4 to 8 is proposed beyond them."""
    bench.publish(ArrayName.PREDICTION, bench.labels)
    proposed = bench.labels
    proposed[4:9, 2:12, 2:12] = 2
    bench.publish(ArrayName.PROPOSED_LABELS, proposed)
    return proposed


def test_clicks_fix_a_region_and_modifiers_choose_what_it_takes(
    bench: Bench, proposed: NDArray[np.uint8]
) -> None:
    machine = bench.labels
    bench.annotation.go_to(6)
    bench.viewer.layers.selection.active = bench.viewer.layers["image"]
    bench.hand.press(Key.Key_F, SHIFT)
    assert bench.switched_on() == {"fix_region"}
    bench.hand.click(6, 6)
    assert np.array_equal(bench.labels[6], proposed[6])
    assert np.array_equal(np.delete(bench.labels, 6, 0), np.delete(machine, 6, 0))
    assert bench.message == "100 pixels on slice 6 took the proposed labels."
    bench.hand.click(6, 6, CTRL)
    assert np.array_equal(bench.labels, machine)
    bench.hand.undo()
    assert np.array_equal(bench.labels[6], proposed[6])
    bench.hand.click(6, 6, ALT)
    assert bench.message == "100 pixels on slice 6 took the initial labels."
    assert np.array_equal(bench.labels, machine)
    for _ in range(2):
        bench.hand.undo()
    assert bench.state(6) is UNTOUCHED
    bench.hand.click(6, 6, SHIFT)
    assert np.array_equal(bench.labels, proposed)
    assert [bench.state(index) for index in range(3, 10)] == [UNTOUCHED, *[DRAFT] * 5, UNTOUCHED]
    bench.hand.undo()
    assert np.array_equal(bench.labels, machine)


def test_while_regions_are_fixed_a_drag_moves_the_view_and_the_brush_ends_it(
    bench: Bench, proposed: NDArray[np.uint8]
) -> None:
    bench.annotation.go_to(6)
    before, centre = bench.labels, bench.viewer.scene.camera.center
    bench.hand.press(Key.Key_F, SHIFT)
    bench.hand.pull(LEFT, (20, 20), (60, 50))
    assert np.array_equal(bench.labels, before)
    assert bench.viewer.scene.camera.center != centre
    bench.hand.press(Key.Key_2)
    assert bench.switched_on() == set()
    bench.hand.click(40, 40)
    assert bench.annotation.history.last is not None
    assert bench.annotation.history.last.name == "paint on slice 6"


def test_the_tool_stays_from_case_to_case_and_its_switch_leads_back_to_the_brush(
    qtbot: QtBot, bench: Bench
) -> None:
    button = bench.panel.buttons["fix_region"]
    qtbot.mouseClick(button, LEFT)
    bench.dock.cases_panel.case_chosen.emit("phantom_02")
    assert bench.switched_on() == {"fix_region"}
    bench.hand.click(6, 6)
    assert "There are no proposed labels yet" in bench.message
    assert bench.annotation.history.last is None
    qtbot.mouseClick(button, LEFT)
    assert bench.switched_on() == set()
    assert str(bench.layer.mode) == "paint"
    bench.dock.workbench.close_study()
    assert not any(one.isEnabled() for one in bench.panel.buttons.values())


# --- the smart brush ------------------------------------------------------------------------------


def edge_of(image: NDArray[np.generic]) -> tuple[int, int]:
    """A pixel in the middle row just inside the body, which is bright on a dark ground."""
    row = image.shape[0] // 2
    bright = np.flatnonzero(np.asarray(image[row], float) > 60)
    return row, int(bright[0]) + 3


def test_the_smart_brush_stays_where_it_looks_alike_and_the_eraser_is_exact(bench: Bench) -> None:
    index = bench.annotation.key.index
    image = np.asarray(bench.viewer.layers["image"].data[index], float)
    place = edge_of(image)
    bench.layer.brush_size = 15
    bench.layer.selected_label = 2
    before = bench.labels[index]
    bench.hand.click(*place)
    plain = bench.labels[index] != before
    bench.hand.undo()
    bench.hand.press(Key.Key_L, SHIFT)
    assert bench.switched_on() == {"smart_brush"}
    bench.hand.click(*place)
    smart = bench.labels[index] != before
    dark = image < 60
    assert (plain & dark).sum() > 20
    assert (smart & dark).sum() <= 2
    assert (smart & ~plain).sum() == 0
    assert smart.sum() > 0.6 * (plain & ~dark).sum()
    assert bench.annotation.history.last is not None
    assert bench.annotation.history.last.name == f"paint on slice {index}"
    bench.hand.press(Key.Key_1)
    bench.hand.click(*place)
    y, x = place
    disc = np.hypot(*(axis - at for axis, at in zip(np.ogrid[:96, :88], place, strict=True))) <= 7.5
    assert not bench.labels[index][disc].any()
    assert (y, x) == place
    for _ in range(2):
        bench.hand.undo()
    assert np.array_equal(bench.labels[index], before)
    bench.hand.press(Key.Key_L, SHIFT)
    assert bench.switched_on() == set()


def test_the_smart_brush_sees_the_case_on_view_and_spares_other_classes(bench: Bench) -> None:
    bench.hand.press(Key.Key_L, SHIFT)
    bench.dock.cases_panel.case_chosen.emit("phantom_02")
    index = bench.annotation.key.index
    image = np.asarray(bench.viewer.layers["image"].data[index], float)
    place = edge_of(image)
    bench.layer.brush_size = 5
    bench.layer.selected_label = 1
    bench.hand.click(*place)
    before = bench.labels[index]
    bench.layer.brush_size = 15
    bench.layer.selected_label = 2
    for spared in (True, False):
        bench.hand.press(Key.Key_B)  # napari's own: preserve labels
        bench.hand.click(*place)
        changed = bench.labels[index] != before
        assert set(before[changed]) == ({0} if spared else {0, 1})
        assert (changed & (image < 60)).sum() <= 2


# --- several slices -------------------------------------------------------------------------------


def test_a_range_is_accepted_by_two_keys(bench: Bench) -> None:
    bench.annotation.go_to(4)
    bench.hand.press(Key.Key_Q, SHIFT)
    bench.annotation.go_to(7)
    assert bench.panel.buttons["accept_range"].text() == "Accept 4 to 7"
    bench.hand.press(Key.Key_U, SHIFT)
    assert [key.index for key in bench.study.slices.clean()] == [4, 5, 6, 7]
    assert bench.message == "Accepted 4 slices from slice 4 to 7."
    bench.hand.undo()
    assert len(bench.study.slices.clean()) == 0


def test_a_number_is_typed_to_go_to_its_slice(qtbot: QtBot, bench: Bench) -> None:
    bench.dock.tabs.setCurrentIndex(0)
    bench.hand.canvas.activateWindow()
    bench.hand.press(Key.Key_J, SHIFT)
    assert bench.panel.isVisible()
    field = QApplication.focusWidget()
    assert field is bench.panel.number
    QTest.keyClicks(field, "17")
    QTest.keyClick(field, Key.Key_Return)
    QApplication.processEvents()
    assert bench.annotation.key.index == 17
    assert QApplication.focusWidget() is not bench.panel.number
    bench.annotation.go_to(3)
    assert bench.panel.number.value() == 3


def test_only_what_can_be_done_can_be_asked_for(qtbot: QtBot) -> None:
    panel = ToolsPanel()
    qtbot.addWidget(panel)
    told = heard(panel.command), heard(panel.slice_chosen)
    assert not any(button.isEnabled() for button in panel.buttons.values())
    panel.set_slice(3, 10, writable=False)
    assert not any(button.isEnabled() for button in panel.buttons.values())
    assert panel.number.isEnabled()
    panel.set_slice(5, 10)
    panel.set_class("liver")
    panel.set_tool(smart=True, fixing=False)
    assert all(button.isEnabled() for button in panel.buttons.values())
    assert told == ([], [])

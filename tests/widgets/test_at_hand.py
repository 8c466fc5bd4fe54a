"""What is at hand while somebody paints: classes, overlays and keys, in the real window."""

from collections.abc import Callable, Iterator
from pathlib import Path

import napari
import numpy as np
import pytest
from bench import WindowAtWork
from canvas import CTRL, LEFT, PLAIN
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication
from real_input import QTest

from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.slices import SliceState
from napari_mlbseg.widgets.dock import open_dock
from napari_mlbseg.widgets.panels.class_chips import ClassChips

pytestmark = pytest.mark.one_binding

Key = Qt.Key


@pytest.fixture
def bench(
    make_napari_viewer: Callable[..., napari.Viewer], study_path: Path
) -> Iterator[WindowAtWork]:
    viewer = make_napari_viewer()
    dock = open_dock(viewer, study_path)
    yield WindowAtWork(viewer, dock)
    dock.workbench.shut_down()


def seen(bench: WindowAtWork) -> NDArray[np.uint8]:
    """The canvas without the circle of the brush."""
    mode = bench.layer.mode
    bench.layer.mode = "pan_zoom"
    QApplication.processEvents()
    picture = np.asarray(bench.viewer.screenshot(canvas_only=True, flash=False))
    bench.layer.mode = mode
    return picture


def alike(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Whether two pictures are the same but for the pixel of the image that napari marks."""
    return int((one != other).any(-1).sum()) < 300


def switch(qtbot: QtBot, chips: ClassChips, value: int, *, lock: bool) -> None:
    chip = next(chip for one, chip in chips.on_view() if one.value == value)
    where = chips.lock_of(chip) if lock else chips.eye_of(chip)
    qtbot.mouseClick(chips, LEFT, PLAIN, where.center())


def test_classes_are_locked_and_hidden_by_a_click(qtbot: QtBot, bench: WindowAtWork) -> None:
    chips, index = bench.dock.slices_panel.chips, bench.annotation.key.index
    bench.hand.drag((20, 20), (20, 60))
    stroke = bench.labels[index] == 1
    before, painted = bench.labels, seen(bench)
    switch(qtbot, chips, 1, lock=True)
    bench.hand.press(Key.Key_2, CTRL)
    assert bench.annotation.label == 2
    bench.layer.brush_size = 3
    bench.hand.drag((20, 30), (20, 50))
    bench.hand.press(Key.Key_F)
    bench.hand.click(20, 40)
    bench.hand.press(Key.Key_E)
    bench.hand.click(20, 40)
    assert np.array_equal(bench.labels, before)
    assert alike(seen(bench), painted)  # not even for a moment
    # an eye hides a class on the canvas, and changes nothing
    switch(qtbot, chips, 1, lock=False)
    hidden = seen(bench)
    assert not alike(hidden, painted)
    assert np.array_equal(bench.labels, before)
    # both stay when the case changes, and end with the study
    bench.dock.cases_panel.case_chosen.emit("phantom_02")
    marks = bench.dock.workbench.view.marks
    assert (marks.locked, marks.hidden) == (frozenset({1}), frozenset({1}))
    assert bench.layer.colormap.map(1)[3] == 0
    bench.dock.cases_panel.case_chosen.emit("phantom_01")
    assert alike(seen(bench), hidden)
    bench.hand.press(Key.Key_1, CTRL)  # what is painted is seen
    assert alike(seen(bench), painted)
    assert stroke.any()
    bench.dock.workbench.close_study()
    assert (marks.locked, marks.hidden) == (frozenset(), frozenset())


def test_overlays_fade_blink_and_keep_their_outlines(qtbot: QtBot, bench: WindowAtWork) -> None:
    panel, layers, index = bench.dock.slices_panel, bench.annotation.layers, 5
    bench.annotation.go_to(index)
    shown = seen(bench)
    QTest.keyPress(bench.hand.canvas, Key.Key_D)
    assert not bench.layer.visible
    assert not alike(seen(bench), shown)
    QTest.keyRelease(bench.hand.canvas, Key.Key_D)
    assert alike(seen(bench), shown)
    # the slider fades what is chosen beside it, or what was shown last
    panel.opacity.setFocus()
    QTest.keyClick(panel.opacity, Key.Key_Home)
    assert layers.opacity(None) == 0
    QTest.keyClick(panel.opacity, Key.Key_End)
    assert layers.opacity(None) == 1
    qtbot.mouseClick(panel.buttons["trust"], LEFT)
    assert panel.opacity.value() == round(100 * layers.opacity(ArrayName.TRUST))
    QTest.keyClick(panel.opacity, Key.Key_Home)
    assert (layers.opacity(ArrayName.TRUST), layers.opacity(None)) == (0, 1)
    # napari's contours are as many pixels of the image wide, at any zoom
    prediction = bench.viewer.layers["prediction"]
    side_mm = min(bench.annotation.case.geometry.spacing_mm[1:])
    for zoom in (0.25, 0.5, 1.0, 6.0):
        bench.viewer.scene.camera.zoom = zoom / side_mm
        assert prediction.contour == max(1, round(2 / zoom))
    bench.viewer.scene.camera.zoom = 0.5 / side_mm
    panel.outline.stepUp()
    assert prediction.contour == 6
    bench.dock.cases_panel.case_chosen.emit("phantom_02")
    bench.viewer.scene.camera.zoom = 0.5 / side_mm
    assert (prediction.contour, panel.outline.value()) == (6, 3)
    assert bench.annotation.layers.opacity(ArrayName.TRUST) == 0


def test_the_left_hand_alone_goes_through_a_case(bench: WindowAtWork) -> None:
    bench.annotation.go_to(4)
    bench.hand.drag((20, 20), (20, 60))
    bench.hand.press(Key.Key_A)
    assert (bench.state(4), bench.annotation.key.index) == (SliceState.CLEAN, 5)
    bench.hand.press(Key.Key_C)
    assert np.array_equal(bench.labels[5], bench.labels[4])
    bench.hand.press(Key.Key_S)
    assert (bench.state(5), bench.annotation.key.index) == (SliceState.SKIPPED, 6)

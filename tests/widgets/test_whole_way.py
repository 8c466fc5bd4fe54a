"""The way through the window from start to end, which is the same under every Qt binding."""

from collections.abc import Callable, Iterator
from pathlib import Path

import napari
import numpy as np
import pytest
from blocked import calls, refuse_calls
from canvas import SHIFT, Hand
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from scripted import ScriptedEngine

from napari_mlbseg.engine import events as ev
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.dock import MLBSegDock, open_dock

LEFT = Qt.MouseButton.LeftButton

pytestmark = pytest.mark.every_binding


def paint_and_accept(hand: Hand, dock: MLBSegDock, study_path: Path) -> SliceKey:
    """A stroke with the mouse and Shift+A; the study on the disk has both."""
    annotation = dock.workbench.annotation
    assert annotation is not None
    key = annotation.key
    before = np.array(annotation.layers.working.data[key.index])
    hand.drag((5, 5), (5, 25))
    painted = np.array(annotation.layers.working.data[key.index])
    assert (painted != before).sum() > 20
    hand.press(Qt.Key.Key_A, SHIFT)
    with Study.open(study_path, writable=False) as study:
        assert study.slices.clean() == (key,)
        assert np.array_equal(study.slices.mask(key), painted)
    return key


@pytest.fixture
def nobody_is_called() -> Iterator[None]:
    refuse_calls()
    before = len(calls)
    yield
    assert calls[before:] == []


@pytest.mark.usefixtures("nobody_is_called")
def test_open_paint_accept_train_and_close(
    qtbot: QtBot, make_napari_viewer: Callable[..., napari.Viewer], study_path: Path
) -> None:
    viewer = make_napari_viewer()
    dock = open_dock(viewer, study_path)
    assert dock.study_panel.name.text() == "phantoms"
    assert [row.case_id for row in dock.cases_panel.model.rows] == ["phantom_01", "phantom_02"]
    hand = Hand(viewer, dock)
    key = paint_and_accept(hand, dock, study_path)
    on_view = dock.workbench.annotation
    assert on_view is not None
    assert on_view.key.index == key.index + 1

    engine = ScriptedEngine()
    dock.workbench.engine = engine
    panel = dock.training_panel
    qtbot.mouseClick(panel.settings.toggleButton(), LEFT)
    qtbot.mouseClick(panel.form.more.toggleButton(), LEFT)
    panel.form.control("seed").selectAll()
    qtbot.keyClicks(panel.form.control("seed"), "5")
    qtbot.mouseClick(panel.start, LEFT)
    qtbot.waitUntil(lambda: "scripted" in panel.run.text())
    assert [config.seed for _, config in engine.started] == [5]
    engine.tell(ev.StageStarted(ev.Stage.BOOTSTRAPPING, 100))
    engine.tell(ev.StepDone(ev.Stage.BOOTSTRAPPING, 10, 100, {"clean": 0.5}, 8.0, 200.0))
    qtbot.waitUntil(lambda: panel.progress.value() == 10)
    assert panel.plot.points("clean") == [(10, 0.5)]
    qtbot.mouseClick(panel.pause, LEFT)
    qtbot.waitUntil(lambda: panel.pause.text() == "Resume")
    qtbot.mouseClick(panel.stop, LEFT)
    qtbot.waitUntil(panel.start.isEnabled)
    assert panel.status.text().startswith("Stopped")

    viewer.close()
    with Study.open(study_path) as study:  # the lock is free
        assert [(r.key, r.state) for r in study.slices.records()] == [(key, SliceState.CLEAN)]

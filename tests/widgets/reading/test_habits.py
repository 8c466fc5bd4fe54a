"""Habits come with a study and go with it, and keep nothing alive."""

import gc
import weakref

import pytest
from bench import WindowAtWork
from canvas import RIGHT
from qtpy.QtWidgets import QDockWidget, QPushButton

from napari_mlbseg.widgets.case.carried import window_of
from napari_mlbseg.widgets.dock import open_dock
from napari_mlbseg.widgets.reading.letters import Edges

pytestmark = pytest.mark.one_binding


@pytest.mark.slow
def test_a_closed_study_is_kept_alive_by_no_habit(bench: WindowAtWork) -> None:
    bench.hand.pull(RIGHT, (20, 0))
    bench.hand.wheel(-1)
    bench.dock.workbench.view.choose("b")
    annotation = bench.annotation
    gone = [weakref.ref(one) for one in (annotation, annotation.layers, annotation.layers.image)]
    del annotation
    bench.dock.workbench.close_study()
    gc.collect()
    assert [one() for one in gone] == [None, None, None]


@pytest.mark.slow
def test_a_study_opened_again_finds_the_habits_once(bench: WindowAtWork) -> None:
    study = bench.dock.workbench.study
    assert study is not None
    path, own = study.path, len(bench.viewer.canvas.overlays)
    for _ in range(2):
        bench.dock.workbench.close_study()
        assert len(bench.viewer.canvas.overlays) == own - len(Edges._fields)
        bench.dock.workbench.open_study(path)
    assert len(bench.viewer.canvas.overlays) == own
    index = bench.annotation.key.index
    bench.hand.wheel(-1)
    assert bench.annotation.key.index == index + 1
    before = window_of(bench.annotation.layers.image)
    bench.hand.pull(RIGHT, (30, 0))
    assert window_of(bench.annotation.layers.image) != before


@pytest.mark.slow
def test_a_closed_dock_keeps_its_study_and_the_habits(bench: WindowAtWork) -> None:
    place = bench.dock.parentWidget()
    assert isinstance(place, QDockWidget)
    title = place.titleBarWidget()
    assert title is not None
    button = title.findChild(QPushButton, "QTitleBarCloseButton")
    assert isinstance(button, QPushButton)
    button.click()
    index = bench.annotation.key.index
    bench.hand.wheel(-1)
    assert bench.annotation.key.index == index + 1
    bench.dock.workbench.close_study()
    assert open_dock(bench.viewer) is bench.dock
    assert not bench.dock.habits.panel.levels.isEnabled()

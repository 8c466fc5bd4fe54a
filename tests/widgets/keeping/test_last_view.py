"""A study opens where it was left: case, slice of each case, and the curves of the last run."""

from collections.abc import Callable, Iterator
from pathlib import Path

import napari
import pytest
from at_work import on_view
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from napari_mlbseg.engine.events import Stage, ValidationScored
from napari_mlbseg.engine.forecast import (
    DICE_ERROR,
    TRAINING_SLICES,
    VALIDATION_DICE,
    VALIDATION_SLICES,
)
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.dock import open_dock
from napari_mlbseg.widgets.keeping.last_view import recall
from napari_mlbseg.widgets.workbench import Workbench

pytestmark = pytest.mark.one_binding


@pytest.fixture
def opened(
    qtbot: QtBot, viewer: ViewerModel, study_path: Path
) -> Iterator[Callable[[], Workbench]]:
    """Opens the study in a bench, after it was closed in the one before."""
    made: list[Workbench] = []

    def anew() -> Workbench:
        for one in made:
            one.shut_down()
        viewer.layers.clear()
        bench = Workbench(viewer)
        made.append(bench)
        bench.open_study(study_path)
        return bench

    yield anew
    for one in made:
        one.shut_down()


def test_a_study_opens_where_it_was_left(opened: Callable[[], Workbench]) -> None:
    bench = opened()
    on_view(bench).go_to(4)
    bench.view.choose("phantom_02")
    bench.view.turn(1)
    on_view(bench).go_to(9)
    bench = opened()
    assert on_view(bench).key == SliceKey("phantom_02", 1, 9)
    bench.view.choose("phantom_01")
    assert on_view(bench).key == SliceKey("phantom_01", 0, 4)
    bench = opened()
    assert on_view(bench).key == SliceKey("phantom_01", 0, 4)


def test_what_was_kept_is_there_after_a_kill_too(opened: Callable[[], Workbench]) -> None:
    bench = opened()
    on_view(bench).go_to(4)
    bench.view.choose("phantom_02")  # and no farther
    assert bench.study is not None
    assert recall(bench.study) == ({"phantom_01": SliceKey("phantom_01", 0, 4)}, "phantom_01")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"case": 7, "places": {"phantom_01": "there"}}', '{"places": 3}']
)
def test_a_damaged_note_of_the_place_is_no_harm(
    opened: Callable[[], Workbench], data_home: Path, text: str
) -> None:
    bench = opened()
    bench.view.choose("phantom_02")
    (note,) = data_home.rglob("views/*.json")
    note.write_text(text)
    bench.view.set_study(bench.study)  # reads it, after it has written it once more
    note.write_text(text)
    assert bench.study is not None
    assert recall(bench.study) == ({}, None)


def test_places_that_are_gone_are_not_gone_to(
    opened: Callable[[], Workbench], data_home: Path
) -> None:
    bench = opened()
    bench.view.choose("phantom_02")
    (note,) = data_home.rglob("views/*.json")
    note.write_text(
        '{"case": "gone", "places":'
        ' {"gone": [0, 1], "phantom_01": [0, 4000], "phantom_02": [2, 3]}}'
    )
    assert bench.study is not None
    assert recall(bench.study) == ({"phantom_02": SliceKey("phantom_02", 2, 3)}, None)


def test_a_folder_that_cannot_be_written_stops_nobody(
    opened: Callable[[], Workbench], data_home: Path
) -> None:
    data_home.parent.mkdir(exist_ok=True)
    data_home.write_text("a file, not a folder")
    bench = opened()
    bench.view.choose("phantom_02")
    assert on_view(bench).case.id == "phantom_02"


def test_the_curves_of_the_last_run_are_shown(
    qtbot: QtBot, make_napari_viewer: Callable[..., napari.Viewer], study_path: Path
) -> None:
    with Study.open(study_path) as study:
        for shift in (1.0, 0.0):  # an earlier run, and the last one
            run = study.runs.start({}, seed=0, device="cpu")
            for step in (10, 20):
                study.runs.log(run, step, {"clean loss": step / 100 + shift})
            score = {VALIDATION_DICE: 0.75, DICE_ERROR: 0.01, VALIDATION_SLICES: 10}
            study.runs.log(run, 20, {**score, TRAINING_SLICES: 30})
    dock = open_dock(make_napari_viewer(), study_path)
    plot = dock.training_panel.plot
    assert plot.points("clean loss") == [(10, 0.1), (20, 0.2)]
    assert plot.points("dice") == [(20, 0.75)]
    assert plot.points(TRAINING_SLICES) == []
    target = dock.training_panel.target
    assert target.told.text() == "too few scores to tell yet"
    target.spin.setValue(0.7)
    assert target.told.text() == "reached on the validation slices"
    opened = dock.workbench.study
    assert opened is not None
    opened.runs.log(run, 40, {**score, VALIDATION_DICE: 0.6, TRAINING_SLICES: 40})
    dock.workbench.engine_event.emit(ValidationScored(Stage.BOOTSTRAPPING, 40, 0.6, {1: 0.6}))
    assert target.told.text() == "too few scores to tell yet"  # no longer reached
    dock.workbench.close_study()
    assert plot.points("clean loss") == []
    dock.workbench.shut_down()

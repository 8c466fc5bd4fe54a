"""A real second program holds the study: the window goes on and tells what waits."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import napari
import numpy as np
import pytest
from at_work import heard, on_view, paint
from canvas import SHIFT, Hand
from held import Holder, held
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QObject, Qt, QTimer
from scripted import ScriptedEngine

from napari_mlbseg.engine.config import Config
from napari_mlbseg.project.records.extents import Extent
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.rescue import Along, Rescue
from napari_mlbseg.project.rescue_files import rescue_folder, rescues_in
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background import in_turn
from napari_mlbseg.widgets.case.commands import BY_NAME
from napari_mlbseg.widgets.dock import MLBSegDock
from napari_mlbseg.widgets.workbench import Workbench

pytestmark = pytest.mark.one_binding

PROGRAM = Path(__file__).with_name("busy.py")


class Turns(QObject):
    """Counts the turns of the window's loop."""

    def __init__(self, qtbot: QtBot) -> None:
        super().__init__()
        self.count, self._bot = 0, qtbot
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._turn)
        self._timer.start(1)

    def _turn(self) -> None:
        self.count += 1

    def more(self, turns: int = 20) -> None:
        """The loop turns as often as that; a window that waits for a program never comes back."""
        last = self.count + turns
        self._bot.waitUntil(lambda: self.count > last)


@pytest.fixture
def window(make_napari_viewer: Callable[..., napari.Viewer]) -> napari.Viewer:
    return make_napari_viewer()


@pytest.fixture
def hand(dock: MLBSegDock) -> Hand:
    return Hand(dock._viewer, dock)


@pytest.fixture
def holder(hand: Hand, study_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Holder]:
    monkeypatch.setattr(in_turn, "_PATIENCE_S", 0.01)
    with held(study_path) as made:
        yield made


def kept() -> list[Rescue]:
    return [one for _, one in rescues_in(rescue_folder()) if isinstance(one, Rescue)]


def states(path: Path) -> list[tuple[int, SliceState]]:
    with Study.open(path, writable=False) as study:
        return [(r.key.index, r.state) for r in study.slices.records() if r.key.axis == 0]


def test_painting_and_accepting_go_on_while_another_program_holds_the_study(
    qtbot: QtBot, dock: MLBSegDock, hand: Hand, holder: Holder, study_path: Path
) -> None:
    bench, turns = dock.workbench, Turns(qtbot)
    annotation = on_view(bench)
    engine = bench.engine = ScriptedEngine()
    failures, first = heard(bench.failed), annotation.key.index
    painted = {}
    for index in range(first, first + 3):  # a stroke and Shift+A on each
        assert annotation.key.index == index
        hand.drag((5, 5), (5, 25))
        painted[index] = np.array(annotation.layers.working.data[index])
        turns.more()
        hand.press(Qt.Key.Key_A, SHIFT)
        turns.more()
    waiting = bench.leaving.saves.waiting
    assert waiting >= 6
    assert dock.message.text().startswith(f"{waiting} saves wait: another program holds the study")
    hand.drag((8, 5), (8, 25))
    bench.view.act(lambda commands: commands.skip())
    hand.undo()  # of the skip: a draft again
    turns.more()
    assert annotation.states()[first : first + 4] == (*[SliceState.CLEAN] * 3, SliceState.DRAFT)
    assert states(study_path) == []  # nobody said that it is saved
    qtbot.waitUntil(lambda: bool(kept()) and len(kept()[0].masks) == 4)
    assert not bench.leaving.saves.problem  # the copy waits for no failure
    assert not bench.train(Config())
    assert "To start the training, wait until it is saved." in failures[0]
    assert engine.started == []

    told = heard(bench.told)
    holder.release()
    qtbot.waitUntil(lambda: not bench.leaving.saves.waiting)
    assert told == ["Everything is saved now."]
    assert dock.message.text() == "Everything is saved now."
    assert kept() == []
    assert failures[1:] == []
    assert states(study_path) == [
        *((index, SliceState.CLEAN) for index in painted),
        (first + 3, SliceState.DRAFT),
    ]
    with Study.open(study_path, writable=False) as study:
        for index, labels in painted.items():
            key = SliceKey(annotation.case.id, 0, index)
            assert np.array_equal(study.slices.mask(key), labels)
        skipped = [
            r.state for r in study.slices.history(SliceKey(annotation.case.id, 0, first + 3))
        ]
    assert skipped[-3:] == [SliceState.DRAFT, SliceState.SKIPPED, SliceState.DRAFT]
    assert dock.cases_panel.model.rows[0].clean == 3


@pytest.fixture
def bench(viewer: ViewerModel, study_path: Path) -> Iterator[Workbench]:
    """A study on view without a window."""
    made = Workbench(viewer, ScriptedEngine())
    made.open_study(study_path)
    yield made
    made.shut_down(wait_s=0.0)


@pytest.fixture
def holder_of_bench(
    bench: Workbench, study_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Holder]:
    monkeypatch.setattr(in_turn, "_PATIENCE_S", 0.0)
    with held(study_path) as made:
        yield made


def test_a_case_is_left_when_all_of_it_is_saved(
    qtbot: QtBot, bench: Workbench, holder_of_bench: Holder, study_path: Path
) -> None:
    key, waits = on_view(bench).key, heard(bench.leaving.waiting.begun)
    on_view(bench).paint_with(1)
    for command in ("begins_here", "ends_here", "accept"):  # the second builds on the first one
        bench.view.act(BY_NAME[command])
    bench.view.choose("phantom_02")
    assert waits[0][0].startswith("3 saves wait")
    assert on_view(bench).key.case_id == key.case_id
    holder_of_bench.release()
    qtbot.waitUntil(lambda: on_view(bench).case.id == "phantom_02")
    with Study.open(study_path, writable=False) as study:
        assert study.slices.clean() == (key,)
        assert study.extents.marked(key.case_id, 0, 1) == Extent(key.index, key.index)


@pytest.mark.usefixtures("holder_of_bench")
def test_a_window_that_closes_at_once_keeps_what_waits_in_a_copy(
    bench: Workbench, study_path: Path
) -> None:
    paint(bench, 7)
    key, painted = on_view(bench).key, np.array(on_view(bench).layers.working.data[7])
    on_view(bench).paint_with(1)
    for command in ("begins_here", "accept", "skip"):  # the last on the next slice
        bench.view.act(BY_NAME[command])
    assert bench.leaving.at_work
    waits, stayed = heard(bench.leaving.waiting.begun), heard(bench.told)
    bench.leaving.everything(lambda: bench.shut_down(wait_s=0.0), lambda: stayed.append("stayed"))
    assert "offered the next time: labels as drafts, skipped slices and" in waits[0][1]
    bench.leaving.waiting.go_on()  # "Close at once"
    assert bench.study is None
    assert stayed == []
    (rescue,) = kept()
    assert list(rescue.masks) == [key]
    assert np.array_equal(rescue.masks[key], painted)
    assert rescue.states == {SliceKey(key.case_id, 0, key.index + 1): SliceState.SKIPPED}
    assert rescue.extents == {Along(key.case_id, 0, 1): Extent(key.index, None)}
    with Study.open(study_path) as study:  # the lock is free, and nothing comes afterwards
        assert study.slices.records() == ()


@pytest.mark.one_binding
def test_a_kill_loses_nothing_that_was_said_to_be_saved_and_no_labels_that_wait(
    study_path: Path,
) -> None:
    with held(study_path) as holder:
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(study_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "a copy is kept\n"
        (rescue,) = kept()  # what a kill would leave now
        assert states(study_path) == []
        holder.release()
        assert process.stdout.readline() == "Everything is saved now.\n"
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert kept() == []
    with Study.open(study_path) as study:
        assert [record.state for record in study.slices.records()] == [SliceState.CLEAN] * 4
        for index in range(4):
            key = SliceKey("phantom_01", 0, index)
            assert int(study.slices.mask(key)[4, 4]) == index % 3  # what the program paints
            assert np.array_equal(study.slices.mask(key), rescue.masks[key])

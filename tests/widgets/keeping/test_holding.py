"""Edits that cannot be saved: tried again, kept, and never left without asking."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from at_work import on_view, paint
from full_disk import REASON, Disk
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from scripted import ScriptedEngine

from napari_mlbseg.engine import events as ev
from napari_mlbseg.engine.config import Config
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.rescue import Rescue
from napari_mlbseg.project.rescue_files import read_rescue, rescue_folder, rescues_in
from napari_mlbseg.project.study import Study
from napari_mlbseg.samples import PhantomCohort
from napari_mlbseg.widgets.case.commands import SliceCommands
from napari_mlbseg.widgets.keeping import holding
from napari_mlbseg.widgets.keeping.holding import Unsaved
from napari_mlbseg.widgets.requests import CaseRow, NewStudy
from napari_mlbseg.widgets.workbench import Workbench

pytestmark = pytest.mark.one_binding

KEY = SliceKey("phantom_01", 0, 5)
LONG = 60_000


@pytest.fixture
def bench(
    qtbot: QtBot,
    viewer: ViewerModel,
    study_path: Path,
    disk: Disk,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Workbench]:
    # Nothing is tried again behind a test's back; one that waits for it says so.
    monkeypatch.setattr(holding, "_FIRST_MS", 10_000_000)
    made = Workbench(viewer, ScriptedEngine())
    made.open_study(study_path)
    yield made
    disk.full = False
    made.shut_down()


@pytest.fixture
def other_path(cohort: PhantomCohort, study_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study_path, tmp_path / "other.mlbseg"))


def painted(bench: Workbench, index: int = 5) -> int:
    return int(on_view(bench).layers.working.data[index, 4, 4])


def kept() -> list[Rescue]:
    return [one for _, one in rescues_in(rescue_folder()) if isinstance(one, Rescue)]


@pytest.fixture
def asked(bench: Workbench) -> list[Unsaved]:
    """Every question whether unsaved edits may be left."""
    found: list[Unsaved] = []
    bench.holding.asked.connect(found.append)
    return found


@pytest.fixture
def stuck(bench: Workbench, disk: Disk) -> Workbench:
    """A bench with paint on slice 5 that the full disk does not take."""
    disk.full = True
    paint(bench)
    on_view(bench).flush()
    return bench


def test_a_full_disk_is_told_once_and_tried_again_until_it_has_room(
    qtbot: QtBot, bench: Workbench, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "_FIRST_MS", 20)
    failures: list[str] = []
    tries: list[object] = []
    bench.failed.connect(failures.append)
    on_view(bench).flushed.connect(lambda: tries.append(None))
    disk.full = True
    paint(bench)
    qtbot.waitUntil(lambda: len(tries) >= 4, timeout=LONG)
    assert failures == [f"Your latest edits are not saved: Slice 5: {REASON}"]
    assert np.array_equal(kept()[0].masks[KEY], on_view(bench).layers.working.data[5])
    with qtbot.waitSignal(bench.told, timeout=LONG) as told:
        disk.full = False
    assert told.args == ["Everything is saved now."]
    assert bench.study is not None
    assert CaseRow.of(bench.study, "phantom_01").drafts == 1
    assert kept() == []
    assert bench.holding.unsaved is None


def test_the_pause_between_tries_grows(
    qtbot: QtBot, bench: Workbench, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "_FIRST_MS", 4)
    monkeypatch.setattr(holding, "_LONGEST_MS", 16)
    pauses: list[int] = []
    disk.full = True
    paint(bench)
    on_view(bench).flushed.connect(lambda: pauses.append(bench.holding._timer.interval()))
    qtbot.waitUntil(lambda: len(pauses) >= 5, timeout=LONG)
    assert set(pauses[:5]) == {4, 8, 16}
    assert pauses == sorted(pauses)


def test_a_slice_that_cannot_be_saved_does_not_hold_up_the_others(bench: Workbench) -> None:
    on_view(bench).layers.working.paint((5, 4, 4), 255)  # no class has this value
    on_view(bench).layers.working.paint((6, 4, 4), 2)
    on_view(bench).flush()
    assert on_view(bench).state(SliceKey("phantom_01", 0, 6)) is SliceState.DRAFT
    assert list(on_view(bench).unsaved) == [KEY]
    assert "value 255" in on_view(bench).unsaved[KEY]
    on_view(bench).layers.working.paint((7, 4, 4), 2)
    bench.shut_down()
    (rescue,) = kept()
    assert list(rescue.masks) == [KEY]
    assert rescue.masks[KEY][4, 4] == 255
    with Study.open(rescue.study, writable=False) as study:
        assert [r.key.index for r in study.slices.records()] == [6, 7]


WAYS: dict[str, Callable[[Workbench, Path], object]] = {
    "case": lambda bench, _: bench.view.choose("phantom_02"),
    "slice of another case": lambda bench, _: bench.view.go_to(SliceKey("phantom_02", 0, 3)),
    "axis": lambda bench, _: bench.view.turn(2),
    "close": lambda bench, _: bench.close_study(),
    "open": lambda bench, other: bench.open_study(other),
}
LEFT: dict[str, Callable[[Workbench, Path], bool]] = {
    "case": lambda bench, _: on_view(bench).case.id == "phantom_02",
    "slice of another case": lambda bench, _: on_view(bench).key == SliceKey("phantom_02", 0, 3),
    "axis": lambda bench, _: on_view(bench).key.axis == 2,
    "close": lambda bench, _: bench.study is None,
    "open": lambda bench, other: bench.study is not None and bench.study.path == other,
}


@pytest.mark.parametrize("way", WAYS)
def test_no_way_leads_away_without_asking(
    qtbot: QtBot, stuck: Workbench, asked: list[Unsaved], way: str, disk: Disk, other_path: Path
) -> None:
    WAYS[way](stuck, other_path)
    assert [one.count for one in asked] == [1]
    assert REASON in asked[0].text
    assert str(asked[0].copy) in asked[0].text
    stuck.holding.stay()
    assert on_view(stuck).key == KEY
    assert painted(stuck) == 2
    WAYS[way](stuck, other_path)
    stuck.holding.try_again()  # still full
    assert len(asked) == 3
    assert on_view(stuck).key == KEY
    disk.full = False
    stuck.holding.try_again()
    assert LEFT[way](stuck, other_path)
    stuck.shut_down()
    with Study.open(kept_study(other_path), writable=False) as study:
        assert study.slices.mask(KEY)[4, 4] == 2
    assert kept() == []


def kept_study(other: Path) -> Path:
    return other.with_name("phantoms.mlbseg")


def test_a_new_study_does_not_push_unsaved_edits_out(
    qtbot: QtBot, stuck: Workbench, disk: Disk, cohort: PhantomCohort, tmp_path: Path
) -> None:
    disk.full = False
    on_view(stuck).layers.working.paint((5, 4, 4), 255)
    with qtbot.waitSignal(stuck.holding.asked, timeout=LONG):
        stuck.create_study(NewStudy(tmp_path / "new.mlbseg", cohort.images, None))
    stuck.holding.stay()
    assert painted(stuck) == 255
    Study.open(tmp_path / "new.mlbseg").close()  # it was let go of


def test_saving_elsewhere_leaves_with_the_edits_in_that_file(
    stuck: Workbench, tmp_path: Path
) -> None:
    place = tmp_path / "stick" / "mine.mlbseg-rescue"
    stuck.view.choose("phantom_02")
    stuck.holding.save_elsewhere(place)
    assert on_view(stuck).case.id == "phantom_02"
    assert read_rescue(place).masks[KEY][4, 4] == 2
    assert len(kept()) == 1  # offered with the study, too


def test_a_place_that_cannot_be_written_keeps_everything_here(
    qtbot: QtBot, stuck: Workbench, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    stuck.view.choose("phantom_02")
    with qtbot.waitSignal(stuck.failed) as failed:
        stuck.holding.save_elsewhere(tmp_path / "file" / "a.mlbseg-rescue")
    assert failed.args is not None
    assert "another place" in failed.args[0]
    assert painted(stuck) == 2


def test_leaving_with_the_copy_keeps_it(stuck: Workbench) -> None:
    stuck.close_study()
    stuck.holding.leave_copy()
    assert stuck.study is None
    assert kept()[0].masks[KEY][4, 4] == 2


def test_without_a_copy_there_is_nothing_to_leave_with(
    bench: Workbench, disk: Disk, asked: list[Unsaved], data_home: Path
) -> None:
    shutil.rmtree(data_home)
    data_home.write_text("a file where the folder should be")
    disk.full = True
    paint(bench)
    bench.close_study()
    assert asked[0].copy is None
    assert "could not be written" in asked[0].text
    bench.holding.leave_copy()
    assert painted(bench) == 2


def test_discarding_takes_the_edits_back_for_good(stuck: Workbench) -> None:
    told: list[str] = []
    stuck.told.connect(told.append)
    stuck.view.choose("phantom_02")
    stuck.holding.discard()
    assert on_view(stuck).case.id == "phantom_02"
    assert kept() == []
    assert told == []  # not that everything is saved
    stuck.view.choose("phantom_01")
    assert painted(stuck) == 0


@pytest.mark.parametrize("action", [SliceCommands.accept, SliceCommands.skip])
def test_a_command_whose_slice_cannot_be_saved_goes_nowhere(
    qtbot: QtBot, stuck: Workbench, action: Callable[[SliceCommands], None]
) -> None:
    with qtbot.waitSignal(stuck.failed):
        stuck.view.act(action)
    assert on_view(stuck).key == KEY
    assert on_view(stuck).state(KEY) is SliceState.UNTOUCHED
    assert painted(stuck) == 2


def test_accepting_an_edited_clean_slice_again_does_not_pass_it_by(
    qtbot: QtBot, bench: Workbench, disk: Disk
) -> None:
    paint(bench)
    bench.view.act(SliceCommands.accept)
    disk.full = True
    paint(bench, 5, 1)
    with qtbot.waitSignal(bench.failed):
        bench.view.act(SliceCommands.accept)
    assert on_view(bench).key == KEY
    disk.full = False
    bench.view.act(SliceCommands.accept)
    assert on_view(bench).key.index == 6
    assert bench.study is not None
    assert bench.study.slices.clean() == (KEY,)
    assert bench.study.slices.mask(KEY)[4, 4] == 1
    assert bench.holding.unsaved is None


def test_reopening_does_not_take_unsaved_paint_for_saved(qtbot: QtBot, bench: Workbench) -> None:
    paint(bench)
    bench.view.act(SliceCommands.accept)
    paint(bench, 5, 255)
    with qtbot.waitSignal(bench.failed):
        bench.view.act(SliceCommands.reopen)
    assert list(on_view(bench).unsaved) == [KEY]


def test_reverting_on_a_full_disk_leaves_the_paint(
    qtbot: QtBot, bench: Workbench, disk: Disk
) -> None:
    paint(bench)
    on_view(bench).flush()
    disk.full = True
    with qtbot.waitSignal(bench.failed):
        bench.view.act(SliceCommands.revert)
    assert painted(bench) == 2


def test_the_window_s_end_keeps_the_edits_unasked(stuck: Workbench, asked: list[Unsaved]) -> None:
    stuck.shut_down()
    assert asked == []
    assert stuck.study is None
    assert kept()[0].masks[KEY][4, 4] == 2


def test_edits_of_a_study_whose_folder_is_gone_are_kept(
    bench: Workbench, study_path: Path, disk: Disk, tmp_path: Path
) -> None:
    assert bench.study is not None
    identity = bench.study.identity
    paint(bench)
    shutil.move(study_path, tmp_path / "moved.mlbseg")
    disk.full = True
    bench.shut_down()
    assert not study_path.exists()
    (rescue,) = kept()
    assert (rescue.identity, rescue.masks[KEY][4, 4]) == (identity, 2)


def test_what_goes_wrong_with_the_case_does_not_keep_the_study_open(
    bench: Workbench, study_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> None:
        raise IndexError("the sliders of the window are gone")

    monkeypatch.setattr(on_view(bench).layers, "remove", gone)
    with pytest.raises(IndexError):
        bench.close_study()
    assert bench.study is None
    Study.open(study_path).close()


def test_a_training_that_does_not_stop_keeps_the_study_until_it_ends(
    qtbot: QtBot, bench: Workbench, study_path: Path
) -> None:
    ending = threading.Event()

    def stubborn(_: ev.Inbox) -> Iterator[ev.Event]:
        yield ev.Heartbeat()
        ending.wait()
        yield ev.Heartbeat()

    bench.engine = lambda *_: stubborn
    assert bench.train(Config())
    waits: list[str] = []
    bench.leaving.waiting.begun.connect(lambda what, _: waits.append(what))
    bench.close_study()
    assert waits == ["Stopping the training"]
    bench.leaving.waiting.give_up()  # rather not, then
    assert bench.study is not None
    bench.shut_down(wait_s=0.05)
    assert bench.study is None
    assert not bench.bridge.running
    ending.set()

    def released() -> bool:
        try:
            Study.open(study_path).close()
        except Exception:
            return False
        return True

    qtbot.waitUntil(released, timeout=LONG)

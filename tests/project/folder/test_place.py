"""A study whose folder is removed, moved or replaced while it is open."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import everything_in

from napari_mlbseg.errors import StudyGone, UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.folder import place
from napari_mlbseg.project.records.cases import NewCase
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

KEY = SliceKey("a", 0, 1)
MASK = np.ones((7, 8), np.uint8)
BLOCK = np.full((2, 7, 8), 9, np.uint8)

CHANGES = {
    "save_slice": lambda s: s.save_slice(KEY, MASK, SliceState.CLEAN),
    "set_state": lambda s: s.slices.set_state(KEY, SliceState.SKIPPED),
    "set_classes": lambda s: s.set_classes([]),
    "log_metrics": lambda s: s.runs.log(1, 1, {"loss": 1.0}),
    "create_array": lambda s: s.arrays.create("a", ArrayName.PROPOSED_LABELS),
    "begin_array": lambda s: s.arrays.begin("a", ArrayName.PROPOSED_LABELS, 0),
    "write_slices": lambda s: s.arrays.write("a", ArrayName.PREDICTION, 0, 0, BLOCK),
    "through zarr": lambda s: s.arrays.open("a", ArrayName.PREDICTION).__setitem__(0, BLOCK[0]),
    "require_writable": lambda s: s.require_writable(),
}


@pytest.fixture
def opened(study: Study) -> Study:
    """An open study with a prediction, which was begun and read."""
    study.arrays.create("a", ArrayName.PREDICTION)
    study.arrays.read("a", ArrayName.PREDICTION, 0, 0)
    study.save_slice(KEY, MASK, SliceState.DRAFT)
    return study


@pytest.fixture
def other(tmp_path: Path, make_case: Callable[..., NewCase]) -> Path:
    """A closed study with a case of the same name."""
    with Study.create(tmp_path / "other.mlbseg") as other:
        other.add_cases([make_case()])
        other.arrays.create("a", ArrayName.PREDICTION)
    return other.path


@pytest.mark.parametrize("change", CHANGES)
def test_a_removed_study_is_not_written_and_not_made_again(opened: Study, change: Any) -> None:
    shutil.rmtree(opened.path)
    for _ in range(2):
        with pytest.raises(StudyGone, match=r"removed, moved or replaced\. .*not saved"):
            CHANGES[change](opened)
    assert not opened.path.exists()


@pytest.mark.parametrize("change", CHANGES)
def test_a_study_that_took_the_place_is_left_alone(
    opened: Study, other: Path, tmp_path: Path, change: Any
) -> None:
    opened.path.rename(tmp_path / "away")
    other.rename(opened.path)
    before = everything_in(opened.path)
    with pytest.raises(StudyGone):
        CHANGES[change](opened)
    assert everything_in(opened.path) == before


@pytest.mark.parametrize("name", ["catalogue.sqlite", "catalogue.sqlite-wal", "writer.lock"])
@pytest.mark.parametrize("replaced", [True, False])
def test_a_single_file_that_is_gone_is_noticed(opened: Study, name: str, replaced: bool) -> None:
    file = opened.path / name
    copy = file.read_bytes()
    file.unlink()
    if replaced:
        file.write_bytes(copy)
    with pytest.raises(StudyGone):
        opened.save_slice(KEY, MASK, SliceState.CLEAN)
    with pytest.raises(StudyGone):
        opened.arrays.write("a", ArrayName.PREDICTION, 0, 0, BLOCK)


def test_what_was_gone_once_stays_so_until_it_is_opened_again(
    opened: Study, tmp_path: Path
) -> None:
    opened.path.rename(tmp_path / "away")
    with pytest.raises(StudyGone):
        opened.save_slice(KEY, MASK, SliceState.CLEAN)
    (tmp_path / "away").rename(opened.path)
    with pytest.raises(StudyGone):
        opened.save_slice(KEY, MASK, SliceState.CLEAN)
    opened.close()
    with Study.open(opened.path) as again:
        assert [r.state for r in again.slices.history(KEY)] == [SliceState.DRAFT]
        again.save_slice(KEY, MASK, SliceState.CLEAN)


def test_a_folder_that_goes_within_a_transaction_is_noticed(opened: Study, tmp_path: Path) -> None:
    def work() -> None:
        with opened._database.transaction() as write:
            write.note("something")
            opened.path.rename(tmp_path / "away")

    with pytest.raises(StudyGone):
        work()
    (tmp_path / "away").rename(opened.path)
    opened.close()
    with Study.open(opened.path) as again:
        assert "something" not in {entry.action for entry in again.log.entries()}


def test_a_folder_that_goes_with_the_commit_is_noticed(
    opened: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LastLook(place.Place):
        looks = 0

        def check(self) -> None:
            super().check()
            self.looks += 1
            if self.looks == 2:  # the last one before the commit
                shutil.move(opened.path, tmp_path / "away")

    looking = LastLook(opened.path)
    looking.hold(opened.path / "catalogue.sqlite")
    monkeypatch.setattr(opened._database, "_place", looking)
    with pytest.raises(StudyGone):
        opened.save_slice(KEY, MASK, SliceState.CLEAN)


def test_closing_leaves_the_lock_and_the_log_of_the_other_alone(
    opened: Study, other: Path, tmp_path: Path
) -> None:
    opened.path.rename(tmp_path / "away")
    other.rename(opened.path)
    with Study.open(opened.path) as new:
        new.save_slice(KEY, MASK, SliceState.CLEAN)
        opened.close()
        assert (new.path / "writer.json").exists()
        with pytest.raises(UserError, match="is open for writing by"):
            Study.open(new.path)
        new.save_slice(KEY, MASK, SliceState.DRAFT)
    with Study.open(new.path) as again:
        assert len(again.slices.history(KEY)) == 2


def test_only_a_study_of_its_own_is_discarded(opened: Study, other: Path, tmp_path: Path) -> None:
    opened.path.rename(tmp_path / "away")
    other.rename(opened.path)
    before = everything_in(opened.path)
    opened.discard()
    assert everything_in(opened.path) == before
    with Study.open(opened.path) as new:
        new.discard()
    assert not opened.path.exists()


def test_a_disk_that_does_not_answer_may_come_back(
    opened: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(path: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "stat", unreachable)
        with pytest.raises(UserError, match=r"cannot be reached .*nothing was saved") as caught:
            opened.save_slice(KEY, MASK, SliceState.CLEAN)
    assert not isinstance(caught.value, StudyGone)
    assert opened.save_slice(KEY, MASK, SliceState.CLEAN).state is SliceState.CLEAN


@pytest.mark.parametrize("change", CHANGES)
def test_a_closed_study_is_not_written(opened: Study, change: Any) -> None:
    array = opened.arrays.open("a", ArrayName.PREDICTION)
    opened.close()
    before = everything_in(opened.path)
    with pytest.raises(UserError, match="no longer open"):
        CHANGES[change](opened)
    with pytest.raises(UserError, match="no longer open"):
        array[0] = BLOCK[0]
    assert everything_in(opened.path) == before


def test_a_study_may_be_reached_by_a_link(opened: Study, tmp_path: Path) -> None:
    opened.close()
    link = tmp_path / "link.mlbseg"
    os.symlink(opened.path, link, target_is_directory=True)
    with Study.open(link) as study:
        study.save_slice(KEY, MASK, SliceState.CLEAN)
        study.arrays.write("a", ArrayName.PREDICTION, 0, 0, BLOCK)
        link.unlink()
        with pytest.raises(StudyGone):
            study.arrays.write("a", ArrayName.PREDICTION, 0, 0, BLOCK)

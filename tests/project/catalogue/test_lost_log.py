"""SQLite's log is deleted, or left behind by a copy: nothing is lost, or the loss is told."""

import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from killed import lines_until_killed

from napari_mlbseg.errors import Damaged
from napari_mlbseg.project.catalogue.counter import COUNTER_NAME, read_count, write_count
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

SAVE_FOREVER = """
import itertools, sys
from pathlib import Path
import numpy as np
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

study = Study.open(Path(sys.argv[1]))
for number in itertools.count():
    mask = np.random.default_rng(number).integers(0, 255, (7, 8)).astype(np.uint8)
    record = study.save_slice(SliceKey("a", 0, number % 6), mask, SliceState.DRAFT)
    print(record.revision, flush=True)
"""


def delete_log(folder: Path) -> None:
    for end in ("-wal", "-shm"):
        (folder / f"catalogue.sqlite{end}").unlink(missing_ok=True)


def killed_after(
    other_process: Callable[..., subprocess.Popen[str]], folder: Path, saves: int
) -> int:
    """Kill a process that saves slices; returns the newest revision that it reported."""
    process = other_process(SAVE_FOREVER, folder)
    return int(lines_until_killed(process, saves)[-1])


@pytest.mark.parametrize("saves", [1, 7])
def test_a_log_that_is_deleted_after_a_kill_takes_nothing_along(
    study: Study, other_process: Callable[..., subprocess.Popen[str]], saves: int
) -> None:
    study.close()
    newest = killed_after(other_process, study.path, saves)
    assert (study.path / "catalogue.sqlite-wal").stat().st_size > 0
    delete_log(study.path)
    with Study.open(study.path) as again:
        found = [len(again.slices.history(SliceKey("a", 0, index))) for index in range(6)]
        assert sum(found) >= newest


def copy_without_log(folder: Path, to: Path) -> Path:
    ignored = shutil.ignore_patterns("*-wal", "*-shm", "writer.*")
    return Path(shutil.copytree(folder, to, ignore=ignored))


def test_a_log_that_could_not_be_emptied_is_missed(
    study: Study, other_process: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    before = len(study.log.entries())
    study.close()
    with closing(sqlite3.connect(study.path / "catalogue.sqlite", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM audit").fetchone()  # holds what was there before
        newest = killed_after(other_process, study.path, 5)
        copy = copy_without_log(study.path, tmp_path / "copy.mlbseg")
    counted = read_count(copy)
    missing = counted - before  # the kill may have come between a change and its report
    assert missing >= newest
    with pytest.raises(Damaged, match=rf"lacks the last {missing} changes .*mlbseg repair"):
        Study.open(copy)
    with Study.open(copy, writable=False) as again:
        assert again.slices.records() == ()
        [told] = again.damage()
        assert f"lacks the last {missing} changes" in told
    assert read_count(copy) == counted
    with Study.open(study.path) as whole:
        assert len(whole.slices.records()) >= min(6, missing)
        assert whole.damage() == ()


def test_a_copy_without_the_log_is_whole(study: Study, tmp_path: Path) -> None:
    study.save_slice(SliceKey("a", 0, 0), np.ones((7, 8), np.uint8), SliceState.CLEAN)
    with Study.open(copy_without_log(study.path, tmp_path / "copy.mlbseg")) as other:
        assert other.slices.clean() == (SliceKey("a", 0, 0),)


def test_the_count_is_that_of_the_log(study: Study) -> None:
    assert read_count(study.path) == len(study.log.entries())
    study.save_slice(SliceKey("a", 0, 0), np.ones((7, 8), np.uint8), SliceState.CLEAN)
    assert read_count(study.path) == len(study.log.entries())


@pytest.mark.parametrize("content", [b"", b"9", b"9 8\n", b"x x\n", b"\xff" * 40, b"9" * 5000])
def test_a_damaged_count_says_nothing(study: Study, content: bytes) -> None:
    study.close()
    (study.path / COUNTER_NAME).write_bytes(content)
    with Study.open(study.path) as again:
        assert again.damage() == ()
        again.set_axis("a", 1)
        assert read_count(study.path) == len(again.log.entries())


def test_a_smaller_count_replaces_a_larger_one_as_a_whole(tmp_path: Path) -> None:
    for count in (10**18, 7):
        write_count(tmp_path, count)
        assert read_count(tmp_path) == count

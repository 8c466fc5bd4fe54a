"""Kills, second processes and threads."""

import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from killed import lines_until_killed

from napari_mlbseg.project.arrays.store import ArrayName
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
    record = study.save_slice(SliceKey("a", 0, number % 6), mask, SliceState.CLEAN)
    print(number, record.revision, flush=True)
"""


def mask_number(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 255, (7, 8)).astype(np.uint8)


@pytest.mark.parametrize("saves", [1, 4, 25])
def test_a_killed_writer_loses_nothing_that_was_saved(
    study: Study, other_process: Callable[..., subprocess.Popen[str]], saves: Any
) -> None:
    study.close()
    process = other_process(SAVE_FOREVER, study.path)
    saved = [tuple(map(int, line.split())) for line in lines_until_killed(process, saves)]

    with Study.open(study.path) as again:
        for number, revision in saved:
            np.testing.assert_array_equal(again.slices.revision_mask(revision), mask_number(number))
        after = again.save_slice(SliceKey("a", 0, 0), mask_number(0), SliceState.DRAFT)
        assert after.revision > saved[-1][1]
    connection = sqlite3.connect(study.path / "catalogue.sqlite")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    # Each revision came with its mask and its line in the log, or not at all.
    counts = "SELECT (SELECT count(*) FROM revisions), (SELECT count(*) FROM masks)"
    revisions, masks = connection.execute(counts).fetchone()
    (lines,) = connection.execute(
        "SELECT count(*) FROM audit WHERE action = 'save slice'"
    ).fetchone()
    connection.close()
    assert revisions == masks == lines


def test_a_reader_follows_a_writer_at_work(
    study: Study, other_process: Callable[..., subprocess.Popen[str]]
) -> None:
    study.close()
    process: Any = other_process(SAVE_FOREVER, study.path)
    with Study.open(study.path, writable=False) as reader:
        for _ in range(30):
            revision = int(process.stdout.readline().split()[1])
            records = reader.slices.records()
            assert records[-1].revision >= revision
            # The mask that is read belongs to the revision that was read with it.
            mask = reader.slices.revision_mask(records[-1].revision)
            np.testing.assert_array_equal(mask, mask_number(records[-1].revision - 1))
    assert process.poll() is None


def test_a_reader_sees_whole_slices_of_arrays_that_are_being_written(study: Study) -> None:
    study.arrays.create("a", ArrayName.PREDICTION)
    done = threading.Event()

    def write() -> None:
        for value in range(1, 150):
            block = np.full((1, 7, 8), value, np.uint8)
            study.arrays.write("a", ArrayName.PREDICTION, 0, 3, block)
        done.set()

    with Study.open(study.path, writable=False) as reader:
        thread = threading.Thread(target=write)
        thread.start()
        last = 0
        while not done.is_set():
            seen = reader.arrays.read("a", ArrayName.PREDICTION, 0, 3)
            assert seen.min() == seen.max() >= last
            last = int(seen.max())
        thread.join()
        assert reader.arrays.read("a", ArrayName.PREDICTION, 0, 3).min() == 149


def test_a_reader_notices_a_replaced_array(study: Study) -> None:
    study.arrays.create("a", ArrayName.PREDICTION)
    with Study.open(study.path, writable=False) as reader:
        assert reader.arrays.open("a", ArrayName.PREDICTION).chunks == (1, 7, 8)
        study.set_axis("a", 2)
        study.arrays.create("a", ArrayName.PREDICTION)
        study.arrays.write("a", ArrayName.PREDICTION, 2, 0, np.full((8, 6, 7), 5, np.uint8))
        assert reader.arrays.open("a", ArrayName.PREDICTION).chunks == (6, 7, 1)
        assert reader.labels.machine("a").min() == 5


def test_losing_the_arrays_loses_nothing_that_a_person_did(study: Study) -> None:
    key = SliceKey("a", 0, 1)
    study.save_slice(key, mask_number(1), SliceState.CLEAN)
    audit = study.log.entries()
    study.close()
    shutil.rmtree(study.path / "arrays")
    with Study.open(study.path) as again:
        assert again.slices.clean() == (key,)
        np.testing.assert_array_equal(again.slices.mask(key), mask_number(1))
        np.testing.assert_array_equal(again.labels.working("a")[1], mask_number(1))
        assert again.log.entries() == audit


def test_two_threads_share_a_study(study: Study) -> None:
    errors: list[BaseException] = []
    run = study.runs.start({}, seed=0, device="cpu")
    study.arrays.create("a", ArrayName.PREDICTION)

    def guarded(work: Callable[[], object]) -> threading.Thread:
        def target() -> None:
            try:
                work()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=target)
        thread.start()
        return thread

    def window() -> None:
        for number in range(60):
            key = SliceKey("a", 0, number % 6)
            study.save_slice(key, mask_number(number), SliceState.DRAFT)
            study.slices.set_state(key, SliceState.CLEAN)
            np.testing.assert_array_equal(study.slices.mask(key), mask_number(number))

    def engine() -> None:
        for step in range(60):
            block = np.full((1, 7, 8), step, np.uint8)
            study.arrays.write("a", ArrayName.PREDICTION, 0, step % 6, block)
            study.runs.log(run, step, {"loss": step, "dice": step / 2})
            study.labels.working("a")

    threads = [guarded(window), guarded(engine)]
    for thread in threads:
        thread.join()
    assert errors == []
    assert study.runs.metrics(run, "dice") == [(step, step / 2) for step in range(60)]
    assert len(study.slices.history(SliceKey("a", 0, 5))) == 20
    revisions = [r.revision for i in range(6) for r in study.slices.history(SliceKey("a", 0, i))]
    assert sorted(revisions) == list(range(1, 121))
    assert np.asarray(study.arrays.open("a", ArrayName.PREDICTION)[:, 0, 0]).tolist() == list(
        range(54, 60)
    )

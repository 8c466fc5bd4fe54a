"""The power fails while a process paints, accepts, trains and exports: nothing is lost."""

import os
from pathlib import Path

import numpy as np
import pytest
from lives import SHAPE, Lives, check_exported, check_saved, painted
from loop_disk import LoopDisk
from small_study import make_phantoms

from napari_mlbseg.project.folder.durable import flush_entries
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.repairing.verify import verify
from napari_mlbseg.project.study import Study

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are forked")


def go_on(path: Path) -> None:
    """The study opens, takes one more slice, and gives it back."""
    key = SliceKey("phantom0", 0, 0)
    with Study.open(path) as study:
        study.save_slice(key, painted(0), SliceState.CLEAN)
        np.testing.assert_array_equal(study.slices.mask(key), painted(0))


def cut(folder: Path, count: int, seed: int) -> int:
    """As many power cuts; returns how many revisions had been said to be saved."""
    disk, saved = LoopDisk(folder), dict[int, int]()
    with disk.mounted() as root:
        phantoms = make_phantoms(root / "cohort.mlbseg", cases=1, rough=True, shape=SHAPE)
        path = phantoms.study.path
        phantoms.study.close()
        lives = Lives(path, root / "out", seed)
        for life in lives.killed(count):
            saved |= life.saved
            with disk.after_a_cut() as after:
                there = after / path.relative_to(root)
                check_saved(there, saved)
                check_exported(after / "out")
                assert verify(there).findings == ()
                go_on(there)
        print(f"{count} power cuts, {len(saved)} revisions, none lost; fell on {dict(lives.fell)}")
    return len(saved)


def test_the_disk_forgets_what_was_not_flushed(tmp_path: Path) -> None:
    """Otherwise the other test would prove nothing."""
    disk = LoopDisk(tmp_path)
    with disk.mounted() as root:
        for name in ("flushed", "not flushed"):
            with (root / name).open("wb") as file:
                file.write(name.encode())
                file.flush()
                if name == "flushed":
                    os.fsync(file.fileno())
                    flush_entries(root)
        with disk.after_a_cut() as after:
            found = {p.name: p.read_bytes() for p in after.iterdir() if p.is_file()}
    assert found == {"flushed": b"flushed"}


@pytest.mark.slow
def test_twenty_power_cuts_lose_nothing(tmp_path: Path) -> None:
    assert cut(tmp_path, 20, seed=3) > 40

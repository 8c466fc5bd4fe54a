"""A process that does everything is killed anywhere: nothing that was saved is lost."""

import os
from pathlib import Path

import pytest
from lives import SHAPE, Lives, check_exported, check_saved
from small_study import make_phantoms

from napari_mlbseg.project.repairing.verify import verify

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are forked")


def kill(folder: Path, count: int, seed: int) -> Lives:
    phantoms = make_phantoms(folder / "cohort.mlbseg", cases=1, rough=True, shape=SHAPE)
    path = phantoms.study.path
    phantoms.study.close()
    lives = Lives(path, folder / "out", seed)
    saved: dict[int, int] = {}
    for life in lives.killed(count):
        saved |= life.saved
        check_saved(path, life.saved)
        check_exported(lives.out)
        assert verify(path).findings == ()
    check_saved(path, saved)
    assert len(saved) > 4 * count / 2
    assert check_exported(lives.out) == 1
    assert [entry.name for entry in lives.out.iterdir() if entry.name.startswith(".")] == []
    print(f"{count} kills, {len(saved)} revisions saved, none lost; fell on {dict(lives.fell)}")
    return lives


def test_twenty_kills_lose_nothing(tmp_path: Path) -> None:
    assert len(kill(tmp_path, 20, seed=1).fell) > 3


@pytest.mark.slow
@pytest.mark.timeout(7200)  # a second and a half of the processor for each
def test_five_hundred_kills_lose_nothing(tmp_path: Path) -> None:
    fell = kill(tmp_path, 500, seed=2).fell
    # A checkpoint is written after slices were published; the word that it is saved is never the
    # last one, since nothing is done between it and the next.
    assert {"base model", "SlicesPublished", "publishing", "exporting", "draft", "clean"} <= set(
        fell
    )

"""A process that does everything is killed anywhere: nothing that was saved is lost."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from lives import SHAPE, Lives, painted
from small_study import make_phantoms

from napari_mlbseg.project.repairing.verify import verify
from napari_mlbseg.project.study import Study

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are forked")


def check_saved(path: Path, saved: dict[int, int]) -> None:
    with Study.open(path, writable=False) as study:
        for revision, seed in saved.items():
            np.testing.assert_array_equal(study.slices.revision_mask(revision), painted(seed))


def check_exported(out: Path) -> int:
    """Each label file is the one that its provenance tells of; returns how many have one."""
    told = list(out.glob("*.provenance.json"))
    for path in told:
        document = json.loads(path.read_text(encoding="utf-8"))
        file = out / document["file"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == document["sha256"]
    return len(told)


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
    assert {"base model", "publishing", "CheckpointSaved", "exporting", "draft", "clean"} <= set(
        fell
    )

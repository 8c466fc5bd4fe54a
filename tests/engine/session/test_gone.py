"""A run whose study is removed or replaced."""

from dataclasses import replace
from pathlib import Path

import pytest
from folders import everything_in
from small_study import QUICK, make_phantoms

from napari_mlbseg.engine.events import Failed, Inbox, SlicesPublished
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.errors import StudyGone, UserError
from napari_mlbseg.project.arrays.store import CHANNELS, ArrayName
from napari_mlbseg.project.study import Study

QUICKER = replace(QUICK, base_steps=5)


def other_study(path: Path) -> Path:
    """A study with the same names, and with all that a run writes."""
    with make_phantoms(path, rough=True).study as study:
        for case in study.cases:
            for name in set(ArrayName) - {*CHANNELS, ArrayName.INITIAL_LABELS}:
                study.arrays.create(case.id, name)
        study.checkpoint_path.parent.mkdir()
        study.checkpoint_path.write_bytes(b"theirs")
    return path


def test_a_run_does_not_write_into_the_study_that_took_the_place(tmp_path: Path) -> None:
    other = other_study(tmp_path / "other.mlbseg")
    phantoms = make_phantoms(tmp_path / "mine.mlbseg", rough=True)
    study = phantoms.study
    phantoms.accept("phantom0", 3, 6)
    before, last = everything_in(other), None
    for event in Bootstrapper(study, QUICKER).events(Inbox()):
        if isinstance(event, SlicesPublished) and other.exists():
            study.path.rename(tmp_path / "away")
            other.rename(study.path)
        last = event
    assert isinstance(last, Failed)
    assert "removed, moved or replaced" in last.message
    assert everything_in(study.path) == before
    study.close()


def test_no_checkpoint_is_written_where_a_study_was(tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "mine.mlbseg", rough=True)
    phantoms.accept("phantom0", 3, 6)
    trainer = Trainer(phantoms.study, QUICK)
    trainer.save()
    phantoms.study.path.rename(tmp_path / "away")
    with pytest.raises(StudyGone):
        trainer.save()
    assert not phantoms.study.path.exists()


def test_no_checkpoint_is_written_by_a_reader(tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "mine.mlbseg", rough=True)
    phantoms.study.close()
    with Study.open(phantoms.study.path, writable=False) as reader:
        trainer = Trainer(reader, QUICK)
        with pytest.raises(UserError, match="reading only"):
            trainer.save()

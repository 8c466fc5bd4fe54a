"""Edits of last time: offered when the window opens and with their study."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from at_work import heard
from full_disk import Disk
from napari.components import ViewerModel
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from scripted import ScriptedEngine

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import ExtentMarked, SliceReopened
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.extents import Extent
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.rescue import Along, Rescue
from napari_mlbseg.project.rescue_files import read_rescue, rescue_folder, write_rescue
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.lifetime.rescues import FoundRescue, Rescues
from napari_mlbseg.widgets.workbench import Workbench

FIRST, SECOND = SliceKey("phantom_01", 0, 5), SliceKey("phantom_02", 2, 7)


@pytest.fixture
def path(study_path: Path) -> Path:
    return rescue_folder() / "a.mlbseg-rescue"


@pytest.fixture
def rescue(study_path: Path, path: Path) -> Rescue:
    """Two slices that could not be saved last time."""
    with Study.open(study_path, writable=False) as study:
        made = Rescue.of(study, {key: labels(study, key) for key in (FIRST, SECOND)})
    write_rescue(path, made)
    return made


def labels(study: Study, key: SliceKey) -> NDArray[np.uint8]:
    mask = np.ones(study.case(key.case_id).slice_shape(key.axis), np.uint8)
    mask[3, 3] = 2
    return mask


@pytest.fixture
def bench(qtbot: QtBot, viewer: ViewerModel) -> Iterator[Workbench]:
    made = Workbench(viewer, ScriptedEngine())
    yield made
    made.shut_down()


class Annotator:
    """Sees what is offered."""

    def __init__(self, bench: Workbench) -> None:
        self.rescues = Rescues(bench, bench)
        self.offers: list[FoundRescue] = []
        self.failures: list[str] = []
        self.rescues.offered.connect(self.offers.append)
        bench.failed.connect(self.failures.append)

    @property
    def last(self) -> FoundRescue:
        return self.offers[-1]


@pytest.fixture
def annotator(bench: Workbench) -> Annotator:
    return Annotator(bench)


def test_opening_the_study_offers_its_edits_and_no_others(
    bench: Workbench, annotator: Annotator, rescue: Rescue, path: Path, study_path: Path
) -> None:
    write_rescue(path.with_stem("b"), replace(rescue, identity="of another study"))
    bench.open_study(study_path)
    assert [(one.path, one.open, one.ours) for one in annotator.offers] == [(path, True, True)]
    annotator.rescues.take_back(annotator.last)
    assert bench.study is not None
    records = {r.key: r.state for r in bench.study.slices.records()}
    assert records == {FIRST: SliceState.DRAFT, SECOND: SliceState.DRAFT}
    assert np.array_equal(bench.study.slices.mask(SECOND), rescue.masks[SECOND])
    assert bench.annotation is not None
    assert bench.annotation.key == FIRST
    assert np.array_equal(bench.annotation.layers.working.data[5], rescue.masks[FIRST])
    assert not path.exists()


def test_skipped_slices_and_ends_come_back_and_the_engine_hears_of_it(
    qtbot: QtBot,
    bench: Workbench,
    annotator: Annotator,
    rescue: Rescue,
    path: Path,
    study_path: Path,
) -> None:
    engine = bench.engine = ScriptedEngine()
    with Study.open(study_path) as study:
        study.save_slice(FIRST, labels(study, FIRST), SliceState.CLEAN)
    skipped, heart = {FIRST: SliceState.SKIPPED}, {Along(FIRST.case_id, 0, 1): Extent(4, 9)}
    write_rescue(path, replace(rescue, masks={}, states=skipped, extents=heart))
    bench.open_study(study_path)
    assert bench.study is not None
    assert bench.train(Config())
    told = heard(bench.told)
    annotator.rescues.take_back(annotator.last)
    assert bench.study.slices.history(FIRST)[-1].state is SliceState.SKIPPED
    assert bench.study.extents.marked(FIRST.case_id, 0, 1) == Extent(4, 9)
    qtbot.waitUntil(lambda: {SliceReopened(FIRST), ExtentMarked(FIRST.case_id)} <= {*engine.heard})
    assert told[-1].endswith(": 1 slice skipped, the ends of 1 structure.")
    assert not path.exists()


def test_at_the_start_everything_is_offered_one_after_the_other(
    bench: Workbench, annotator: Annotator, rescue: Rescue, path: Path
) -> None:
    second = path.with_stem("b")
    write_rescue(second, replace(rescue, identity="of another study"))
    torn = path.with_stem("c")
    torn.write_text("{")
    annotator.rescues.offer_all()
    assert [one.path for one in annotator.offers] == [path]
    assert str(torn) in annotator.failures[0]
    annotator.rescues.put_off()
    assert [one.path for one in annotator.offers] == [path, second]
    annotator.rescues.discard(annotator.last)
    assert path.exists()
    assert not second.exists()
    assert torn.exists()


def test_from_the_start_the_study_is_opened_first(
    bench: Workbench, annotator: Annotator, rescue: Rescue, path: Path, study_path: Path
) -> None:
    annotator.rescues.offer_all()
    assert not annotator.last.open
    annotator.rescues.take_back(annotator.last)
    assert bench.study is not None
    assert bench.study.path == study_path
    assert {r.key for r in bench.study.slices.records()} == {FIRST, SECOND}
    assert len(annotator.offers) == 1
    assert not path.exists()


def test_a_study_that_cannot_be_opened_keeps_its_edits_waiting(
    bench: Workbench, annotator: Annotator, rescue: Rescue, path: Path, study_path: Path
) -> None:
    moved = study_path.with_name("moved.mlbseg")
    shutil.move(study_path, moved)
    annotator.rescues.offer_all()
    annotator.rescues.take_back(annotator.last)
    assert "not a study" in annotator.failures[0]
    assert path.exists()
    bench.open_study(moved)  # the same study at another place
    assert annotator.last.open


def test_a_study_that_is_only_read_takes_nothing_back(
    bench: Workbench, annotator: Annotator, rescue: Rescue, study_path: Path
) -> None:
    bench.open_study(study_path, writable=False)
    assert annotator.offers == []


def test_what_cannot_be_taken_back_stays_in_the_file(
    bench: Workbench, annotator: Annotator, rescue: Rescue, path: Path, study_path: Path
) -> None:
    masks = dict(rescue.masks)
    masks[SECOND] = np.full_like(masks[SECOND], 255)
    write_rescue(path, replace(rescue, masks=masks))
    bench.open_study(study_path)
    annotator.rescues.take_back(annotator.last)
    assert "value 255" in annotator.failures[0]
    assert bench.study is not None
    assert [r.key for r in bench.study.slices.records()] == [FIRST]
    assert list(read_rescue(path).masks) == [SECOND]


def test_a_disk_that_is_full_again_loses_nothing(
    bench: Workbench,
    annotator: Annotator,
    rescue: Rescue,
    path: Path,
    study_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench.open_study(study_path)
    disk = Disk(monkeypatch)
    disk.full = True
    annotator.rescues.take_back(annotator.last)
    assert len(annotator.failures) == 1
    assert set(read_rescue(path).masks) == {FIRST, SECOND}


def test_later_work_in_the_study_is_pointed_out(
    bench: Workbench, annotator: Annotator, rescue: Rescue, study_path: Path
) -> None:
    with Study.open(study_path) as study:
        study.save_slice(FIRST, labels(study, FIRST), SliceState.CLEAN)
    bench.open_study(study_path)
    assert annotator.last.changed == (FIRST,)


def test_a_file_from_elsewhere_is_taken_back_and_stays(
    bench: Workbench, annotator: Annotator, rescue: Rescue, path: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "stick.mlbseg-rescue"
    write_rescue(elsewhere, replace(rescue, at=datetime.now(UTC)))
    annotator.rescues.offer_file(elsewhere)
    assert not annotator.last.ours
    annotator.rescues.take_back(annotator.last)
    assert elsewhere.exists()
    assert not path.exists()  # our own copy of the same edits is no longer needed
    with pytest.raises(UserError, match="cannot be read"):
        annotator.rescues.offer_file(tmp_path / "nothing.mlbseg-rescue")

"""A study that takes long to open does not hold up the window."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from at_work import heard
from held import held
from napari.components import ViewerModel
from older_study import NEWEST, made_older
from pytestqt.qtbot import QtBot
from scripted import ScriptedEngine

from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.rescue import Rescue
from napari_mlbseg.project.rescue_files import rescue_folder, write_rescue
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background import opening
from napari_mlbseg.widgets.lifetime.rescues import Rescues
from napari_mlbseg.widgets.workbench import Workbench

pytestmark = pytest.mark.one_binding


@pytest.fixture
def bench(
    qtbot: QtBot, viewer: ViewerModel, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workbench]:
    monkeypatch.setattr(opening, "_PATIENCE_S", 0.01)
    made = Workbench(viewer, ScriptedEngine())
    yield made
    made.shut_down()


def test_the_window_goes_on_while_an_earlier_study_waits_for_its_migration(
    qtbot: QtBot, bench: Workbench, study_path: Path
) -> None:
    made_older(study_path, NEWEST - 1)
    told, failed = heard(bench.told), heard(bench.failed)
    with held(study_path) as holder:
        bench.open_study(study_path)
        assert bench.study is None
        assert told[0].startswith("Opening phantoms.mlbseg. It takes longer:")
        bench.open_study(study_path)
        assert failed == ["Another study is being opened. Wait until it is open."]
        holder.release()
    qtbot.waitUntil(lambda: bench.study is not None)
    assert bench.annotation is not None


def test_a_study_that_is_open_too_late_is_closed_again(
    qtbot: QtBot, bench: Workbench, study_path: Path
) -> None:
    made_older(study_path, NEWEST - 1)
    with held(study_path) as holder:
        bench.open_study(study_path)
        bench.shut_down(wait_s=0.0)
        holder.release()
    qtbot.waitUntil(lambda: not bench.opening.going_on)
    assert bench.study is None
    Study.open(study_path).close()  # nobody holds it


def test_what_was_to_be_restored_is_restored_when_its_study_is_open(
    qtbot: QtBot, bench: Workbench, study_path: Path
) -> None:
    key = SliceKey("phantom_01", 0, 5)
    with Study.open(study_path) as study:
        mask = study.labels.working(key.case_id)[5]
        write_rescue(rescue_folder() / "a.mlbseg-rescue", Rescue.of(study, {key: mask}))
    made_older(study_path, NEWEST - 1)
    rescues = Rescues(bench, bench)
    offers = heard(rescues.offered)
    rescues.offer_all()
    with held(study_path) as holder:
        rescues.take_back(offers[0])
        assert bench.study is None
        holder.release()
    qtbot.waitUntil(lambda: bench.study is not None)
    assert bench.study is not None
    qtbot.waitUntil(lambda: not list(rescue_folder().iterdir()))
    assert [r.state for r in bench.study.slices.history(key)] == [SliceState.DRAFT]
    assert len(offers) == 1

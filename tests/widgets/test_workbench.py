"""The open study behind the panels, on a viewer without a window."""

import dataclasses
import re
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from operator import methodcaller
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from at_work import on_view, paint
from dicom_files import lps_of, voxels, write_series
from flipped import flip
from napari.components import ViewerModel
from napari.settings import get_plugin_settings
from pytestqt.qtbot import QtBot
from scripted import ScriptedEngine

from napari_mlbseg.engine import events as ev
from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.deploy.formats import ModelFormat
from napari_mlbseg.engine.events import Inbox
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.formats.source import Choice
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.exporting.contents import contents_of
from napari_mlbseg.project.exporting.export import ExportKind
from napari_mlbseg.project.importing import gathering
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.samples import PhantomCohort
from napari_mlbseg.widgets.background import jobs
from napari_mlbseg.widgets.case.commands import SliceCommands
from napari_mlbseg.widgets.case.stored import Row, StoredArray
from napari_mlbseg.widgets.requests import CaseRow, Export, ModelExport, NewStudy, case_rows
from napari_mlbseg.widgets.workbench import Workbench

pytestmark = pytest.mark.one_binding


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def bench(
    qtbot: QtBot, viewer: ViewerModel, engine: ScriptedEngine, study_path: Path
) -> Iterator[Workbench]:
    made = Workbench(viewer, engine)
    made.open_study(study_path)
    yield made
    made.shut_down()


def test_whoever_is_named_in_the_preferences_stands_in_the_log(
    bench: Workbench, study_path: Path
) -> None:
    bench.close_study()
    kept = get_plugin_settings("napari-mlbseg")
    kept.work.annotator = " Dr. Ada "
    bench.open_study(study_path)
    bench.view.act(SliceCommands.accept)
    assert bench.study is not None
    assert bench.study.log.entries(1)[0].author == "Dr. Ada"


def test_a_slice_of_another_case_is_read_ahead_and_not_once_more(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[tuple[str, str]] = []
    read = StoredArray._read

    def spy(array: StoredArray, row: Row) -> Any:
        rows.append((array._case.id, array.name))
        return read(array, row)

    monkeypatch.setattr(StoredArray, "_read", spy)
    study, there = bench.study, SliceKey("phantom_02", 0, 5)
    assert study is not None
    needed = {("phantom_02", ArrayName.IMAGE), ("phantom_02", ArrayName.INITIAL_LABELS)}
    bench.view.expect(SliceKey("gone", 0, 5))  # a suggestion of a case that was removed meanwhile
    for _ in range(2):
        bench.view.expect(there)
    bench.view.go_to(there)
    assert on_view(bench).key == there
    shown = on_view(bench).layers.image.data[5]
    np.testing.assert_array_equal(shown, study.arrays.open("phantom_02", ArrayName.IMAGE)[5])
    assert len(rows) == 2
    assert set(rows) == needed


def test_what_was_read_ahead_is_read_again_once_it_was_replaced(bench: Workbench) -> None:
    study, there = bench.study, SliceKey("phantom_02", 0, 5)
    assert study is not None
    shape = study.case("phantom_02").geometry.shape
    bench.view.expect(there)
    study.arrays.create("phantom_02", ArrayName.PREDICTION)
    for value in (1, 2):
        block = np.full(shape, value, np.uint8)
        study.arrays.write("phantom_02", ArrayName.PREDICTION, 0, 0, block)
        told = ev.SlicesPublished("phantom_02", 0, 0, len(block), (ArrayName.PREDICTION.value,), 1)
        bench.view.hear(told)
        bench.view.expect(there)
    bench.view.go_to(there)
    assert (on_view(bench).layers.working.data[5] == 2).all()
    bench.view.choose("phantom_01")
    bench.view.expect(there)
    study.arrays.write("phantom_02", ArrayName.PREDICTION, 0, 0, np.ones(shape, np.uint8))
    bench.classes_changed.emit()
    bench.view.go_to(there)
    assert (on_view(bench).layers.working.data[5] == 1).all()


def test_opening_shows_the_first_case(bench: Workbench, viewer: ViewerModel) -> None:
    assert [row.case_id for row in case_rows(bench.study)] == ["phantom_01", "phantom_02"]
    assert on_view(bench).case.id == "phantom_01"
    assert len(viewer.layers) == 7


def test_damage_that_is_passed_over_is_told_at_the_opening(
    bench: Workbench, study_path: Path
) -> None:
    assert bench.study is not None
    case = bench.study.case("phantom_01")
    key, shape = SliceKey(case.id, case.axis, 3), case.slice_shape(case.axis)
    for value in (1, 2):
        bench.study.save_slice(key, np.full(shape, value, np.uint8), SliceState.CLEAN)
    with closing(sqlite3.connect(study_path / "catalogue.sqlite")) as connection:
        (data,) = connection.execute("SELECT data FROM masks ORDER BY number DESC").fetchone()
    bench.close_study()
    flip(study_path / "catalogue.sqlite", data, at=12)
    told: list[str] = []
    bench.failed.connect(told.append)
    bench.open_study(study_path)
    assert ["Revision 1 is shown instead, as a draft" in words for words in told] == [True]
    bench.view.choose(case.id)
    on_view(bench).go_to(3)
    assert np.array_equal(np.asarray(on_view(bench).layers.working.data[3]), np.full(shape, 1))
    bench.view.act(methodcaller("accept"))
    assert bench.study.slices.clean() == (key,)
    assert bench.study.damage() == ()


def test_another_case_replaces_the_layers_and_saves_the_paint(
    bench: Workbench, viewer: ViewerModel
) -> None:
    paint(bench, 5)
    bench.view.choose("phantom_02")
    assert bench.study is not None
    assert CaseRow.of(bench.study, "phantom_01").drafts == 1
    assert len(viewer.layers) == 7
    second = np.asarray(on_view(bench).layers.working.data)
    on_view(bench).layers.working.undo()
    assert np.array_equal(np.asarray(on_view(bench).layers.working.data), second)


def test_choosing_the_case_again_brings_deleted_layers_back(
    bench: Workbench, viewer: ViewerModel
) -> None:
    paint(bench, 5)
    viewer.layers.remove("working labels")
    bench.view.choose("phantom_01")
    assert len(viewer.layers) == 7
    assert viewer.layers["working labels"].data[5, 4, 4] == 2


def test_closing_saves_and_releases(bench: Workbench, study_path: Path) -> None:
    paint(bench, 5)
    bench.close_study()
    assert bench.study is None
    with Study.open(study_path) as study:
        assert [r.key.index for r in study.slices.records(state=SliceState.DRAFT)] == [5]


def test_a_locked_study_is_offered_for_reading(
    qtbot: QtBot, viewer: ViewerModel, study: Study
) -> None:
    bench = Workbench(viewer)
    with qtbot.waitSignal(bench.locked) as locked:
        bench.open_study(study.path)
    assert bench.study is None
    assert locked.args is not None
    bench.open_study(locked.args[0], writable=False)
    assert bench.study is not None
    assert not bench.study.writable
    with qtbot.waitSignal(bench.failed) as failed:
        bench.view.act(SliceCommands.accept)
    assert failed.args == ["This study is open read-only."]
    assert not bench.train(Config())
    bench.shut_down()


def test_what_cannot_be_opened_is_told(qtbot: QtBot, viewer: ViewerModel, tmp_path: Path) -> None:
    bench = Workbench(viewer)
    with qtbot.waitSignal(bench.failed) as failed:
        bench.open_study(tmp_path / "nothing.mlbseg")
    assert failed.args is not None
    assert "not a study" in failed.args[0]


def test_a_study_is_made_from_folders(
    qtbot: QtBot, viewer: ViewerModel, cohort: PhantomCohort, tmp_path: Path
) -> None:
    bench = Workbench(viewer)
    with qtbot.waitSignal(bench.view.changed):
        bench.create_study(NewStudy(tmp_path / "new.mlbseg", cohort.images, cohort.labels))
    assert bench.study is not None
    assert len(case_rows(bench.study)) == 2
    bench.shut_down()


@pytest.mark.parametrize(
    ("names", "found"), [(None, ["class 1"]), ("organ, lesion", ["organ", "lesion"])]
)
def test_a_study_without_label_files_has_classes_too(
    qtbot: QtBot,
    viewer: ViewerModel,
    cohort: PhantomCohort,
    tmp_path: Path,
    names: str | None,
    found: list[str],
) -> None:
    bench = Workbench(viewer)
    with qtbot.waitSignal(bench.view.changed):
        bench.create_study(NewStudy(tmp_path / "new.mlbseg", cohort.images, None, names))
    assert bench.study is not None
    assert [(c.value, c.name) for c in bench.study.classes] == list(enumerate(found, start=1))
    bench.shut_down()


def test_classes_change_in_the_study_and_on_the_layers(
    qtbot: QtBot, bench: Workbench, viewer: ViewerModel
) -> None:
    assert bench.study is not None
    first, second = bench.study.classes
    changed = (
        dataclasses.replace(first, name="organ", color=(10, 20, 30)),
        second,
        LabelClass(9, "scar", (255, 0, 0)),
    )
    with qtbot.waitSignal(bench.classes_changed):
        bench.set_classes(changed)
    assert bench.study.classes == changed
    for name in ("working labels", "prediction", "initial labels"):
        colors = viewer.layers[name].colormap.color_dict
        assert np.allclose(colors[1], (10 / 255, 20 / 255, 30 / 255, 1))
        assert np.allclose(colors[9], (1, 0, 0, 1))


def test_a_class_goes_only_while_no_label_uses_it(
    qtbot: QtBot, bench: Workbench, viewer: ViewerModel
) -> None:
    assert bench.study is not None
    before = bench.study.classes
    scar = LabelClass(9, "scar", (255, 0, 0))
    with qtbot.waitSignal(bench.classes_changed):
        bench.set_classes((*before, scar))
    on_view(bench).paint_with(9)
    paint(bench, 5, 9)  # not saved yet
    with qtbot.waitSignal(bench.failed) as failed:
        bench.set_classes(before)
    assert failed.args is not None
    assert "(scar) is in use in slice 5 of phantom_01" in failed.args[0]
    assert bench.study.classes == (*before, scar)
    on_view(bench).layers.working.undo()
    with qtbot.waitSignal(bench.classes_changed):
        bench.set_classes(before)
    assert bench.study.classes == before
    assert on_view(bench).label == before[0].value
    with qtbot.waitSignal(bench.failed) as failed:
        bench.set_classes(before[:1])
    assert failed.args is not None
    assert "in use in the initial labels of phantom_01" in failed.args[0]


def test_while_training_classes_are_renamed_but_not_added(
    qtbot: QtBot, bench: Workbench, engine: ScriptedEngine
) -> None:
    assert bench.study is not None
    first, second = bench.study.classes
    assert bench.train(Config())
    with qtbot.waitSignal(bench.failed):
        bench.set_classes((first, second, LabelClass(9, "scar", (255, 0, 0))))
    with qtbot.waitSignal(bench.classes_changed):
        bench.set_classes((dataclasses.replace(first, name="organ"), second))
    assert [c.name for c in bench.study.classes] == ["organ", second.name]


def test_a_failed_import_leaves_nothing_behind(
    qtbot: QtBot, viewer: ViewerModel, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    bench = Workbench(viewer)
    with qtbot.waitSignal(bench.failed) as failed:
        bench.create_study(NewStudy(tmp_path / "new.mlbseg", tmp_path / "images", None))
    assert failed.args is not None
    assert "unexpected" not in failed.args[0]
    assert not (tmp_path / "new.mlbseg").exists()
    assert bench.study is None


def test_files_that_cannot_be_taken_in_are_told(
    qtbot: QtBot, viewer: ViewerModel, cohort: PhantomCohort, tmp_path: Path
) -> None:
    shutil.copytree(cohort.images, tmp_path / "images")
    (tmp_path / "images" / "torn.nii.gz").write_bytes(b"not an image")
    bench = Workbench(viewer)
    with qtbot.waitSignal(bench.failed) as failed:
        bench.create_study(NewStudy(tmp_path / "new.mlbseg", tmp_path / "images", None))
    assert failed.args is not None
    assert "torn.nii.gz" in failed.args[0]
    assert len(case_rows(bench.study)) == 2
    bench.shut_down()


def test_an_import_never_touches_a_study_that_was_there(
    qtbot: QtBot, viewer: ViewerModel, cohort: PhantomCohort, study_path: Path
) -> None:
    bench = Workbench(viewer)
    with qtbot.waitSignal(bench.failed):
        bench.create_study(NewStudy(study_path, cohort.images, None))
    with Study.open(study_path) as study:
        assert len(study.cases) == 2


def test_the_engine_hears_of_slices_and_of_what_is_looked_at(
    qtbot: QtBot, bench: Workbench, engine: ScriptedEngine
) -> None:
    assert bench.train(Config(steps=3))
    assert engine.started[0][1].steps == 3
    on_view(bench).go_to(5)
    key = on_view(bench).key
    bench.view.act(SliceCommands.accept)
    qtbot.waitUntil(lambda: ev.Focus(on_view(bench).key) in engine.heard)
    assert ev.SliceAccepted(key) in engine.heard
    paint(bench, 5)
    on_view(bench).flush()
    qtbot.waitUntil(lambda: ev.SliceReopened(key) in engine.heard)
    bench.view.choose("phantom_02")
    qtbot.waitUntil(lambda: ev.Focus(on_view(bench).key) in engine.heard)


def test_predictions_appear_while_the_engine_runs(
    qtbot: QtBot, bench: Workbench, engine: ScriptedEngine
) -> None:
    assert bench.study is not None
    bench.train(Config())
    paint(bench, 5)
    name = ArrayName.PREDICTION
    for case in bench.study.cases:
        bench.study.arrays.create(case.id, name)[:] = 1
        shape = case.geometry.shape
        engine.tell(ev.SlicesPublished(case.id, 0, 0, shape[0], (name.value,), 1))
    data = on_view(bench).layers.working.data
    qtbot.waitUntil(lambda: bool((np.delete(np.asarray(data), 5, axis=0) == 1).all()))
    assert not (data[5] == 1).all()


def test_a_failing_engine_is_told_and_can_be_started_again(
    qtbot: QtBot, bench: Workbench, engine: ScriptedEngine
) -> None:
    bench.train(Config())
    engine.tell(RuntimeError("CUDA error: an illegal memory access was encountered"))
    told: list[ev.Event] = []
    bench.engine_event.connect(told.append)
    qtbot.waitUntil(lambda: not bench.bridge.running)
    assert isinstance(told[-1], ev.Failed)
    assert bench.train(Config())


def test_a_second_start_is_refused_in_words(
    qtbot: QtBot, bench: Workbench, engine: ScriptedEngine
) -> None:
    assert bench.train(Config())
    with qtbot.waitSignal(bench.failed):
        assert not bench.train(Config())


def test_closing_waits_until_the_engine_has_stopped(
    qtbot: QtBot, bench: Workbench, engine: ScriptedEngine
) -> None:
    bench.train(Config())
    bench.close_study()
    assert bench.study is not None  # not closed under the hands of the engine
    qtbot.waitUntil(lambda: bench.study is None)
    assert not bench.bridge.running
    assert engine.heard[-1] == ev.Stop()


@pytest.mark.parametrize("case_id", ["phantom_01", None])
def test_export_writes_what_is_shown(
    qtbot: QtBot, bench: Workbench, tmp_path: Path, case_id: str | None
) -> None:
    paint(bench, 5)
    with qtbot.waitSignal(bench.told) as told:
        bench.export(Export(ExportKind.LABELS, tmp_path / "out", case_id))
    files = sorted((tmp_path / "out").iterdir())
    assert told.args is not None
    assert told.args[0].startswith("Wrote 1 file " if case_id else "Wrote 2 files ")
    annotation = on_view(bench)
    voxels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(files[0]))).transpose()
    shown = annotation.case.geometry.to_file(np.asarray(annotation.layers.working.data))
    assert np.array_equal(voxels, shown)


def test_a_report_holds_what_is_on_view(qtbot: QtBot, bench: Workbench, tmp_path: Path) -> None:
    paint(bench, 5)
    with qtbot.waitSignal(bench.told) as told:
        bench.report(tmp_path / "report.html")
    assert told.args == [f"Wrote {tmp_path / 'report.html'}"]
    page = (tmp_path / "report.html").read_text()
    assert re.search(r"<td>draft</td><td class=\"number\">1</td>", page)


def test_an_export_tells_what_it_tidied(qtbot: QtBot, bench: Workbench, tmp_path: Path) -> None:
    assert bench.study is not None
    first, *others = bench.study.classes
    with qtbot.waitSignal(bench.classes_changed):
        bench.set_classes([dataclasses.replace(first, most_pieces=1), *others])
    assert bench.study.classes[0].most_pieces == 1
    labels = bench.study.arrays.open("phantom_01", ArrayName.INITIAL_LABELS)
    labels[0, 0, 0:2] = first.value
    with qtbot.waitSignal(bench.told) as told:
        bench.export(Export(ExportKind.LABELS, tmp_path / "out", None))
    assert told.args is not None
    wrote, *lines = told.args[0].splitlines()
    assert wrote == f"Wrote 2 files to {tmp_path / 'out'}"
    (line,) = (line for line in lines if line.startswith("phantom_01"))
    assert line.startswith(f"phantom_01, {first.name}: ")
    assert " pieces removed (" in line


def test_a_model_needs_a_training_that_has_ended(
    qtbot: QtBot, bench: Workbench, engine: ScriptedEngine, tmp_path: Path
) -> None:
    wanted = ModelExport(ModelFormat.BUNDLE, tmp_path)
    with qtbot.waitSignal(bench.failed) as failed:
        bench.export_model(wanted)
    assert failed.args is not None
    assert "has no trained network yet" in failed.args[0]
    bench.train(Config())
    with qtbot.waitSignal(bench.failed) as failed:
        bench.export_model(wanted)
    assert failed.args is not None
    assert "Stop the training first" in failed.args[0]


def test_the_trained_model_is_written(qtbot: QtBot, bench: Workbench, tmp_path: Path) -> None:
    assert bench.study is not None
    for index in (10, 20, 30):
        bench.view.show(methodcaller("go_to", index))
        bench.view.act(SliceCommands.accept)
    config = Config(base_steps=2, steps=1, slice_size=32, device="cpu", threads=1)
    *_, last = Bootstrapper(bench.study, config).events(Inbox())
    assert isinstance(last, ev.Finished), last
    with qtbot.waitSignal(bench.told) as told:
        bench.export_model(ModelExport(ModelFormat.BUNDLE, tmp_path / "out"))
    assert told.args is not None
    folder = tmp_path / "out" / "phantoms-bundle"
    assert str(folder) in told.args[0]
    assert (folder / "models" / "model.pt").stat().st_size > 0


def test_a_vanished_image_is_read_from_its_source_again(qtbot: QtBot, bench: Workbench) -> None:
    assert bench.study is not None
    image = np.asarray(bench.study.arrays.open("phantom_02", ArrayName.IMAGE)[:])
    shutil.rmtree(bench.study.path / "arrays" / "phantom_02")
    bench.view.choose("phantom_02")
    qtbot.waitUntil(lambda: bench.annotation is not None)
    assert on_view(bench).case.id == "phantom_02"
    assert np.array_equal(
        np.asarray(bench.study.arrays.open("phantom_02", ArrayName.IMAGE)[:]), image
    )


def test_an_image_that_is_gone_for_good_is_told(
    qtbot: QtBot, viewer: ViewerModel, study_path: Path
) -> None:
    shutil.rmtree(study_path / "arrays" / "phantom_01")
    bench = Workbench(viewer)
    with qtbot.waitSignal(bench.failed) as failed:
        bench.open_study(study_path, writable=False)
    assert failed.args is not None
    assert "The image of phantom_01 is missing" in failed.args[0]
    assert bench.annotation is None
    bench.shut_down()


def test_going_to_a_slice_of_another_case_and_axis(bench: Workbench) -> None:
    bench.view.go_to(SliceKey("phantom_02", 0, 7))
    assert on_view(bench).key == SliceKey("phantom_02", 0, 7)
    bench.view.turn(2)
    bench.view.go_to(SliceKey("phantom_01", 0, 3))
    assert on_view(bench).key == SliceKey("phantom_01", 0, 3)
    bench.view.go_to(SliceKey("phantom_01", 1, 9))
    assert on_view(bench).key == SliceKey("phantom_01", 1, 9)


def test_the_axis_is_remembered(bench: Workbench) -> None:
    bench.view.turn(2)
    assert on_view(bench).key.axis == 2
    bench.view.choose("phantom_02")
    bench.view.choose("phantom_01")
    assert on_view(bench).key.axis == 2


class Slow:
    """Makes an import wait in the middle of its second file, where it can be cancelled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        tell = gathering._Told.slabs

        def slabs(told: gathering._Told) -> Iterator[Any]:
            for slab in tell(told):
                yield slab
                if self._second(told):
                    self.reached.set()
                    self.go_on.wait(60)

        self._seen: list[object] = []
        monkeypatch.setattr(gathering._Told, "slabs", slabs)

    def _second(self, told: object) -> bool:
        if told not in self._seen:
            self._seen.append(told)
        return len(self._seen) == 2


def test_cancelling_an_import_leaves_everything_as_it_was(
    qtbot: QtBot,
    bench: Workbench,
    cohort: PhantomCohort,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paint(bench, 5)
    on_view(bench).flush()
    before = bench.study
    slow = Slow(monkeypatch)
    offered: list[bool] = []
    bench.errands.can_cancel.connect(offered.append)
    new = tmp_path / "new.mlbseg"
    bench.create_study(NewStudy(new, cohort.images, cohort.labels))
    qtbot.waitUntil(slow.reached.is_set)
    assert (new / "arrays").is_dir()  # the first file lies in it already
    with qtbot.waitSignal(bench.told) as told:
        bench.errands.cancel()
        slow.go_on.set()
    assert told.args is not None
    assert told.args[0].startswith("Cancelled")
    assert not new.exists()
    assert offered[0]
    assert not offered[-1]
    assert bench.study is before
    assert bench.study is not None
    assert CaseRow.of(bench.study, "phantom_01").drafts == 1
    slow._seen.append(object())
    with qtbot.waitSignal(bench.view.changed):
        bench.create_study(NewStudy(new, cohort.images, cohort.labels))
    assert bench.study is not None
    assert bench.study.path == new


def test_closing_the_window_ends_an_import(
    qtbot: QtBot,
    bench: Workbench,
    cohort: PhantomCohort,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = Slow(monkeypatch)
    bench.create_study(NewStudy(tmp_path / "new.mlbseg", cohort.images, None))
    qtbot.waitUntil(slow.reached.is_set)
    threading.Timer(0.2, slow.go_on.set).start()
    bench.shut_down()
    assert not (tmp_path / "new.mlbseg").exists()


def test_a_cancelled_export_says_that_what_was_written_stays(
    qtbot: QtBot, bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def when_told(*args: Any, **options: Any) -> Any:
        begun.set()
        go_on.wait()
        return contents_of(*args, **options)

    monkeypatch.setattr(jobs, "contents_of", when_told)
    with qtbot.waitSignal(bench.told) as told:
        bench.export(Export(ExportKind.LABELS, tmp_path / "out", None))
        begun.wait()
        bench.errands.cancel()
        go_on.set()
    assert told.args == ["Cancelled. The files of the cases that were written before stay."]
    assert len(list(tmp_path.glob("out/*.nii.gz"))) < 2


def test_several_series_and_frames_are_asked_for_before_the_import(
    qtbot: QtBot, viewer: ViewerModel, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    write_series(images / "s", voxels(), lps_of())
    for file in write_series(tmp_path / "t", voxels(), lps_of(), SeriesInstanceUID="1.8"):
        file.rename(images / "s" / f"t{file.name}")
    bench = Workbench(viewer)
    new = NewStudy(tmp_path / "new.mlbseg", images, None)
    with qtbot.waitSignal(bench.intake.choice_needed) as asked:
        bench.create_study(new)
    assert asked.args is not None
    assert asked.args[0] == new
    assert [offer.series for offer in asked.args[1]] == ["series_3", "series_3_2"]
    assert not new.path.exists()
    choices = {(images / "s").absolute(): [Choice(series="series_3_2")]}
    with qtbot.waitSignal(bench.view.changed):
        bench.create_study(dataclasses.replace(new, choices=choices))
    assert on_view(bench).case.source.choice == Choice(series="series_3_2")
    bench.shut_down()


def test_probabilities_wait_for_the_training(
    qtbot: QtBot, bench: Workbench, engine: ScriptedEngine, tmp_path: Path
) -> None:
    export = Export(ExportKind.PROBABILITIES, tmp_path / "out", None)
    bench.train(Config())
    with qtbot.waitSignal(bench.failed) as failed:
        bench.export(export)
    assert failed.args is not None
    assert "is being trained" in str(failed.args[0])
    bench.send(ev.Stop())
    qtbot.waitUntil(lambda: not bench.bridge.running)
    with qtbot.waitSignal(bench.failed) as failed:
        bench.export(export)
    assert failed.args is not None
    assert "no trained network yet" in str(failed.args[0])
    assert not (tmp_path / "out").exists()

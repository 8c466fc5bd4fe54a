"""What stays when another case is shown, and what does not."""

from collections.abc import Callable, Iterator
from pathlib import Path

import napari
import nibabel as nib
import numpy as np
import pytest
from at_work import on_view, paint
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QApplication

from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.case.carried import Framing, carried_limits
from napari_mlbseg.widgets.dock import open_dock
from napari_mlbseg.widgets.workbench import Workbench

pytestmark = pytest.mark.one_binding

SHAPES = {"a": (30, 28, 16), "b": (44, 36, 20)}
ORIGINS = {"a": (0, 0, 0), "b": (70, -50, 30)}


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Two cases of other sizes, places and types; the second has twice the intensities."""
    for number, (name, shape) in enumerate(SHAPES.items(), start=1):
        rng, affine = np.random.default_rng(number), np.diag([-0.5 * number, -0.5, 2.0, 1.0])
        affine[:3, 3] = ORIGINS[name]
        labels = np.zeros(shape, np.uint8)
        labels[8:20, 6:20, 3:9] = number
        for folder, voxels in (
            ("images", rng.integers(0, 500 * number, shape)),
            ("labels", labels),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            path = tmp_path / folder / f"{name}.nii.gz"
            nib.save(nib.Nifti1Image(voxels.astype(np.int16), affine), path)
    with Study.create(tmp_path / "two.mlbseg", author="annotator") as study:
        import_folder(study, tmp_path / "images", tmp_path / "labels")
    return tmp_path / "two.mlbseg"


@pytest.fixture
def bench(qtbot: QtBot, viewer: ViewerModel, two: Path) -> Iterator[Workbench]:
    made = Workbench(viewer)
    made.open_study(two)
    yield made
    made.shut_down()


def test_the_layers_stay_and_show_the_other_case(bench: Workbench, viewer: ViewerModel) -> None:
    before = list(viewer.layers)
    assert bench.study is not None
    for name in ("b", "a", "b"):
        bench.view.choose(name)
        case, study = bench.study.case(name), bench.study
        assert [id(one) for one in viewer.layers] == [id(one) for one in before]
        for one in viewer.layers:
            assert one.data.shape == case.geometry.shape
            assert np.allclose(one.scale, case.geometry.spacing_mm)
            assert np.allclose(one.translate, case.geometry.origin_mm)
            assert one.metadata["mlbseg_case"] == name
        assert (
            np.asarray(viewer.layers["working labels"].data) == study.labels.working(name)
        ).all()
        stored = np.asarray(study.arrays.open(name, ArrayName.IMAGE)[:])
        assert (np.asarray(viewer.layers["image"].data) == stored).all()
        middle = case.geometry.shape[case.axis] // 2
        assert on_view(bench).key == SliceKey(name, case.axis, middle)


def test_what_is_shown_is_the_slice_of_the_other_case(
    bench: Workbench, viewer: ViewerModel
) -> None:
    bench.view.go_to(SliceKey("b", 0, 4))
    assert bench.study is not None
    stored = np.asarray(bench.study.arrays.open("b", ArrayName.IMAGE)[4])
    assert (viewer.layers["image"]._slice.image.view == stored).all()
    working = viewer.layers["working labels"]
    assert set(np.unique(working._slice.image.raw)) == {0, 2}


def test_tool_brush_class_and_overlays_stay(bench: Workbench, viewer: ViewerModel) -> None:
    working = on_view(bench).layers.working
    working.mode, working.brush_size, working.selected_label, working.opacity = "erase", 7, 2, 0.2
    viewer.layers["prediction"].visible = False
    on_view(bench).toggle_map(ArrayName.TRUST)
    bench.view.choose("b")
    assert (working.mode, working.brush_size, working.selected_label) == ("erase", 7, 2)
    assert working.opacity == 0.2
    shown = {one.name for one in viewer.layers if one.visible}
    assert shown == {"image", "trust", "working labels"}
    editable = {one.name for one in viewer.layers if one.editable}
    assert not editable & {"prediction", "initial labels"}


def test_hidden_working_labels_stay_hidden(bench: Workbench, viewer: ViewerModel) -> None:
    working = on_view(bench).layers.working
    working.visible = False
    bench.view.choose("b")
    assert not working.visible
    working.visible = True
    assert working.mode == "paint"


def test_strokes_belong_to_the_case_on_view(bench: Workbench) -> None:
    assert bench.study is not None
    for name, index in (("a", 5), ("b", 6), ("a", 7)):
        bench.view.choose(name)
        paint(bench, index)
    bench.view.choose("b")
    records = bench.study.slices.records(state=SliceState.DRAFT)
    kept = {(one.key.case_id, one.key.index) for one in records}
    assert kept == {("a", 5), ("b", 6), ("a", 7)}


def test_a_polygon_that_is_half_drawn_is_not_continued_on_the_other_case(
    bench: Workbench,
) -> None:
    working = on_view(bench).layers.working
    working.mode = "polygon"
    working._overlays["polygon"].points = [(5, 3, 3), (5, 9, 3), (5, 9, 9)]
    bench.view.choose("b")
    assert working.mode == "polygon"
    assert not working._overlays["polygon"].points


def test_a_case_is_shown_where_it_was_left(bench: Workbench) -> None:
    on_view(bench).go_to(11)
    bench.view.choose("b")
    on_view(bench).go_to(3)
    bench.view.turn(1)
    here = on_view(bench).key
    bench.view.choose("a")
    assert on_view(bench).key == SliceKey("a", 0, 11)
    bench.view.choose("b")
    assert on_view(bench).key == here
    assert here.axis == 1


def test_a_view_of_the_whole_slice_is_one_of_the_other_case_too(
    bench: Workbench, viewer: ViewerModel
) -> None:
    bench.view.choose("b")
    seen = Framing.of(viewer)
    viewer.reset_view()
    assert seen == Framing.of(viewer)


def test_zoom_and_place_stay_in_mm_from_the_middle(bench: Workbench, viewer: ViewerModel) -> None:
    assert bench.study is not None

    def from_the_middle(name: str) -> tuple[float, float]:
        geometry = bench.study.case(name).geometry  # type: ignore[union-attr]
        last = [n - 1 for n in geometry.shape]
        middle = np.add(geometry.origin_mm, np.multiply(geometry.spacing_mm, last) / 2)
        y, x = Framing.of(viewer).center
        return round(y - middle[1], 6), round(x - middle[2], 6)

    viewer.scene.camera.zoom *= 3
    viewer.scene.camera.center = (0, *np.add(viewer.scene.camera.center[1:], (2.0, -1.0)))
    zoom, place = viewer.scene.camera.zoom, from_the_middle("a")
    bench.view.choose("b")
    assert viewer.scene.camera.zoom == zoom
    assert from_the_middle("b") == place
    bench.view.turn(2)  # now seen from another side
    bench.view.choose("a")
    seen = Framing.of(viewer)
    viewer.reset_view()
    assert seen == Framing.of(viewer)


def test_the_window_is_that_of_the_case_or_the_one_chosen(
    bench: Workbench, viewer: ViewerModel
) -> None:
    image = viewer.layers["image"]
    assert bench.study is not None
    own = {one.id: (one.intensity.low, one.intensity.high) for one in bench.study.cases}
    bench.view.choose("b")
    assert tuple(image.contrast_limits) == pytest.approx(own["b"])
    middle = sum(own["b"]) / 2
    image.contrast_limits = (own["b"][0], middle)
    bench.view.choose("a")  # half the intensities: arbitrary units
    assert tuple(image.contrast_limits) == pytest.approx((own["a"][0], sum(own["a"]) / 2))


@pytest.mark.parametrize(
    ("chosen", "before", "now", "expected"),
    [
        ((-160, 240), (-1000, 1200), (-1024, 1400), (-160, 240)),  # CT
        ((-1000, 1200), (-1000, 1200), (-1024, 1400), (-1024, 1400)),  # nothing was chosen
        ((0, 50), (0, 100), (0, 1000), (0, 500)),  # arbitrary units
        ((10, 20), (0, 100), (500, 600), (510, 520)),
    ],
)
def test_chosen_grey_levels_stay_where_they_mean_the_same(
    chosen: tuple[float, float],
    before: tuple[float, float],
    now: tuple[float, float],
    expected: tuple[float, float],
) -> None:
    assert carried_limits(chosen, before, now) == expected


def test_layers_are_made_anew_where_one_was_deleted(bench: Workbench, viewer: ViewerModel) -> None:
    viewer.layers.remove("trust")
    bench.view.choose("b")
    assert len(viewer.layers) == 7
    assert {one.metadata["mlbseg_case"] for one in viewer.layers} == {"b"}
    on_view(bench).go_to(4)
    viewer.layers.remove("trust")
    bench.view.choose("b")
    assert len(viewer.layers) == 7
    assert on_view(bench).key == SliceKey("b", 0, 4)


def test_no_layer_stays_of_a_case_if_the_next_one_cannot_be_shown(
    bench: Workbench, viewer: ViewerModel, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr("napari_mlbseg.widgets.on_view.Annotation", broken)
    with qtbot.waitSignal(bench.failed):
        bench.view.choose("b")
    assert bench.annotation is None
    assert not viewer.layers


def test_a_read_only_study_stays_read_only(two: Path, viewer: ViewerModel, qtbot: QtBot) -> None:
    made = Workbench(viewer)
    made.open_study(two, writable=False)
    made.view.choose("b")
    assert not viewer.layers["working labels"].editable
    made.shut_down()


@pytest.mark.slow
def test_the_canvas_looks_as_if_the_case_had_been_opened_first(
    make_napari_viewer: Callable[..., napari.Viewer], two: Path
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1500, 950)
    bench = open_dock(viewer, two).workbench

    def seen() -> np.ndarray:
        for _ in range(5):
            QApplication.processEvents()  # until the layout has settled
        return np.asarray(viewer.screenshot(canvas_only=True, flash=False))

    seen()
    for name in ("b", "a"):
        on_view(bench).toggle_map(ArrayName.TRUST)
        bench.view.choose(name)
        on_view(bench).toggle_map(ArrayName.TRUST)
        swapped = seen()
        viewer.layers.remove("meta-weights: initial labels")  # not shown
        bench.view.choose(name)
        assert (seen() == swapped).all()
    bench.shut_down()

from collections.abc import Iterator

import numpy as np
import pytest
from napari.components import ViewerModel
from skimage.color import rgb2lab

from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.palette import color_of
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.case.layers import LAYER_NAMES, CaseLayers, label_colors, weight_limits
from napari_mlbseg.widgets.case.stored import CaseArrays
from napari_mlbseg.widgets.case.working_labels import WorkingLabels

pytestmark = pytest.mark.one_binding


@pytest.fixture
def layers(viewer: ViewerModel, study: Study) -> Iterator[CaseLayers]:
    case = study.cases[0]
    arrays = CaseArrays(study, case, LAYER_NAMES, lambda: None)
    labels = WorkingLabels(case.geometry.shape, arrays.machine_slice)
    yield CaseLayers(viewer, study, case, arrays, labels)
    arrays.close()


def test_layers_lie_where_the_patient_lies_in_mm(
    layers: CaseLayers, viewer: ViewerModel, study: Study
) -> None:
    geometry = study.cases[0].geometry
    assert len(viewer.layers) == 7
    for layer in viewer.layers:
        assert np.allclose(layer.scale, geometry.spacing_mm)
        assert np.allclose(layer.translate, geometry.origin_mm)
        assert {str(u) for u in layer.units} == {"millimeter"}
        assert layer.axis_labels == ("z", "y", "x")


def test_working_labels_are_on_top_and_ready_to_be_painted(
    layers: CaseLayers, viewer: ViewerModel
) -> None:
    assert viewer.layers[-1] is layers.working
    assert viewer.layers.selection.active is layers.working
    assert layers.working.mode == "paint"
    shown = {layer.name for layer in viewer.layers if layer.visible}
    assert shown == {"image", "prediction", "working labels"}


def test_weights_are_scaled_to_what_there_is_around_the_uniform_weight(
    layers: CaseLayers, viewer: ViewerModel, study: Study
) -> None:
    case = study.cases[0]
    name, layer = ArrayName.META_WEIGHTS_INITIAL, viewer.layers["meta-weights: initial labels"]
    rng, (_, height, width) = np.random.default_rng(0), case.geometry.shape
    spread = {5: 0.02, 6: 0.4}
    whole = np.ones(case.geometry.shape, np.float16)
    for index, most in spread.items():
        whole[index] = rng.uniform(1 - most, 1 + most / 2, (height, width))
    whole[:, 0] = np.nan
    study.arrays.create(case.id, name, [(0, whole)], axis=0)
    layers._arrays.reload((name,), 0, 0, len(whole))
    layers.show_axis(0)
    layers.show_slice(0, 5)
    layers.toggle(name)
    for index, most in spread.items():
        layers.show_slice(0, index)
        layers.fit_weights()
        low, high = layer.contrast_limits
        assert low == pytest.approx(1 - most, rel=0.02)
        assert high - 1 == pytest.approx(1 - low)
        clear = layer.colormap.map((1 - low) / (high - low))
        assert clear.ravel()[3] == pytest.approx(0, abs=0.02)
    assert layer.colorbar.visible


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (np.ones((4, 4)), (0.99, 1.01)),
        (np.full((4, 4), np.nan), (0.0, 2.0)),
        (np.full((4, 4), 3.0), (0.0, 2.0)),
        (np.r_[np.ones(999), 5.0], (0.99, 1.01)),  # a single pixel does not count
    ],
)
def test_limits_of_weights(weights: np.ndarray, expected: tuple[float, float]) -> None:
    assert weight_limits(weights) == pytest.approx(expected)


def test_the_slice_on_view_is_found_whatever_the_viewer_counts_in(
    layers: CaseLayers, viewer: ViewerModel
) -> None:
    viewer.add_image(np.zeros((60, 20, 20)), scale=(7, 1, 1), units="mm")
    for axis, index in ((0, 0), (0, 13), (0, 23), (1, 95), (2, 40)):
        layers.show_axis(axis)
        layers.show_slice(axis, index)
        assert layers.axis == axis
        assert layers.index(axis) == index


def test_a_fourth_dimension_of_another_layer_does_not_confuse(
    layers: CaseLayers, viewer: ViewerModel
) -> None:
    viewer.add_image(np.zeros((2, 4, 20, 20)))
    layers.show_axis(1)
    layers.show_slice(1, 17)
    assert layers.axis == 1
    assert layers.index(1) == 17


def test_superior_is_up_in_coronal_and_sagittal_views(
    layers: CaseLayers, viewer: ViewerModel
) -> None:
    directions = []
    for axis in range(3):
        layers.show_axis(axis)
        directions.append(str(viewer.scene.camera.orientation2d[0]))
    assert directions == ["down", "up", "up"]


def test_what_is_on_view_survives_that_a_layer_was_deleted(
    layers: CaseLayers, viewer: ViewerModel
) -> None:
    viewer.layers.remove("prediction")
    layers.draw([ArrayName.PREDICTION, ArrayName.IMAGE])
    layers.remove()
    assert len(viewer.layers) == 0


def test_classes_have_the_study_s_colours(study: Study) -> None:
    colors = label_colors(study.classes)
    for label in study.classes:
        shown = colors.map(np.array([label.value], np.uint8))[0]
        assert np.allclose(shown[:3], np.array(label.color) / 255, atol=1e-3)
    assert colors.map(np.array([0], np.uint8))[0][3] == 0


def test_the_image_alone_and_what_was_shown_before(layers: CaseLayers, viewer: ViewerModel) -> None:
    layers.toggle(ArrayName.TRUST)
    layers.working.mode = "erase"
    before = {layer.name for layer in viewer.layers if layer.visible}
    assert layers.shown() == {ArrayName.PREDICTION, ArrayName.TRUST}
    layers.hide_all()
    assert {layer.name for layer in viewer.layers if layer.visible} == {"image"}
    assert layers.shown() == frozenset()
    layers.hide_all()
    assert {layer.name for layer in viewer.layers if layer.visible} == before
    assert layers.working.mode == "erase"


def test_hiding_all_again_after_one_was_shown_by_hand(
    layers: CaseLayers, viewer: ViewerModel
) -> None:
    layers.hide_all()
    layers.toggle(ArrayName.INITIAL_LABELS)
    layers.hide_all()
    assert {layer.name for layer in viewer.layers if layer.visible} == {"image"}
    layers.hide_all()
    assert {layer.name for layer in viewer.layers if layer.visible} == {"image", "initial labels"}


def test_the_trust_map_shows_no_colour_of_a_class(layers: CaseLayers, viewer: ViewerModel) -> None:
    ramp = viewer.layers["trust"].colormap.map(np.linspace(0, 1, 101))
    seen = rgb2lab(ramp[ramp[:, 3] > 0.1][:, None, :3])
    classes = rgb2lab(np.array([[color_of(value) for value in range(1, 255)]]) / 255)
    assert np.linalg.norm(seen - classes, axis=-1).min() > 30  # 2 can just be told apart

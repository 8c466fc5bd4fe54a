"""The two other planes, by key and mouse, in the real window."""

import numpy as np
import pytest
from bench import WindowAtWork
from canvas import LEFT, SHIFT
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget

from napari_mlbseg.engine.events import SlicesPublished
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.widgets.focus import main_window_of
from napari_mlbseg.widgets.panels.plane_view import PlaneView
from napari_mlbseg.widgets.reading.plane_pictures import color_table, picture
from napari_mlbseg.widgets.reading.planes import TITLE, Planes

RED = LabelClass(1, "red", (200, 0, 0))


def test_labels_lie_over_grey_levels_and_hidden_classes_do_not() -> None:
    image = np.array([[-5, 0, 50, 100, np.nan]], np.float32)
    labels = np.array([[0, 0, 1, 0, 0]], np.uint8)
    shown = picture(image, (0, 100), labels, color_table((RED,), ()))
    assert shown.tolist() == [[[0] * 3, [0] * 3, [156, 76, 76], [255] * 3, [0] * 3]]
    hidden = picture(image, (0, 100), labels, color_table((RED,), (1,)))
    assert hidden[0, 2].tolist() == [127] * 3


def planes_of(bench: WindowAtWork) -> Planes:
    return bench.dock.habits.planes


def views(bench: WindowAtWork) -> tuple[PlaneView, PlaneView]:
    panel = planes_of(bench).panel
    assert panel is not None
    return panel.views


def seen(view: PlaneView) -> NDArray[np.uint8]:
    assert view.picture is not None
    return view.picture.pixels


def panels(bench: WindowAtWork) -> list[QDockWidget]:
    window = main_window_of(bench.dock)
    assert window is not None
    docks = window.findChildren(QDockWidget)
    return [one for one in docks if one.objectName() == TITLE and not one.isHidden()]


def colored(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where labels are, upright: colours are no greys."""
    return np.asarray(np.ptp(pixels.astype(int), axis=2)[::-1] > 0)


@pytest.mark.every_binding
def test_the_other_planes_show_the_labels_and_a_click_goes_there(
    qtbot: QtBot, bench: WindowAtWork
) -> None:
    window = main_window_of(bench.dock)
    assert window is not None
    corner = Qt.Corner.BottomRightCorner
    before, height = window.corner(corner), bench.dock.height()
    bench.hand.press(Qt.Key.Key_F9)
    qtbot.waitUntil(lambda: views(bench)[1].picture is not None)
    assert bench.dock.height() == height  # the image alone gives room
    coronal, sagittal = views(bench)
    _, y, x = planes_of(bench)._at
    assert np.array_equal(colored(seen(coronal)), bench.labels[:, y] > 0)
    assert np.array_equal(colored(seen(sagittal)), bench.labels[:, :, x] > 0)
    assert coronal.picture is not None
    assert coronal.picture.crosshair == (13 - bench.annotation.key.index, x)
    assert tuple(coronal.picture.letters)[2:] == ("R", "L")
    qtbot.mouseClick(coronal, LEFT, pos=coronal.place_of(13 - 4, 11).toPoint())
    assert bench.annotation.key.index == 4
    qtbot.waitUntil(lambda: np.array_equal(colored(seen(sagittal)), bench.labels[:, :, 11] > 0))
    bench.hand.drag((4, 11), (8, 11))
    assert bench.labels[4, 6, 11] > 0
    qtbot.waitUntil(lambda: np.array_equal(colored(seen(sagittal)), bench.labels[:, :, 11] > 0))
    bench.hand.press(Qt.Key.Key_F9)
    assert panels(bench) == []
    assert window.corner(corner) == before
    assert planes_of(bench)._volumes is None


@pytest.mark.one_binding
def test_they_follow_the_case_the_prediction_and_the_end(qtbot: QtBot, bench: WindowAtWork) -> None:
    planes, view = planes_of(bench), bench.dock.workbench.view
    planes._renew_soon.setInterval(1)
    bench.hand.press(Qt.Key.Key_F9, SHIFT)
    view.choose("b")
    qtbot.waitUntil(lambda: views(bench)[0].picture is not None)
    shape = bench.annotation.case.geometry.shape
    bench.study.arrays.create("b", ArrayName.PREDICTION)
    bench.study.arrays.write("b", ArrayName.PREDICTION, 0, 0, np.ones(shape, np.uint8))
    event = SlicesPublished("b", 0, 0, shape[0], (ArrayName.PREDICTION.value,), 1)
    bench.dock.workbench.engine_event.emit(event)
    qtbot.waitUntil(lambda: bool(colored(seen(views(bench)[0])).all()))
    bench.dock.workbench.close_study()
    assert views(bench)[0].picture is None
    panels(bench)[0].close()
    qtbot.waitUntil(lambda: planes.panel is None)


@pytest.mark.one_binding
def test_a_case_too_large_to_hold_is_refused(
    qtbot: QtBot, bench: WindowAtWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_mlbseg.widgets.reading.planes._LARGEST_BYTES", 1)
    planes_of(bench).look_here()
    panel = planes_of(bench).panel
    assert panel is not None
    assert "GiB of memory" in panel.note.text()

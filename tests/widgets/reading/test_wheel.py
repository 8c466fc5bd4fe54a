"""The wheel over the image: through the slices, or as napari has it."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from bench import WindowAtWork
from canvas import CTRL, SHIFT
from napari import settings
from pytestqt.qtbot import QtBot

from napari_mlbseg.widgets.preferences import (
    annotator,
    device,
    prefer_device,
    prefer_target_dice,
    prefer_wheel_scrolls,
    target_dice,
    wheel_scrolls,
)


def zoom(bench: WindowAtWork) -> float:
    return float(bench.viewer.scene.camera.zoom)


def zooms_in(bench: WindowAtWork, before: float) -> bool:
    return zoom(bench) > before


def zooms_by_wheel(bench: WindowAtWork, before: float) -> bool:
    """Turn the wheel once more: a canvas that has not been drawn yet does not hear it."""
    bench.hand.wheel(1)
    return zooms_in(bench, before)


def center(bench: WindowAtWork) -> tuple[float, ...]:
    return tuple(float(v) for v in bench.viewer.scene.camera.center[1:])


def test_the_wheel_goes_through_the_slices_of_every_plane(bench: WindowAtWork) -> None:
    for axis in (0, 1, 2):
        bench.dock.workbench.view.turn(axis)
        before, seen = bench.annotation.key, zoom(bench)
        for notches, index in ((-1, 1), (-1, 2), (1, 1), (-8, 2), (0.5, 2), (0.5, 1)):
            bench.hand.wheel(notches)
            assert bench.annotation.key == replace(before, index=before.index + index)
        last = bench.annotation.case.geometry.shape[axis] - 1
        for notches, end in ((1, 0), (-1, last)):
            for _ in range(last + 3):
                bench.hand.wheel(notches)
            assert bench.annotation.key.index == end
        assert zoom(bench) == seen


@pytest.mark.every_binding
def test_ctrl_and_the_wheel_zoom_where_the_pointer_is_as_napari_does(
    qtbot: QtBot, bench: WindowAtWork
) -> None:
    index, place = bench.annotation.key.index, (60, -40)
    seen = []
    for preferred, keys in ((True, CTRL), (False, None)):
        prefer_wheel_scrolls(preferred)
        bench.viewer.reset_view()
        before = zoom(bench)
        bench.hand.wheel(1, *([] if keys is None else [keys]), way=place)
        qtbot.waitUntil(partial(zooms_in, bench, before))
        seen.append((zoom(bench), *center(bench)))
    assert np.allclose(seen[0], seen[1])
    assert bench.annotation.key.index == index


@pytest.mark.one_binding
def test_what_somebody_prefers_is_kept(qtbot: QtBot, bench: WindowAtWork) -> None:
    assert wheel_scrolls()
    panel = bench.dock.habits.panel
    panel.menu.aboutToShow.emit()
    (wheel,) = (action for action in panel.menu.actions() if action.isCheckable())
    assert wheel.isChecked()
    wheel.trigger()
    settings._clear_plugin_settings_cache()  # as at the next start
    assert not wheel_scrolls()
    panel.menu.aboutToShow.emit()
    assert not wheel.isChecked()
    index, seen = bench.annotation.key.index, zoom(bench)
    bench.hand.wheel(1)
    qtbot.waitUntil(partial(zooms_in, bench, seen))
    assert bench.annotation.key.index == index
    bench.hand.wheel(-1, CTRL)
    assert bench.annotation.key.index == index + 1


def test_napari_lists_the_preference() -> None:
    kept = settings.get_plugin_settings("napari-mlbseg")
    assert kept.reading.wheel_scrolls is True
    field = type(kept.reading).model_fields["wheel_scrolls"]
    assert "Ctrl+wheel" in field.description


def test_the_device_of_the_last_training_and_the_dice_to_reach_are_kept() -> None:
    assert (annotator(), device(), target_dice()) == (None, "auto", 0.9)
    prefer_device("cpu")
    prefer_target_dice(0.85)
    settings._clear_plugin_settings_cache()  # as at the next start
    assert (device(), target_dice()) == ("cpu", 0.85)


def test_a_plugin_that_is_switched_off_has_its_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_mlbseg.widgets.preferences.get_plugin_settings", lambda: {})
    prefer_wheel_scrolls(False)
    prefer_device("cpu")
    prefer_target_dice(0.85)
    found = (wheel_scrolls(), annotator(), device(), target_dice())
    assert found == (True, None, "auto", 0.9)


# napari shows no contours in 3-D, and says so
@pytest.mark.one_binding
@pytest.mark.filterwarnings("ignore:Contours are not displayed")
def test_in_3d_and_with_other_keys_the_wheel_is_naparis(qtbot: QtBot, bench: WindowAtWork) -> None:
    index, seen = bench.annotation.key.index, zoom(bench)
    bench.hand.wheel(-1, SHIFT)
    assert (bench.annotation.key.index, zoom(bench)) == (index, seen)
    bench.viewer.dims.ndisplay = 3
    seen = zoom(bench)
    qtbot.waitUntil(partial(zooms_by_wheel, bench, seen))
    assert bench.annotation.key.index == index


@pytest.mark.slow
def test_without_a_study_the_wheel_is_naparis(qtbot: QtBot, bench: WindowAtWork) -> None:
    bench.dock.workbench.close_study()
    bench.viewer.add_image(np.zeros((9, 30, 30)))
    index, seen = bench.viewer.dims.current_step[0], zoom(bench)
    qtbot.waitUntil(partial(zooms_by_wheel, bench, seen))
    assert bench.viewer.dims.current_step[0] == index
    bench.hand.wheel(-1, CTRL)
    assert bench.viewer.dims.current_step[0] == index + 1

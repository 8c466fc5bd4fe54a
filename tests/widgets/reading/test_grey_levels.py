"""Grey levels by dragging over the real canvas."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from bench import WindowAtWork
from canvas import LEFT, MIDDLE, RIGHT, SHIFT
from hypothesis import given
from hypothesis import strategies as st
from napari.layers import Image

from napari_mlbseg.widgets.case.carried import Limits, contrast_limits, window_of
from napari_mlbseg.widgets.reading.grey_levels import dragged

pixels = st.floats(-2000, 2000)


def shown(bench: WindowAtWork) -> Limits:
    return window_of(bench.viewer.layers["image"])


def labels(bench: WindowAtWork) -> Any:
    return np.asarray(bench.annotation.layers.working.data)


@given(st.floats(-1e4, 1e4), st.floats(0.1, 1e4), pixels, pixels)
def test_width_follows_the_side_and_level_the_height(
    low: float, width: float, right: float, down: float
) -> None:
    before = (low, low + width)
    after = dragged(before, right, down)
    assert after[1] > after[0]
    assert np.sign(after[1] - after[0] - width) == np.sign(right) or abs(right) < 1
    level = sum(after) / 2 - sum(before) / 2
    assert level == pytest.approx(width * down / 400, abs=1e-6 * (abs(low) + after[1] - after[0]))


def test_a_drag_changes_the_grey_levels_and_nothing_else(bench: WindowAtWork) -> None:
    working = bench.annotation.layers.working
    others = [one for one in bench.viewer.layers if isinstance(one, Image) and one.name != "image"]
    assert len(others) == 3

    def rest() -> Any:
        camera = bench.viewer.scene.camera
        maps = [window_of(one) for one in others]
        return labels(bench).tolist(), bench.annotation.label, camera.zoom, camera.center, maps

    before = rest()
    for mode, button in product(("paint", "erase", "fill", "pan_zoom", "pick"), (RIGHT, MIDDLE)):
        working.mode = mode
        levels = shown(bench)
        bench.hand.pull(button, (10, 5), (60, -30))
        assert shown(bench) == pytest.approx(dragged(levels, 60, -30))
        bench.hand.pull(button, (-20, 0))  # goes on from there
        assert shown(bench) == pytest.approx(dragged(dragged(levels, 60, -30), -20, 0))
        assert rest() == before
    text = bench.dock.habits.panel.levels.text()
    assert text.startswith(f"width {shown(bench)[1] - shown(bench)[0]:.4g}")


@pytest.mark.one_binding
def test_a_click_alone_changes_nothing(bench: WindowAtWork) -> None:
    before, was = shown(bench), labels(bench)
    bench.hand.pull(RIGHT)
    bench.hand.pull(MIDDLE)
    assert shown(bench) == before
    assert (labels(bench) == was).all()


@pytest.mark.one_binding
@pytest.mark.every_binding
def test_a_double_right_click_brings_the_own_grey_levels_back(bench: WindowAtWork) -> None:
    own = contrast_limits(bench.annotation.case)
    bench.hand.pull(RIGHT, (120, 60))
    assert shown(bench) != own
    bench.hand.double_click(RIGHT)
    assert shown(bench) == own
    before, was = shown(bench), labels(bench)
    bench.hand.drag((5, 5), (5, 9))  # the left button paints as ever
    assert shown(bench) == before
    assert (labels(bench) != was).any()


@pytest.mark.one_binding
def test_the_left_button_paints_nothing_while_grey_levels_are_dragged(bench: WindowAtWork) -> None:
    was = labels(bench)
    bench.hand.pull(RIGHT, (30, 0), release=False)
    bench.hand.pull(LEFT, (30, 20), (40, 10))
    bench.hand.let_go(RIGHT, (40, 10))
    assert (labels(bench) == was).all()


@pytest.mark.one_binding
def test_grey_levels_do_not_change_while_a_stroke_is_painted(bench: WindowAtWork) -> None:
    before, was = shown(bench), labels(bench)
    bench.hand.pull(LEFT, (20, 0), release=False)
    bench.hand.pull(RIGHT, (40, 10))
    bench.hand.let_go(LEFT, (40, 10))
    assert shown(bench) == before
    assert (labels(bench) != was).any()


@pytest.mark.one_binding
def test_with_shift_the_right_button_is_naparis(bench: WindowAtWork) -> None:
    before = shown(bench)
    bench.hand.pull(RIGHT, (60, 0), keys=SHIFT)
    assert shown(bench) == before


@pytest.mark.one_binding
def test_corners_of_a_polygon_are_still_taken_back_with_the_right_button(
    bench: WindowAtWork,
) -> None:
    working, before = bench.annotation.layers.working, shown(bench)
    working.mode = "polygon"
    bench.hand.click(5, 5)
    bench.hand.click(5, 20)
    corners = len(working._overlays["polygon"].points)
    bench.hand.pull(RIGHT)
    assert len(working._overlays["polygon"].points) < corners
    assert shown(bench) == before
    bench.hand.pull(MIDDLE, (30, 0))
    assert shown(bench) != before


@pytest.mark.one_binding
def test_dragged_grey_levels_stay_with_the_next_case(bench: WindowAtWork) -> None:
    bench.hand.pull(RIGHT, (-80, 30))
    chosen = shown(bench)
    bench.dock.workbench.view.choose("b")
    assert shown(bench) == pytest.approx(chosen)
    bench.hand.double_click(RIGHT)
    assert shown(bench) == contrast_limits(bench.annotation.case)


# napari shows no contours in 3-D, and says so
@pytest.mark.one_binding
@pytest.mark.filterwarnings("ignore:Contours are not displayed")
def test_in_3d_and_without_a_study_the_right_button_is_naparis(bench: WindowAtWork) -> None:
    before = shown(bench)
    bench.viewer.dims.ndisplay = 3
    bench.hand.pull(RIGHT, (60, 0))
    assert shown(bench) == before
    bench.viewer.dims.ndisplay = 2
    bench.dock.workbench.close_study()
    other = bench.viewer.add_image(np.arange(900.0).reshape(30, 30), name="image")
    before, seen = window_of(other), bench.viewer.scene.camera.zoom
    bench.hand.pull(RIGHT, (0, 80), (0, 160))
    assert window_of(other) == before
    assert bench.viewer.scene.camera.zoom != seen  # napari zooms

"""Letters at the edges, against what nibabel calls the axes of the file."""

from collections.abc import Iterator

import nibabel as nib
import numpy as np
import pytest
from bench import WindowAtWork
from hypothesis import given
from hypothesis import strategies as st
from napari.components import ViewerModel
from orientations import ORIENTATIONS, Grid, grids, oriented, rotation

from napari_mlbseg.volume import Geometry
from napari_mlbseg.widgets.reading.letters import EdgeLetters, Edges, edge_letters, towards

pytestmark = pytest.mark.one_binding

OPPOSITE = dict(zip("LRAPSI", "RLPAIS", strict=True))
SHAPE = (4, 5, 6)
KEYS = {edge: f"mlbseg_letter_{edge}" for edge in Edges._fields}


def by_nibabel(geometry: Geometry, axis: int) -> str:
    """Where a display axis leads, by what nibabel calls the axis of the file that it shows."""
    for file_axis, name in enumerate(nib.aff2axcodes(np.asarray(geometry.affine))):
        numbers = geometry.to_display(np.indices(geometry.file_shape)[file_axis])
        step = int(numbers.take(1, axis).flat[0]) - int(numbers.take(0, axis).flat[0])
        if step:
            return str(name if step > 0 else OPPOSITE[name])
    raise AssertionError("no axis of the file is shown")


def opposite(letters: str) -> str:
    return "".join(OPPOSITE[letter] for letter in letters)


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
@pytest.mark.parametrize("across", [0, 1, 2])
def test_letters_are_those_of_nibabel(
    axes: tuple[int, ...], signs: tuple[int, ...], across: int
) -> None:
    geometry = Geometry.from_affine(SHAPE, oriented(axes, signs, (0.7, 0.9, 3.0)))
    shown = [axis for axis in range(3) if axis != across]
    down, right = (by_nibabel(geometry, axis) for axis in shown)
    for rows in ("down", "up"):
        for columns in ("right", "left"):
            letters = edge_letters(geometry, shown, (rows, columns))
            assert letters.bottom == (down if rows == "down" else OPPOSITE[down])
            assert letters.right == (right if columns == "right" else OPPOSITE[right])
            assert (letters.top, letters.left) == (
                OPPOSITE[letters.bottom],
                OPPOSITE[letters.right],
            )


@given(st.sampled_from(ORIENTATIONS), st.tuples(*[st.floats(-0.25, 0.25)] * 3))
def test_the_first_letter_of_a_tilted_slice_is_that_of_nibabel(
    orientation: tuple[tuple[int, ...], tuple[int, ...]], tilts: tuple[float, float, float]
) -> None:
    affine = oriented(*orientation)
    affine[:3, :3] = rotation(tilts) @ affine[:3, :3]
    geometry = Geometry.from_affine(SHAPE, affine)
    for across in range(3):
        shown = [axis for axis in range(3) if axis != across]
        letters = edge_letters(geometry, shown, ("down", "right"))
        assert letters.bottom[0] == by_nibabel(geometry, shown[0])
        assert letters.right[0] == by_nibabel(geometry, shown[1])


@given(grids())
def test_opposite_edges_have_opposite_letters(grid: Grid) -> None:
    geometry = Geometry.from_affine(*grid)
    letters = edge_letters(geometry, (0, 2), ("up", "right"))
    assert letters.bottom == opposite(letters.top)
    assert letters.left == opposite(letters.right)


def test_a_second_letter_says_that_a_slice_is_tilted() -> None:
    for degrees, letters in ((0, "L"), (10, "L"), (20, "LS"), (44, "LS"), (46, "SL"), (85, "S")):
        angle = np.radians(degrees)
        assert towards((-np.cos(angle), 0, np.sin(angle))) == letters
    assert towards((0, 0, 0)) == ""


# --- on the canvas --------------------------------------------------------------------------------


def seen(viewer: ViewerModel) -> dict[str, str]:
    overlays = viewer.canvas.overlays
    return {
        overlays[key].position: overlays[key].text
        for key in KEYS.values()
        if key in overlays and overlays[key].visible
    }


def places(top: str, bottom: str, left: str, right: str) -> dict[str, str]:
    return {
        "top_center": top,
        "bottom_center": bottom,
        "middle_left": left,
        "middle_right": right,
    }


@pytest.fixture
def letters(viewer: ViewerModel) -> Iterator[EdgeLetters]:
    viewer.add_image(np.zeros((4, 5, 6)))
    made = EdgeLetters(viewer)
    made.show(Geometry.from_affine((6, 5, 4), np.diag([-1.0, -1.0, 1.0, 1.0])))
    yield made
    made.release()


def test_letters_follow_every_turn_of_napari(letters: EdgeLetters, viewer: ViewerModel) -> None:
    assert seen(viewer) == places("A", "P", "R", "L")
    viewer.dims.transpose()
    assert seen(viewer) == places("R", "L", "A", "P")
    viewer.dims.order = (1, 0, 2)
    assert seen(viewer) == places("I", "S", "R", "L")
    viewer.scene.camera.orientation2d = ("up", "left")
    assert seen(viewer) == places("S", "I", "L", "R")
    viewer.dims.ndisplay = 3
    assert seen(viewer) == {}
    viewer.dims.ndisplay = 2
    assert seen(viewer) == places("S", "I", "L", "R")


def test_a_fourth_axis_of_another_layer_changes_nothing(
    letters: EdgeLetters, viewer: ViewerModel
) -> None:
    viewer.add_image(np.zeros((3, 4, 5, 6)))
    viewer.dims.order = (0, 3, 1, 2)
    assert seen(viewer) == places("I", "S", "A", "P")
    viewer.dims.order = (1, 2, 0, 3)  # time lies in the plane
    assert seen(viewer) == {}


def test_released_letters_are_gone_for_good(letters: EdgeLetters, viewer: ViewerModel) -> None:
    letters.release()
    viewer.dims.transpose()
    assert not set(KEYS.values()) & set(viewer.canvas.overlays)


@pytest.mark.slow
def test_the_three_planes_of_a_case_lie_as_radiologists_expect(bench: WindowAtWork) -> None:
    view, viewer = bench.dock.workbench.view, bench.viewer
    expected = {
        0: places("A", "P", "R", "L"),
        1: places("S", "I", "R", "L"),
        2: places("S", "I", "A", "P"),
    }
    for axis in (0, 1, 2, 0):
        view.turn(axis)
        assert seen(viewer) == expected[axis]
        view.choose("b" if bench.annotation.case.id == "a" else "a")
        assert bench.annotation.key.axis in expected
        view.turn(axis)
        assert seen(viewer) == expected[axis]
    bench.dock.workbench.close_study()
    assert not set(KEYS.values()) & set(viewer.canvas.overlays)

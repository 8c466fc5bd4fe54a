"""What corrections cost: the length of contour, and clicks."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from small_study import Phantoms

from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.simulation.annotator import Truth
from napari_mlbseg.simulation.effort import contour_to_draw_mm, contours_to_draw_mm, ends_to_click


def disc(radius: float, *, middle: tuple[float, float] = (32, 32)) -> NDArray[np.uint8]:
    y, x = np.mgrid[:64, :64]
    inside = (y - middle[0]) ** 2 + (x - middle[1]) ** 2 < radius**2
    return np.asarray(inside, dtype=np.uint8)


NOTHING = np.zeros((64, 64), np.uint8)


@given(st.floats(6, 28), st.floats(0.3, 3), st.floats(0.3, 3))
def test_a_new_contour_is_as_long_as_its_ellipse(radius: float, dy: float, dx: float) -> None:
    a, b = radius * dy, radius * dx  # Ramanujan's circumference of an ellipse
    expected = np.pi * (3 * (a + b) - np.sqrt((3 * a + b) * (a + 3 * b)))
    found = contour_to_draw_mm(disc(radius), NOTHING, (dy, dx))
    assert found == pytest.approx(expected, rel=0.12)  # along pixels


def test_only_what_differs_is_drawn() -> None:
    true = disc(20)
    shown = true.copy()
    assert contour_to_draw_mm(true, shown, (1, 1)) == 0
    shown[:32] = 0  # the upper half is missing
    whole, half = (contour_to_draw_mm(true, what, (1, 1)) for what in (NOTHING, shown))
    assert half == pytest.approx(whole / 2, rel=0.1)
    assert contour_to_draw_mm(true, disc(20.4), (1, 1)) == 0  # within a pixel
    assert contour_to_draw_mm(true, disc(25), (1, 1)) == whole


def test_what_is_to_be_erased_costs_nothing_and_the_edge_counts() -> None:
    assert contour_to_draw_mm(NOTHING, disc(20), (1, 1)) == 0
    everything = np.ones((10, 20), np.uint8)
    found = contour_to_draw_mm(everything, 0 * everything, (1, 2))
    assert found == pytest.approx(2 * 10 + 2 * 20 * 2, rel=0.05)


def test_classes_are_drawn_one_by_one() -> None:
    true = disc(10, middle=(16, 16)) + 2 * disc(10, middle=(48, 48))
    swapped = 2 * disc(10, middle=(16, 16)) + disc(10, middle=(48, 48))
    assert contour_to_draw_mm(true, swapped, (1, 1)) == contour_to_draw_mm(true, NOTHING, (1, 1))


def test_slices_of_a_study_are_compared_with_what_it_shows(
    cohort: Phantoms, truth_folder: Path
) -> None:
    study, truth = cohort.study, Truth(truth_folder, cohort.study)
    keys = [SliceKey("phantom1", 0, 5), SliceKey("phantom0", 1, 9), SliceKey("phantom0", 0, 5)]
    expected = 0.0
    for key in keys:
        spacing = np.delete(study.case(key.case_id).geometry.spacing_mm, key.axis)
        shown = np.moveaxis(study.labels.working(key.case_id), key.axis, 0)[key.index]
        expected += contour_to_draw_mm(truth.mask(key), shown, spacing.tolist())
    assert contours_to_draw_mm(study, truth, keys) == pytest.approx(expected)
    assert expected > 0
    cohort.accept("phantom0", 5)
    assert contours_to_draw_mm(study, truth, keys[2:]) == 0


def test_an_end_is_a_click(cohort: Phantoms, truth_folder: Path) -> None:
    study = cohort.study
    truth = Truth(truth_folder, study)
    shown = [len(np.unique(truth.volume(case.id))) - 1 for case in study.cases]
    assert ends_to_click(study.cases, study.classes, truth) == 2 * sum(shown)

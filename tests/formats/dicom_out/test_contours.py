from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as Outline
from numpy.typing import NDArray
from skimage.draw import polygon2mask

from napari_mlbseg.formats.dicom_out.contours import polygons_of


def filled(polygons: list[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Pixels whose centre is inside of an odd number of polygons, by matplotlib."""
    centres = np.argwhere(np.ones(shape, bool))
    inside = np.zeros(shape, bool)
    for polygon in polygons:
        closed = np.concatenate([polygon, polygon[:1]])
        inside ^= Outline(closed, closed=True).contains_points(centres).reshape(shape)
    return inside


@settings(max_examples=150)
@given(mask=arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_filling_the_polygons_gives_the_mask_back(mask: NDArray[Any]) -> None:
    """Whatever islands and holes there are; pixels on the border included."""
    np.testing.assert_array_equal(filled(polygons_of(mask), mask.shape), mask)


def test_a_ring_with_an_island_in_it() -> None:
    rows, columns = np.indices((60, 70))
    distance = np.hypot(rows - 30, columns - 35)
    mask = ((distance < 25) & (distance > 12)) | (distance < 5)
    polygons = polygons_of(mask)
    assert len(polygons) == 2  # the ring with its hole, and the island
    np.testing.assert_array_equal(filled(polygons, mask.shape), mask)
    drawn = np.zeros(mask.shape, bool)
    for polygon in polygons:
        drawn ^= polygon2mask(mask.shape, polygon)  # type: ignore[no-untyped-call]
    assert 2 * (drawn & mask).sum() / (drawn.sum() + mask.sum()) > 0.99


def test_there_is_no_polygon_of_nothing() -> None:
    assert polygons_of(np.zeros((4, 5), bool)) == []


@pytest.mark.parametrize("holes", [1, 7])
def test_holes_are_part_of_one_polygon(holes: int) -> None:
    mask = np.ones((5, 4 * holes + 1), bool)
    mask[2, 2::4] = False
    (polygon,) = polygons_of(mask)
    np.testing.assert_array_equal(filled([polygon], mask.shape), mask)

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from orientations import ORIENTATIONS, Grid, grids, oriented

from napari_mlbseg.volume import Geometry, Volume


def numbered(shape: tuple[int, int, int]) -> NDArray[np.int64]:
    return np.arange(np.prod(shape)).reshape(shape)


@given(grids())
def test_the_way_to_the_display_and_back_is_the_identity(grid: Grid) -> None:
    geometry = Geometry.from_affine(*grid)
    array = numbered(geometry.file_shape)
    shown = geometry.to_display(array)
    assert shown.shape == geometry.shape
    np.testing.assert_array_equal(geometry.to_file(shown), array)
    assert np.shares_memory(shown, array)


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_axis_aligned_voxels_lie_where_origin_and_spacing_say(
    axes: tuple[int, ...], signs: Sequence[int]
) -> None:
    spacing, origin, shape = (0.7, 1.3, 2.9), (-31.0, 12.5, 140.0), (2, 3, 4)
    affine = oriented(axes, signs, spacing, origin)
    geometry = Geometry.from_affine(shape, affine)
    shown = geometry.to_display(numbered(shape))
    for index in np.ndindex(shown.shape):
        file_index = np.unravel_index(shown[index], shape)
        right, anterior, superior = (affine @ [*file_index, 1])[:3]
        expected = np.array(geometry.origin_mm) + np.array(index) * geometry.spacing_mm
        np.testing.assert_allclose(expected, [superior, -anterior, -right], atol=1e-9)


@given(grids())
def test_display_axes_run_to_superior_posterior_and_left(grid: Grid) -> None:
    geometry = Geometry.from_affine(*grid)
    columns = np.array(geometry.affine)[:3, :3]
    for axis, (ras, sign) in enumerate([(2, 1), (1, -1), (0, -1)]):
        step = columns[:, geometry.file_axes[axis]] * (-1 if geometry.flipped[axis] else 1)
        assert step[ras] * sign >= 0


@given(grids())
def test_the_origin_is_the_position_of_the_first_display_voxel(grid: Grid) -> None:
    geometry = Geometry.from_affine(*grid)
    first = geometry.to_display(numbered(geometry.file_shape))[0, 0, 0]
    file_index = np.unravel_index(first, geometry.file_shape)
    right, anterior, superior = (np.array(geometry.affine) @ [*file_index, 1])[:3]
    np.testing.assert_allclose(geometry.origin_mm, [superior, -anterior, -right], atol=1e-9)


@given(grids())
def test_slice_indices_of_file_and_display_are_inverse_and_name_the_same_slice(grid: Grid) -> None:
    geometry = Geometry.from_affine(*grid)
    array = numbered(geometry.file_shape)
    shown = geometry.to_display(array)
    for axis in range(3):
        file_axis = geometry.file_axes[axis]
        assert geometry.display_axis(file_axis) == axis
        for index in range(geometry.shape[axis]):
            file_index = geometry.file_index(axis, index)
            assert geometry.display_index(file_axis, file_index) == index
            assert set(shown.take(index, axis).flat) == set(array.take(file_index, file_axis).flat)


@pytest.mark.parametrize("index", [-1, 4])
def test_a_slice_outside_the_array_is_an_error(index: int) -> None:
    geometry = Geometry.from_affine((4, 4, 4), np.eye(4))
    with pytest.raises(IndexError, match="0 to 3"):
        geometry.display_index(0, index)
    with pytest.raises(IndexError, match="0 to 3"):
        geometry.file_index(2, index)


@given(grids())
@settings(max_examples=50)
def test_slices_are_annotated_along_the_thickest_axis(grid: Grid) -> None:
    geometry = Geometry.from_affine(*grid)
    spacing = geometry.spacing_mm
    if max(spacing) > 1.01 * min(spacing):
        assert spacing[geometry.default_axis] == max(spacing)


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_isotropic_voxels_are_annotated_along_the_last_axis_of_the_file(
    axes: tuple[int, ...], signs: Sequence[int]
) -> None:
    affine = oriented(axes, signs, (1.0, 1.0, 1.009))
    geometry = Geometry.from_affine((4, 5, 6), affine)
    assert geometry.file_axes[geometry.default_axis] == 2


@given(grids())
def test_geometries_are_plain_values(grid: Grid) -> None:
    geometry = Geometry.from_affine(*grid)
    again = Geometry.from_affine(geometry.file_shape, np.array(geometry.affine))
    assert again == geometry
    assert hash(again) == hash(geometry)


@pytest.mark.parametrize("affine", [np.eye(3), np.full((4, 4), np.nan), np.full((4, 4), np.inf)])
def test_what_is_no_affine_is_refused(affine: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="affine"):
        Geometry.from_affine((2, 2, 2), affine)


def test_even_a_degenerate_affine_gives_a_permutation() -> None:
    geometry = Geometry.from_affine((2, 3, 4), np.zeros((4, 4)))
    assert sorted(geometry.file_axes) == [0, 1, 2]


def test_arrays_of_another_shape_are_refused() -> None:
    geometry = Geometry.from_affine((2, 3, 4), np.eye(4))
    with pytest.raises(ValueError, match="file's shape"):
        geometry.to_display(np.zeros((4, 3, 2)))
    with pytest.raises(ValueError, match="display shape"):
        geometry.to_file(np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match="do not fit"):
        Volume(np.zeros((2, 3, 4)), geometry)


def test_lps_positions_are_ras_positions_seen_from_the_other_side() -> None:
    ras = np.array([[0.5, 0, 0, -3], [0, 0, 2, 4], [0, 1, 0, 5], [0, 0, 0, 1.0]])
    geometry = Geometry.from_affine((2, 3, 4), ras)
    voxel = np.array([1, 2, 3, 1])
    x, y, z, _ = ras @ voxel
    assert (geometry.lps_affine @ voxel).tolist() == [-x, -y, z, 1]

"""Any grid, out of any format into any other: same voxels, same positions, for two readers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from nifti_files import load_nifti
from numpy.typing import NDArray
from orientations import Grid, grids, oriented, origins, rotation, spacings

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import (
    SourceInfo,
    read_image,
    read_labels,
    write_labels,
    write_map,
    written_along,
)
from napari_mlbseg.volume import Geometry, Volume

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
EXACT_MM = 1e-5
FLOAT32 = float(np.finfo(np.float32).eps) / 2
SOURCES = ("dicom", "hdf5", "tiff", "ome-zarr")


def labels_on(geometry: Geometry, seed: int = 0) -> Volume:
    voxels = np.random.default_rng(seed).integers(0, 255, geometry.shape).astype(np.uint8)
    return Volume(voxels, geometry)


def corners(affine: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    ends = [(0, n - 1) for n in shape]
    return np.array([affine @ [i, j, k, 1] for i in ends[0] for j in ends[1] for k in ends[2]])


def by_itk(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Voxels in the file's order, and the RAS affine, as SimpleITK has them."""
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0), LPS @ affine


def by_nibabel(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    image = load_nifti(path)
    return np.asarray(image.dataobj), image.affine


def assert_same_world(
    volume: Volume, voxels: NDArray[Any], affine: NDArray[np.float64], tolerance_mm: float
) -> None:
    """Every voxel of ours has its value at its position in somebody else's reading."""
    ours = np.argwhere(np.ones(volume.voxels.shape, bool))
    ras = np.column_stack([ours, np.ones(len(ours))]) @ volume.geometry.display_affine.T
    theirs = np.linalg.solve(affine, ras.T).T[:, :3]
    nearest = np.rint(theirs).astype(int)
    back = np.column_stack([nearest, np.ones(len(nearest))]) @ affine.T
    assert np.abs(back - ras)[:, :3].max() <= tolerance_mm
    assert voxels.size == volume.voxels.size
    np.testing.assert_array_equal(voxels[tuple(nearest.T)], volume.voxels[tuple(ours.T)])


def source_of(name: str) -> SourceInfo:
    return SourceInfo(name, b"{}")


@settings(max_examples=60)
@given(grid=grids(), suffix=st.sampled_from([".nrrd", ".mha"]), source=st.sampled_from(SOURCES))
def test_text_headers_hold_every_grid_exactly(
    tmp_path_factory: pytest.TempPathFactory, grid: Grid, suffix: str, source: str
) -> None:
    volume = labels_on(Geometry.from_affine(*grid))
    path = tmp_path_factory.mktemp("out") / f"a{suffix}"
    write_labels(path, volume, source_of(source))
    assert_same_world(volume, *by_itk(path), EXACT_MM)
    again, _ = read_labels(path)
    assert_same_world(volume, again.voxels, again.geometry.display_affine, EXACT_MM)


@settings(max_examples=60)
@given(grid=grids(), source=st.sampled_from(SOURCES))
def test_nifti_holds_the_nearest_numbers_of_32_bits(
    tmp_path_factory: pytest.TempPathFactory, grid: Grid, source: str
) -> None:
    geometry = Geometry.from_affine(*grid)
    volume = labels_on(geometry)
    path = tmp_path_factory.mktemp("out") / "a.nii.gz"
    write_labels(path, volume, source_of(source))
    voxels, affine = by_nibabel(path)
    kept = geometry.transposed() if source in ("tiff", "ome-zarr") else geometry
    np.testing.assert_array_equal(affine, np.asarray(kept.affine, np.float32))
    off = FLOAT32 * np.abs(corners(np.abs(np.asarray(geometry.affine)), geometry.file_shape)).max()
    assert off < 1e-4
    assert_same_world(volume, voxels, affine, off)
    assert_same_world(volume, *by_itk(path), max(10 * off, 1e-4))


@settings(max_examples=40)
@given(grid=grids(), suffix=st.sampled_from([".nii", ".nrrd", ".mha"]))
def test_maps_lie_where_labels_lie(
    tmp_path_factory: pytest.TempPathFactory, grid: Grid, suffix: str
) -> None:
    geometry = Geometry.from_affine(*grid)
    values = np.random.default_rng(0).random(geometry.shape, np.float32)
    folder = tmp_path_factory.mktemp("out")
    write_map(folder / f"map{suffix}", Volume(values, geometry), source_of("dicom"))
    write_labels(folder / f"labels{suffix}", labels_on(geometry), source_of("dicom"))
    voxels, affine = by_itk(folder / f"map{suffix}")
    assert voxels.dtype == np.float32
    np.testing.assert_array_equal(geometry.to_display(voxels), values)
    np.testing.assert_array_equal(affine, by_itk(folder / f"labels{suffix}")[1])


@settings(max_examples=40)
@given(
    signs=st.tuples(*[st.sampled_from([1, -1])] * 3),
    axes=st.permutations(range(3)),
    spacing=spacings,
    origin=origins,
    shape=st.tuples(*[st.integers(1, 6)] * 3),
)
def test_upright_grids_fit_into_ome_zarr(
    tmp_path_factory: pytest.TempPathFactory,
    signs: Sequence[int],
    axes: tuple[int, ...],
    spacing: tuple[float, ...],
    origin: Sequence[float],
    shape: tuple[int, int, int],
) -> None:
    geometry = Geometry.from_affine(shape, oriented(axes, signs, spacing, origin))
    assert geometry.upright
    volume = labels_on(geometry)
    path = tmp_path_factory.mktemp("out") / "a.ome.zarr"
    write_labels(path, volume, source_of("dicom"))
    again, _ = read_labels(path)
    assert_same_world(volume, again.voxels, again.geometry.display_affine, EXACT_MM)
    # By zarr alone: z, y, x in LPS.
    described: Any = zarr.open_group(path).attrs["ome"]
    level = described["multiscales"][0]["datasets"][0]
    (scale, offset) = level["coordinateTransformations"]
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]] = np.array(scale["scale"]) * [1, -1, -1]
    affine[[2, 1, 0], 3] = np.array(offset["translation"]) * [1, -1, -1]
    affine[3, 3] = 1
    assert_same_world(volume, np.asarray(zarr.open_array(path / "0")[:]), affine, EXACT_MM)


def test_an_oblique_grid_does_not_fit_into_ome_zarr(tmp_path: Path) -> None:
    affine = oriented((0, 1, 2), (1, 1, 1))
    affine[:3, :3] = rotation((0.01, 0, 0)) @ affine[:3, :3]
    geometry = Geometry.from_affine((4, 5, 6), affine)
    assert not geometry.upright
    with pytest.raises(UserError, match=r"obliquely.*Export as NIfTI, NRRD or MHA"):
        write_labels(tmp_path / "a.ome.zarr", labels_on(geometry), source_of("dicom"))
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=60)
@given(grid=grids(), version=st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]))
def test_nifti_in_and_out_is_the_same_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, grid: Grid, version: Any
) -> None:
    shape, affine = grid
    folder = tmp_path_factory.mktemp("nifti")
    stored = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    nib.save(version(stored, affine), folder / "in.nii.gz")
    volume, source = read_image(folder / "in.nii.gz")
    write_labels(folder / "out.nii.gz", volume, source)
    voxels, found = by_nibabel(folder / "out.nii.gz")
    assert found.tobytes() == load_nifti(folder / "in.nii.gz").affine.tobytes()
    np.testing.assert_array_equal(voxels, stored)


@settings(max_examples=60)
@given(grid=grids())
def test_other_frames_of_a_grid_are_the_same_places(grid: Grid) -> None:
    geometry = Geometry.from_affine(*grid)
    for other in (geometry.as_displayed(), geometry.transposed()):
        assert other.shape == geometry.shape
        np.testing.assert_allclose(other.display_affine, geometry.display_affine, atol=1e-9)
    assert geometry.transposed().transposed() == geometry
    shown = np.arange(np.prod(geometry.shape)).reshape(geometry.shape)
    np.testing.assert_array_equal(geometry.as_displayed().to_file(shown), shown)
    np.testing.assert_array_equal(geometry.transposed().to_file(shown).T, geometry.to_file(shown))


def test_large_offsets_in_nifti_and_in_nrrd(tmp_path: Path) -> None:
    """A table far from the scanner's origin: 32 bits are off by a hundredth of a micrometre."""
    affine = oriented((0, 1, 2), (-1, -1, 1), (0.9765625, 0.9765625, 2), (249.3, 437.7, -1804.53))
    volume = labels_on(Geometry.from_affine((7, 6, 5), affine))
    for suffix, allowed in ((".nii", 1e-4), (".nrrd", 1e-9), (".mha", 1e-9)):
        write_labels(tmp_path / f"a{suffix}", volume, source_of("dicom"))
        _, found = by_itk(tmp_path / f"a{suffix}")
        assert np.abs(found - affine).max() < allowed


def test_files_are_written_along_their_slowest_axis() -> None:
    geometry = Geometry.from_affine((4, 5, 6), oriented((2, 1, 0), (1, 1, 1)))
    for name, source, axis in (
        ("a.nii", "dicom", 2),
        ("a.nii", "tiff", 0),
        ("a.ome.zarr", "dicom", 0),
    ):
        assert written_along(Path(name), geometry, source_of(source)) == axis

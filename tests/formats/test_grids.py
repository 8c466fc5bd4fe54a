"""Whether labels lie on an image, judged as a person would: each kind of header that differs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from nifti_files import load_nifti
from numpy.typing import NDArray
from orientations import Grid, grids, oriented, rotation
from zarr_files import write_zarr

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.grids import on_grid_of
from napari_mlbseg.formats.registry import forms_of, open_image, open_labels, write_labels
from napari_mlbseg.formats.scan import Scan
from napari_mlbseg.formats.source import SourceInfo, padding_of
from napari_mlbseg.volume import SAME_PLACE_VOXELS, Geometry, Volume

SHAPE = (7, 6, 5)
AFFINE = oriented((0, 1, 2), (-1, -1, 1), (0.7, 0.8, 3.0), (90.0, -30.0, 12.0))


def mask(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint8)


def nifti(
    path: Path, stored: NDArray[Any], sform: NDArray[Any] | None, qform: NDArray[Any] | None
) -> Path:
    """A file with these forms; one that is None has the code 0."""
    image = nib.Nifti1Image(stored, np.eye(4))
    image.set_sform(sform, 2 if sform is not None else 0)
    image.set_qform(qform, int(qform is not None))
    nib.save(image, path)
    return path


def placed(labels: Path, image: Path) -> Scan:
    """Labels on the grid of an image, as an import takes them."""
    scan = open_image(image)
    return on_grid_of(open_labels(labels), scan.geometry, labels, image, scan.source)


def as_in_file(labels: Scan) -> NDArray[Any]:
    volume = labels.volume()
    return volume.geometry.to_file(volume.voxels)


def told(labels: Scan) -> str:
    return "\n".join(labels.notes)


# --- a tenth of a voxel ---------------------------------------------------------------------------


@given(grid=grids(), off=st.floats(0.0, 0.3), axis=st.integers(0, 2))
def test_a_tenth_of_a_voxel_decides(grid: Grid, off: float, axis: int) -> None:
    shape, affine = grid
    image = Geometry.from_affine(shape, affine)
    moved = affine.copy()
    moved[:3, 3] += off * affine[:3, axis]
    found = Geometry.from_affine(shape, moved).placed_in(image)
    if off < SAME_PLACE_VOXELS - 1e-6:
        assert found is not None
        assert found.first == (0, 0, 0)
        assert found.apart == pytest.approx(off, abs=1e-6)
    elif off > SAME_PLACE_VOXELS + 1e-6:
        assert found is None


def test_a_rounded_header_belongs_to_its_image_and_the_note_says_how_far(tmp_path: Path) -> None:
    image = nifti(tmp_path / "i.nii", mask(), AFFINE, None)
    rounded = AFFINE.copy()
    rounded[:3, 3] += [0.05, 0.0, 0.0]
    labels = placed(nifti(tmp_path / "l.nii", mask(seed=1), rounded, None), image)
    np.testing.assert_array_equal(as_in_file(labels), mask(seed=1))
    assert "written up to 0.071 voxels apart" in told(labels)
    exact = placed(nifti(tmp_path / "m.nii", mask(seed=1), AFFINE, None), image)
    assert exact.notes == ()


# --- every form of a NIfTI header -----------------------------------------------------------------

OTHER = AFFINE.copy()
OTHER[:3, :3] = rotation((0, 0, 0.1)) @ AFFINE[:3, :3]
OTHER[:3, 3] += [12.0, -3.0, 0.0]


def test_labels_saved_by_itk_lie_on_an_image_whose_forms_disagree(tmp_path: Path) -> None:
    image = nifti(tmp_path / "i.nii", mask(), OTHER, AFFINE)
    itk = sitk.ReadImage(str(image))
    written = sitk.GetImageFromArray(mask(seed=1).transpose(2, 1, 0))
    written.CopyInformation(itk)
    sitk.WriteImage(written, str(tmp_path / "l.nii"))
    scan = open_image(image)
    assert "its sform and its qform place voxels up to" in "".join(scan.notes)
    labels = placed(tmp_path / "l.nii", image)
    assert "places its voxels in several ways" in told(labels)
    np.testing.assert_array_equal(as_in_file(labels), mask(seed=1))
    # What is written lies on the image for ITK and for nibabel alike.
    write_labels(tmp_path / "o.nii", labels.volume(), scan.source)
    out = sitk.ReadImage(str(tmp_path / "o.nii"))
    np.testing.assert_allclose(out.GetOrigin(), itk.GetOrigin())
    np.testing.assert_allclose(out.GetDirection(), itk.GetDirection())
    np.testing.assert_array_equal(load_nifti(tmp_path / "o.nii").affine, load_nifti(image).affine)


def test_labels_whose_other_form_fits_lie_on_the_image(tmp_path: Path) -> None:
    image = nifti(tmp_path / "i.nii", mask(), AFFINE, AFFINE)
    labels = placed(nifti(tmp_path / "l.nii", mask(seed=1), OTHER, AFFINE), image)
    assert "places its voxels in several ways" in told(labels)
    np.testing.assert_array_equal(as_in_file(labels), mask(seed=1))


def test_two_forms_that_nobody_uses_do_not_make_a_match(tmp_path: Path) -> None:
    third = AFFINE.copy()
    third[:3, 3] += 40.0
    image = nifti(tmp_path / "i.nii", mask(), OTHER, AFFINE)
    labels = nifti(tmp_path / "l.nii", mask(), third, AFFINE)
    with pytest.raises(UserError, match="does not lie on its image"):
        placed(labels, image)


@pytest.mark.parametrize("resaved", ["itk", "nibabel"])
def test_codes_of_zero_are_told_once_and_both_readers_labels_fit(
    tmp_path: Path, resaved: str
) -> None:
    image = nifti(tmp_path / "i.nii", mask(), None, None)
    if resaved == "itk":
        sitk.WriteImage(sitk.ReadImage(str(image)), str(tmp_path / "l.nii"))
    else:
        nib.save(nib.Nifti1Image(mask(), load_nifti(image).affine), tmp_path / "l.nii")
    (note,) = open_image(image).notes
    assert "does not say where its voxels lie" in note
    np.testing.assert_array_equal(as_in_file(placed(tmp_path / "l.nii", image)), mask())


# --- files without calibration --------------------------------------------------------------------


def plain_tiff(path: Path, stored: NDArray[Any]) -> Path:
    tifffile.imwrite(path, stored, photometric="minisblack")
    return path


def printed_tiff(path: Path, stored: NDArray[Any]) -> Path:
    tifffile.imwrite(path, stored, photometric="minisblack", resolution=(72, 72))
    return path


def zarr_without_unit(path: Path, stored: NDArray[Any]) -> Path:
    write_zarr(path.with_suffix(".zarr"), stored, unit=None)
    return path.with_suffix(".zarr")


def zarr_in_pixels(path: Path, stored: NDArray[Any]) -> Path:
    write_zarr(path.with_suffix(".zarr"), stored, unit="pixel")
    return path.with_suffix(".zarr")


@pytest.mark.parametrize("write", [plain_tiff, printed_tiff, zarr_without_unit, zarr_in_pixels])
def test_masks_without_calibration_lie_on_an_image_of_their_shape(
    tmp_path: Path, write: Callable[[Path, NDArray[Any]], Path]
) -> None:
    image = tmp_path / "i.tif"
    meta = {"spacing": 2.0, "unit": "um", "axes": "ZYX"}
    tifffile.imwrite(image, mask(), imagej=True, resolution=(2, 2), metadata=meta)
    labels = placed(write(tmp_path / "l.tif", mask(seed=1)), image)
    np.testing.assert_array_equal(as_in_file(labels), mask(seed=1))
    assert "does not say how large its voxels are" in told(labels)
    with pytest.raises(UserError, match="voxels instead of 7 x 6 x 5"):
        placed(write(tmp_path / "m.tif", mask((7, 6, 4))), image)


def test_a_mask_of_a_microscopy_tool_lies_on_a_nifti_image(tmp_path: Path) -> None:
    """Both hold one array, of which TIFF stores the axes the other way round."""
    image = nifti(tmp_path / "i.nii", mask(), AFFINE, None)
    labels = placed(plain_tiff(tmp_path / "l.tif", mask(seed=1).T), image)
    np.testing.assert_array_equal(
        labels.volume().voxels, open_image(image).geometry.to_display(mask(seed=1))
    )


def test_a_calibrated_mask_is_never_taken_by_its_shape_alone(tmp_path: Path) -> None:
    image = nifti(tmp_path / "i.nii", mask(), AFFINE, None)
    shifted = AFFINE.copy()
    shifted[0, 3] += 5.0
    with pytest.raises(UserError, match=r"it is shifted by \(5, 0, 0\) mm in RAS"):
        placed(nifti(tmp_path / "l.nii", mask(), shifted, None), image)


# --- what is refused says why ---------------------------------------------------------------------


def scaled(by: float) -> NDArray[Any]:
    return np.asarray(AFFINE @ np.diag([by, by, by, 1.0]))


def turned() -> NDArray[Any]:
    affine = AFFINE.copy()
    affine[:3, :3] = rotation((0, 0, np.radians(20))) @ AFFINE[:3, :3]
    return affine


def mirrored() -> NDArray[Any]:
    affine = rotation((0.3, 0.2, 0)) @ np.diag([-1, 1, 1]) @ AFFINE[:3, :3]
    return np.vstack([np.column_stack([affine, AFFINE[:3, 3]]), [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("shape", "affine", "cause", "advice"),
    [
        (SHAPE, scaled(1000.0), "1000 times as large, as if one .* another unit", "Correct the un"),
        (SHAPE, scaled(0.001), "0.001 times as large, as if one .* unit", "Correct the unit"),
        (SHAPE, scaled(1.3), "voxels have another size", "give their file the header"),
        (SHAPE, turned(), "it is turned by 20 degrees", "give their file the header"),
        (SHAPE, mirrored(), "one of the two files is mirrored", "give their file the header"),
        ((7, 6, 4), AFFINE, "7 x 6 x 4 voxels instead of 7 x 6 x 5 of the same", "Resample the"),
        ((14, 12, 10), scaled(0.5), "so its resolution is another", "Resample the labels"),
    ],
)
def test_a_refusal_names_both_grids_the_cause_and_what_helps(
    tmp_path: Path, shape: tuple[int, ...], affine: NDArray[Any], cause: str, advice: str
) -> None:
    image = nifti(tmp_path / "i.nii", mask(), AFFINE, None)
    labels = nifti(tmp_path / "l.nii", mask(shape), affine, None)
    with pytest.raises(UserError, match=cause) as caught:
        placed(labels, image)
    said = str(caught.value)
    assert advice in said
    assert "corners are up to" in said
    assert "Image: 7 x 6 x 5 voxels of 0.7 x 0.8 x 3 mm, the first at (90, -30, 12) mm" in said
    assert f"Labels: {' x '.join(map(str, shape))} voxels of" in said
    assert ("Resample" in said) == (shape != SHAPE)


def test_a_volume_of_another_format_is_written_where_its_image_lies(tmp_path: Path) -> None:
    geometry = Geometry.from_affine(SHAPE, AFFINE)
    path = nifti(tmp_path / "i.nii", mask(), AFFINE, None)
    source = open_image(path).source
    write_labels(tmp_path / "o.nrrd", Volume(geometry.to_display(mask()), geometry), source)
    assert placed(tmp_path / "o.nrrd", path).notes == ()


@pytest.mark.parametrize("name", ["nifti", "nrrd", "metaimage", "ome-zarr", "tiff", "hdf5", "x"])
@pytest.mark.parametrize("header", [b"", b"{}", b"[1]", b"no header", b"NRRD0005", bytes(348)])
def test_a_kept_header_that_is_damaged_says_nothing_more(name: str, header: bytes) -> None:
    """It stands in a study, which may come from a stranger."""
    geometry = Geometry.from_affine(SHAPE, AFFINE)
    assert all(form.shape == (4, 4) for form in forms_of(SourceInfo(name, header), geometry).others)
    assert padding_of(SourceInfo("dicom", header)) is None

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from damaged import refused_at_once
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nifti_files import load_nifti
from numpy.typing import ArrayLike, DTypeLike, NDArray
from orientations import Grid, grids

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import read_image, read_labels, write_labels, write_map
from napari_mlbseg.volume import Geometry, Volume

PATIENT = b"DOE^JOHN 1950"
files = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def save(
    path: Path,
    voxels: NDArray[Any],
    affine: ArrayLike | None = None,
    *,
    version: int = 1,
    **header: Any,
) -> Path:
    cls: Any = nib.Nifti1Image if version == 1 else nib.Nifti2Image
    image = cls(voxels, np.eye(4) if affine is None else affine)
    image.set_qform(image.affine, 1)
    image.set_sform(image.affine, 2)
    image.header.set_xyzt_units("mm")
    for field, value in header.items():
        image.header[field] = value
    nib.save(image, path)
    return path


def rewrite(path: Path, change: Callable[..., Any]) -> Path:
    """Change the raw bytes of a file, inside the gzip stream where there is one."""
    zipped = path.name.endswith(".gz")
    raw = bytearray(gzip.decompress(path.read_bytes()) if zipped else path.read_bytes())
    data = bytes(change(raw) or raw)
    path.write_bytes(gzip.compress(data) if zipped else data)
    return path


def patched(path: Path, offset: int, values: bytes) -> Path:
    def change(data: bytearray) -> None:
        data[offset : offset + len(values)] = values

    return rewrite(path, change)


def itk_corners(path: Path) -> np.ndarray:
    image = SimpleITK.ReadImage(str(path))
    return np.array(
        [
            image.TransformIndexToPhysicalPoint(
                [c * (n - 1) for c, n in zip(corner, image.GetSize(), strict=True)]
            )
            for corner in np.ndindex(2, 2, 2)
        ]
    )


# --- image in, labels out -------------------------------------------------------------------------


_PLACES = (*(f"qoffset_{k}" for k in "xyz"), "sform_code", "qform_code", "pixdim")


@files
@given(
    grid=grids(),
    version=st.sampled_from([1, 2]),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_labels_come_out_where_the_image_came_in(
    tmp_path_factory: pytest.TempPathFactory,
    grid: Grid,
    version: int,
    suffix: str,
    seed: int,
) -> None:
    geometry = Geometry.from_affine(*grid)
    # A folder per example: asked for out.nii.gz, ITK reads an out.nii beside it.
    tmp_path = tmp_path_factory.mktemp("out")
    rng = np.random.default_rng(seed)
    stored = rng.integers(-1000, 1000, geometry.file_shape).astype(np.int16)
    source_path = save(tmp_path / f"in{suffix}", stored, np.array(geometry.affine), version=version)
    volume, source = read_image(source_path)
    labels = rng.integers(0, 255, volume.voxels.shape).astype(np.uint8)
    out = tmp_path / f"out{suffix}"
    write_labels(out, Volume(labels, volume.geometry), source)

    before, after = load_nifti(source_path), load_nifti(out)
    assert type(before) is type(after)
    np.testing.assert_array_equal(volume.geometry.to_file(volume.voxels), stored)
    np.testing.assert_array_equal(np.asarray(after.dataobj), volume.geometry.to_file(labels))
    assert after.get_data_dtype() == np.uint8
    # Field by field: nibabel refuses some of its own quaternions in 64 bits, whose real part
    # rounds to less than 0.
    for name in (*(f"srow_{k}" for k in "xyz"), *(f"quatern_{k}" for k in "bcd"), *_PLACES):
        assert after.header[name].tobytes() == before.header[name].tobytes()
    assert after.affine.tobytes() == before.affine.tobytes()
    assert np.array(volume.geometry.affine).tobytes() == after.affine.tobytes()

    if version == 2:
        return  # ITK does not read it
    seen = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(out))).transpose(2, 1, 0)
    np.testing.assert_array_equal(seen, volume.geometry.to_file(labels))
    np.testing.assert_allclose(itk_corners(out), itk_corners(source_path), atol=1e-5)


@files
@given(grid=grids())
def test_an_independent_reader_puts_the_voxels_where_the_geometry_says(
    tmp_path: Path, grid: Grid
) -> None:
    geometry = Geometry.from_affine(*grid)
    path = save(tmp_path / "in.nii", np.zeros(geometry.file_shape, np.int16), geometry.affine)
    corners = [
        [c * (n - 1) for c, n in zip(corner, geometry.file_shape, strict=True)] + [1]
        for corner in np.ndindex(2, 2, 2)
    ]
    ras = (np.array(read_image(path)[0].geometry.affine) @ np.array(corners).T)[:3].T
    # Header fields are 32-bit floats; positions reach a few hundred mm. A quaternion in them knows
    # a turn by nearly half a circle to 5e-4, the root of their precision.
    atol = 1e-3 + 1e-3 * float(np.ptp(ras, axis=0).max())
    np.testing.assert_allclose(itk_corners(path), ras * [-1, -1, 1], atol=atol)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_maps_keep_their_values_and_their_place(tmp_path: Path, suffix: str) -> None:
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    source_path = save(tmp_path / f"in{suffix}", np.zeros((4, 5, 6), np.int16), affine)
    volume, source = read_image(source_path)
    weights = np.random.default_rng(0).random(volume.voxels.shape, np.float32)
    write_map(tmp_path / f"out{suffix}", Volume(weights, volume.geometry), source)
    again = load_nifti(tmp_path / f"out{suffix}")
    assert again.get_data_dtype() == np.float32
    np.testing.assert_array_equal(np.asarray(again.dataobj), volume.geometry.to_file(weights))
    np.testing.assert_array_equal(again.affine, affine)


@pytest.mark.parametrize(("qform_code", "sform_code"), [(0, 0), (1, 0), (0, 3), (2, 4)])
def test_orientation_codes_stay(tmp_path: Path, qform_code: int, sform_code: int) -> None:
    affine = np.array([[0, -2, 0, 5], [1, 0, 0, 7], [0, 0, 3, -9], [0, 0, 0, 1.0]])
    path = save(tmp_path / "in.nii", np.zeros((3, 4, 5), np.int16), affine)
    patched(path, 252, np.array([qform_code, sform_code], np.int16).tobytes())
    volume, source = read_image(path)
    write_labels(
        tmp_path / "out.nii", Volume(volume.voxels.astype(np.uint8), volume.geometry), source
    )
    before, after = load_nifti(path), load_nifti(tmp_path / "out.nii")
    for field in ("qform_code", "sform_code", "quatern_b", "qoffset_x", "srow_x", "pixdim"):
        assert before.header[field].tobytes() == after.header[field].tobytes()
    assert before.affine.tobytes() == after.affine.tobytes()


def test_labels_carry_no_scaling_range_or_text_of_the_image(tmp_path: Path) -> None:
    path = save(
        tmp_path / "in.nii",
        np.zeros((3, 4, 5), np.int16),
        descrip=PATIENT,
        aux_file=PATIENT,
        db_name=PATIENT,
        intent_name=PATIENT,
        intent_code=1001,
        cal_max=900,
        cal_min=-900,
    )
    patched(path, 112, np.array([2, 1], np.float32).tobytes())
    volume, source = read_image(path)
    labels = np.arange(60, dtype=np.uint8).reshape(volume.voxels.shape)
    write_labels(tmp_path / "out.nii", Volume(labels, volume.geometry), source)
    assert PATIENT[:8] not in (tmp_path / "out.nii").read_bytes()
    header = nib.Nifti1Header((tmp_path / "out.nii").read_bytes()[:348])
    assert (header["scl_slope"], header["scl_inter"]) == (1, 0)
    assert (header["cal_min"], header["cal_max"]) == (0, 0)
    assert header.get_intent()[0] == "label"
    np.testing.assert_array_equal(read_labels(tmp_path / "out.nii")[0].voxels, labels)


def test_big_endian_files_are_read_and_written(tmp_path: Path) -> None:
    stored = np.arange(60, dtype=">i2").reshape(3, 4, 5)
    image = nib.Nifti1Image(stored, np.eye(4), nib.Nifti1Header(endianness=">"))
    image.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "in.nii")
    assert load_nifti(tmp_path / "in.nii").header.endianness == ">"
    volume, source = read_image(tmp_path / "in.nii")
    assert volume.voxels.dtype == np.int16
    assert volume.voxels.dtype.isnative
    np.testing.assert_array_equal(volume.geometry.to_file(volume.voxels), stored)
    write_map(
        tmp_path / "out.nii", Volume(volume.voxels.astype(np.float32), volume.geometry), source
    )
    np.testing.assert_array_equal(np.asarray(load_nifti(tmp_path / "out.nii").dataobj), stored)
    seen = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "out.nii")))
    np.testing.assert_array_equal(seen.transpose(2, 1, 0), stored)


@pytest.mark.parametrize("shape", [(6, 7, 5, 1), (6, 7, 5, 1, 1), (6, 7)])
def test_axes_of_length_one_come_and_go_unchanged(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = save(tmp_path / "in.nii", np.arange(np.prod(shape), dtype=np.int16).reshape(shape))
    volume, source = read_image(path)
    assert volume.geometry.file_shape == (*shape, 1)[:3]
    write_labels(
        tmp_path / "out.nii", Volume(volume.voxels.astype(np.uint8), volume.geometry), source
    )
    again = load_nifti(tmp_path / "out.nii")
    assert again.shape == shape
    np.testing.assert_array_equal(np.asarray(again.dataobj), np.asarray(load_nifti(path).dataobj))


def test_units_other_than_mm_are_converted_for_display_and_kept_in_the_file(tmp_path: Path) -> None:
    path = save(tmp_path / "in.nii", np.zeros((3, 4, 5), np.int16), np.diag([500, 600, 700, 1.0]))
    patched(path, 123, bytes([3]))
    volume, source = read_image(path)
    np.testing.assert_allclose(volume.geometry.spacing_mm, (0.7, 0.6, 0.5), rtol=1e-6)
    write_labels(
        tmp_path / "out.nii", Volume(volume.voxels.astype(np.uint8), volume.geometry), source
    )
    assert load_nifti(tmp_path / "out.nii").affine.tobytes() == load_nifti(path).affine.tobytes()


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_images_keep_their_number_type(tmp_path: Path, dtype: DTypeLike) -> None:
    stored = np.arange(24).reshape(2, 3, 4).astype(dtype)
    image = nib.Nifti1Image(stored, np.eye(4), dtype=dtype)
    nib.save(image, tmp_path / "in.nii.gz")
    volume, _ = read_image(tmp_path / "in.nii.gz")
    assert volume.voxels.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(volume.geometry.to_file(volume.voxels), stored)


def test_scaled_images_become_float32_as_nibabel_reads_them(tmp_path: Path) -> None:
    path = save(tmp_path / "in.nii", np.arange(-30, 30, dtype=np.int16).reshape(3, 4, 5))
    patched(path, 112, np.array([0.37, -1024], np.float32).tobytes())
    volume, _ = read_image(path)
    assert volume.voxels.dtype == np.float32
    np.testing.assert_allclose(
        volume.geometry.to_file(volume.voxels), load_nifti(path).get_fdata(), rtol=1e-6
    )


@pytest.mark.parametrize("slope", [0.0, np.nan, 1.0])
def test_no_scaling_is_no_scaling_however_it_is_spelt(tmp_path: Path, slope: float) -> None:
    path = save(tmp_path / "in.nii", np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    patched(path, 112, np.array([slope, 0], np.float32).tobytes())
    assert read_image(path)[0].voxels.dtype == np.int16


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32, np.float64])
def test_labels_of_any_number_type_become_uint8(tmp_path: Path, dtype: DTypeLike) -> None:
    stored = np.array([0, 1, 2, 254] * 15, dtype).reshape(3, 4, 5)
    nib.save(nib.Nifti1Image(stored, np.eye(4), dtype=dtype), tmp_path / "in.nii")
    volume, _ = read_labels(tmp_path / "in.nii")
    assert volume.voxels.dtype == np.uint8
    np.testing.assert_array_equal(volume.geometry.to_file(volume.voxels), stored)


def test_labels_that_were_scaled_on_saving_are_whole_again(tmp_path: Path) -> None:
    stored = np.array([0.0, 1, 2, 3] * 15).reshape(3, 4, 5)
    image = nib.Nifti1Image(stored, np.eye(4))
    image.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "in.nii")
    volume, _ = read_labels(tmp_path / "in.nii")
    np.testing.assert_array_equal(volume.geometry.to_file(volume.voxels), stored)


@pytest.mark.parametrize(
    ("value", "named"), [(0.5, "0.5"), (-1, "-1"), (256, "256"), (np.nan, "nan"), (np.inf, "inf")]
)
def test_what_is_no_label_is_named(tmp_path: Path, value: Any, named: str) -> None:
    stored = np.zeros((3, 4, 5), np.float32)
    stored[1, 2, :3] = value
    path = save(tmp_path / "bad_labels.nii.gz", stored)
    with pytest.raises(UserError, match=rf"bad_labels\.nii\.gz.* 3 of its 60 .*{named}"):
        read_labels(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_images_with_voxels_that_are_not_finite_are_refused_with_their_number(
    tmp_path: Path, value: Any
) -> None:
    stored = np.zeros((10, 11, 12), np.float32)
    stored[3, :, 0] = value
    path = save(tmp_path / "holes.nii", stored)
    with pytest.raises(UserError, match=r"holes\.nii holds 11 voxels that are NaN or inf.*1,320"):
        read_image(path)


def test_an_image_beyond_32_bit_floats_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "huge.nii", np.full((2, 2, 2), 1e200))
    with pytest.raises(UserError, match=r"huge\.nii holds 8 voxels"):
        read_image(path)


# --- damaged files --------------------------------------------------------------------------------


def good(path: Path) -> Path:
    return save(path, np.random.default_rng(0).integers(0, 200, (20, 21, 22)).astype(np.int16))


def dims(*sizes: int) -> bytes:
    return np.array([len(sizes), *sizes, *[1] * (7 - len(sizes))], np.int16).tobytes()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda p: p.write_bytes(b""), "empty"),
    "half": (lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]), "truncated|damaged"),
    "last byte": (lambda p: p.write_bytes(p.read_bytes()[:-1]), "truncated|damaged"),
    "header only": (lambda p: rewrite(p, lambda d: d[:348]), "truncated"),
    "part of a header": (lambda p: rewrite(p, lambda d: d[:200]), "not a NIfTI"),
    "four bytes": (lambda p: p.write_bytes(p.read_bytes()[:4]), "truncated|not a NIfTI"),
    "text": (lambda p: p.write_text("no image" * 100), "not a NIfTI|gzip"),
    "magic": (lambda p: patched(p, 344, b"abc\0"), "not a NIfTI"),
    "pair magic": (lambda p: patched(p, 344, b"ni1\0"), "not a NIfTI"),
    "absurd size": (lambda p: patched(p, 40, dims(32000, 32000, 32000)), "can hold no more"),
    "negative size": (lambda p: patched(p, 40, dims(20, -21, 22)), "damaged NIfTI header"),
    "no size": (lambda p: patched(p, 40, dims(20, 0, 22)), "damaged NIfTI header"),
    "one axis": (lambda p: patched(p, 40, dims(20)), "damaged NIfTI header"),
    "unknown type": (lambda p: patched(p, 70, np.int16(77).tobytes()), "damaged NIfTI header"),
    "colour": (lambda p: patched(p, 70, np.array([128, 24], np.int16).tobytes()), "RGB"),
    "complex": (lambda p: patched(p, 70, np.array([32, 64], np.int16).tobytes()), "complex64"),
    "far offset": (lambda p: patched(p, 108, np.float32(1e30).tobytes()), "can hold no more"),
    "nan offset": (lambda p: patched(p, 108, np.float32(np.nan).tobytes()), "damaged NIfTI"),
    "inf offset": (lambda p: patched(p, 108, np.float32(np.inf).tobytes()), "damaged NIfTI"),
    "nan affine": (lambda p: patched(p, 280, np.float32(np.nan).tobytes() * 12), "no usable"),
    "flat affine": (lambda p: patched(p, 280, np.ones(12, np.float32).tobytes()), "no usable"),
    "zero affine": (lambda p: patched(p, 280, bytes(48)), "no usable"),
    "frames": (lambda p: patched(p, 40, dims(20, 21, 11, 2)), "2 frames"),
}


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("read", [read_image, read_labels])
def test_a_damaged_file_is_named_at_once(
    tmp_path: Path, damage: str, suffix: str, read: Callable[[Path], object]
) -> None:
    path = good(tmp_path / f"victim{suffix}")
    spoil, says = DAMAGE[damage]
    spoil(path)
    refused_at_once(read, path, says)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_nifti_2_header_with_absurd_sizes_is_refused(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"in{suffix}", np.zeros((4, 4, 4), np.int16), version=2)
    patched(path, 24, np.array([2**40, 2**40, 2**40], np.int64).tobytes())
    with pytest.raises(UserError, match="can hold no more"):
        read_image(path)


def test_a_flipped_bit_in_a_compressed_file_is_noticed(tmp_path: Path) -> None:
    path = good(tmp_path / "victim.nii.gz")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"victim\.nii\.gz"):
        read_image(path)


def test_names_that_lie_about_compression(tmp_path: Path) -> None:
    good(tmp_path / "a.nii").rename(tmp_path / "plain.nii.gz")
    with pytest.raises(UserError, match=r"plain\.nii\.gz ends in \.gz but"):
        read_image(tmp_path / "plain.nii.gz")
    good(tmp_path / "b.nii.gz").rename(tmp_path / "zipped.nii")
    with pytest.raises(UserError, match=r"zipped\.nii .*add \.gz"):
        read_image(tmp_path / "zipped.nii")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.nii cannot be read"):
        read_image(tmp_path / "gone.nii")
    (tmp_path / "folder.nii").mkdir()
    with pytest.raises(UserError, match=r"folder\.nii"):
        read_image(tmp_path / "folder.nii")


@settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(where=st.integers(0, 351), garbage=st.binary(min_size=1, max_size=40))
def test_garbage_in_a_header_is_read_or_refused_but_never_crashes(
    tmp_path: Path, where: int, garbage: bytes
) -> None:
    path = tmp_path / "fuzz.nii"
    if not (tmp_path / "good.nii").exists():
        good(tmp_path / "good.nii")
    shutil.copy(tmp_path / "good.nii", path)
    patched(path, where, garbage)
    try:
        volume, source = read_image(path)
    except UserError:
        return
    labels = Volume(np.zeros(volume.voxels.shape, np.uint8), volume.geometry)
    write_labels(tmp_path / "out.nii", labels, source)
    assert read_labels(tmp_path / "out.nii")[0].geometry == volume.geometry


# --- writing --------------------------------------------------------------------------------------


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = good(tmp_path / "in.nii")
    _, source = read_image(path)
    out = tmp_path / "out"
    out.mkdir()
    (out / "in.nii").write_bytes(b"earlier")
    wrong = Volume(np.zeros((1, 1, 1), np.uint8), Geometry.from_affine((1, 1, 1), np.eye(4)))
    with pytest.raises(ValueError, match="cannot carry"):
        write_labels(out / "in.nii", wrong, source)
    assert [p.name for p in out.iterdir()] == ["in.nii"]
    assert (out / "in.nii").read_bytes() == b"earlier"


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX resource limit")
def test_a_full_disk_is_a_user_error_that_leaves_the_old_file(tmp_path: Path) -> None:
    import resource
    import signal

    path = save(tmp_path / "in.nii", np.zeros((40, 40, 40), np.int16))
    volume, source = read_image(path)
    target = tmp_path / "out.nii"
    target.write_bytes(b"earlier")
    labels = Volume(volume.voxels.astype(np.uint8), volume.geometry)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(UserError, match=r"out\.nii cannot be written"):
            write_labels(target, labels, source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert target.read_bytes() == b"earlier"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.nii", "out.nii"]


def test_a_folder_that_is_not_there_is_a_user_error(tmp_path: Path) -> None:
    volume, source = read_image(good(tmp_path / "in.nii"))
    labels = Volume(np.zeros(volume.voxels.shape, np.uint8), volume.geometry)
    with pytest.raises(UserError, match="cannot be written"):
        write_labels(tmp_path / "nowhere" / "out.nii", labels, source)


# --- real files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("la/images/*.nii.gz", "la/labels/*.nii.gz"),
        ("ct_multiorgan/image.nii.gz", "ct_multiorgan/segmentation.nii.gz"),
    ],
)
def test_real_labels_survive_the_round_trip(
    real_data: Path, tmp_path: Path, image: str, labels: str
) -> None:
    image_path, labels_path = (sorted(real_data.glob(p))[0] for p in (image, labels))
    volume, source = read_image(image_path)
    truth, _ = read_labels(labels_path)
    assert truth.geometry == volume.geometry
    out = tmp_path / image_path.name
    write_labels(out, truth, source)
    before, after = load_nifti(labels_path), load_nifti(out)
    np.testing.assert_array_equal(np.asarray(after.dataobj), np.asarray(before.dataobj))
    assert after.affine.tobytes() == load_nifti(image_path).affine.tobytes()
    ours, theirs = SimpleITK.ReadImage(str(out)), SimpleITK.ReadImage(str(labels_path))
    np.testing.assert_array_equal(
        SimpleITK.GetArrayFromImage(ours), SimpleITK.GetArrayFromImage(theirs)
    )
    np.testing.assert_allclose(itk_corners(out), itk_corners(image_path), atol=1e-5)


def test_what_nibabel_mends_is_told_nobody(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A negative voxel size: nibabel takes it as positive, and logs that."""
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.int16), np.eye(4)), path)
    patched(path, 80, np.float32(-1).tobytes())
    assert read_image(path)[0].geometry.spacing_mm == (1, 1, 1)
    assert capfd.readouterr().err == ""

"""NRRD and MetaImage, against SimpleITK."""

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from damaged import refused_at_once
from hypothesis import given, settings
from hypothesis import strategies as st
from nifti_files import load_nifti
from numpy.typing import NDArray
from orientations import Grid, grids

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import (
    Choice,
    export_suffix,
    read_image,
    read_labels,
    write_labels,
    write_map,
)
from napari_mlbseg.volume import Geometry, Volume

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SUFFIXES = [".mha", ".mhd", ".nrrd", ".nhdr"]


def itk_image(stored: NDArray[Any], affine: NDArray[Any]) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(stored.transpose(2, 1, 0)))
    lps = LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def itk_affine(path: Path) -> NDArray[Any]:
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return LPS @ affine


def save(path: Path, stored: NDArray[Any], affine: NDArray[Any], *, compress: bool = False) -> Path:
    sitk.WriteImage(itk_image(stored, affine), str(path), compress)
    return path


def geometry_lines(path: Path) -> list[bytes]:
    names = (b"TransformMatrix", b"Offset", b"CenterOf", b"ElementSpacing", b"space")
    return [line for line in path.read_bytes()[:4000].split(b"\n") if line.startswith(names)]


@settings(max_examples=80)
@given(
    grid=grids(),
    suffix=st.sampled_from(SUFFIXES),
    compress=st.booleans(),
    dtype=st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]),
)
def test_image_in_and_labels_out(
    tmp_path_factory: pytest.TempPathFactory,
    grid: Grid,
    suffix: str,
    compress: bool,
    dtype: str,
) -> None:
    shape, affine = grid
    folder = tmp_path_factory.mktemp("itk")
    stored = np.random.default_rng(0).integers(0, 120, shape).astype(dtype)
    path = save(folder / f"in{suffix}", stored, affine, compress=compress)
    volume, source = read_image(path)
    assert volume.voxels.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(volume.geometry.to_file(volume.voxels), stored)
    np.testing.assert_allclose(volume.geometry.affine, itk_affine(path), atol=1e-9)

    (folder / "out").mkdir()
    out = folder / "out" / f"in{export_suffix(path, source)}"
    labels = np.random.default_rng(1).integers(0, 255, volume.voxels.shape).astype(np.uint8)
    write_labels(out, Volume(labels, volume.geometry), source)
    assert geometry_lines(out) == geometry_lines(path)
    again, _ = read_labels(out)
    assert again.geometry == volume.geometry
    np.testing.assert_array_equal(again.voxels, labels)
    seen = sitk.ReadImage(str(out))
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(seen).transpose(2, 1, 0), volume.geometry.to_file(labels)
    )
    np.testing.assert_array_equal(itk_affine(out), itk_affine(path))

    nifti = folder / "second.nii"
    sitk.WriteImage(seen, str(nifti))
    np.testing.assert_array_equal(
        np.asarray(load_nifti(nifti).dataobj), volume.geometry.to_file(labels)
    )


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_maps(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"in{suffix}", np.zeros((4, 5, 6), np.int16), np.diag([1, 2, 3, 1.0]))
    volume, source = read_image(path)
    weights = np.random.default_rng(0).random(volume.voxels.shape, np.float32)
    write_map(tmp_path / f"out{suffix}", Volume(weights, volume.geometry), source)
    seen = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"out{suffix}")))
    assert seen.dtype == np.float32
    np.testing.assert_array_equal(seen.transpose(2, 1, 0), volume.geometry.to_file(weights))


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_a_sheared_grid_stays_sheared(tmp_path: Path, suffix: str) -> None:
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    affine[0, 2] = 0.7
    volume = Volume(np.zeros((4, 3, 2), np.uint8), Geometry.from_affine((2, 3, 4), affine))
    lps = LPS @ affine
    columns = [" ".join(map(str, lps[:3, k])) for k in range(3)]
    path = tmp_path / f"in{suffix}"
    if suffix == ".nrrd":
        steps = " ".join(f"({c.replace(' ', ',')})" for c in columns)
        text = (
            "type: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: 2 3 4\n"
            f"space directions: {steps}\nencoding: raw\nspace origin: (0,0,0)\n\n"
        )
        path.write_bytes(b"NRRD0004\n" + text.encode() + bytes(24))
    else:
        unit = [lps[:3, k] / [1, 2, 3][k] for k in range(3)]
        matrix = " ".join(" ".join(map(repr, map(float, u))) for u in unit)
        text = (
            f"ObjectType = Image\nNDims = 3\nTransformMatrix = {matrix}\nOffset = 0 0 0\n"
            "ElementSpacing = 1 2 3\nDimSize = 2 3 4\nElementType = MET_UCHAR\n"
            "ElementDataFile = LOCAL\n"
        )
        path.write_bytes(text.encode() + bytes(24))
    found, source = read_image(path)
    np.testing.assert_allclose(found.geometry.affine, affine)
    write_labels(tmp_path / f"out{suffix}", volume, source)
    assert read_labels(tmp_path / f"out{suffix}")[0].geometry == found.geometry


NRRD = (
    b"NRRD0004\ntype: short\ndimension: 3\nsizes: 3 4 5\nencoding: %s\nendian: %s\n"
    b"spacings: 1 2 3\n\n"
)


@pytest.mark.parametrize(
    ("encoding", "pack"), [(b"raw", bytes), (b"gzip", gzip.compress), (b"bzip2", bz2.compress)]
)
@pytest.mark.parametrize("endian", [b"little", b"big"])
def test_encodings_and_byte_orders(
    tmp_path: Path, encoding: bytes, pack: Callable[..., Any] | type[Any], endian: bytes
) -> None:
    stored = np.arange(60, dtype=np.int16).reshape(3, 4, 5) - 30
    ordered = stored.astype("<i2" if endian == b"little" else ">i2")
    path = tmp_path / "in.nrrd"
    path.write_bytes(NRRD % (encoding, endian) + pack(ordered.tobytes(order="F")))
    volume, _ = read_image(path)
    np.testing.assert_array_equal(volume.geometry.to_file(volume.voxels), stored)
    assert volume.geometry.spacing_mm == (3, 2, 1)


def frames(suffix: str, in_front: bool = False) -> tuple[bytes, NDArray[Any]]:
    stored = np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(2, 3, 4, 5)
    if suffix == ".mha":
        text = (
            "ObjectType = Image\nNDims = 4\nOffset = 1 2 3 0\nElementSpacing = 1 1 2 9\n"
            "DimSize = 2 3 4 5\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
        )
        return text.encode() + stored.tobytes(order="F"), stored
    steps = "(1,0,0) (0,1,0) (0,0,2)"
    ordered = np.moveaxis(stored, 3, 0) if in_front else stored
    sizes = " ".join(map(str, ordered.shape))
    steps = f"none {steps}" if in_front else f"{steps} none"
    text = (
        f"NRRD0004\ntype: short\ndimension: 4\nspace: left-posterior-superior\nsizes: {sizes}\n"
        f"space directions: {steps}\nencoding: raw\nendian: little\nspace origin: (1,2,3)\n\n"
    )
    return text.encode() + ordered.tobytes(order="F"), stored


@pytest.mark.parametrize(("suffix", "front"), [(".mha", False), (".nrrd", False), (".nrrd", True)])
def test_one_frame_of_several(tmp_path: Path, suffix: str, front: bool) -> None:
    content, stored = frames(suffix, front)
    path = tmp_path / f"in{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match="5 frames"):
        read_image(path)
    with pytest.raises(UserError, match="frames 0 to 4, but frame 5"):
        read_image(path, Choice(frame=5))
    volume, source = read_image(path, Choice(frame=3))
    np.testing.assert_array_equal(volume.geometry.to_file(volume.voxels), stored[..., 3])
    labels = Volume((volume.voxels % 9).astype(np.uint8), volume.geometry)
    write_labels(tmp_path / f"out{suffix}", labels, source)
    again, _ = read_labels(tmp_path / f"out{suffix}")
    assert again.geometry == volume.geometry
    np.testing.assert_array_equal(again.voxels, labels.voxels)
    assert (
        itk_affine(tmp_path / f"out{suffix}").tolist() == np.array(volume.geometry.affine).tolist()
    )


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(old, new, 1)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) - 300],
    "header only": lambda data: data[
        : data.find(b"LOCAL\n") + 6 if b"LOCAL" in data else data.find(b"\n\n") + 2
    ],
    "part of a header": lambda data: data[:60],
    "text": lambda data: b"no image" * 100,
    "absurd": lambda data: data.replace(b"10 11 12", b"2147483648 2147483648 2147483648"),
    "negative": lambda data: data.replace(b"10 11 12", b"10 -11 12"),
    "no number": lambda data: data.replace(b"10 11 12", b"10 ten 12"),
    "two sizes": lambda data: data.replace(b"10 11 12", b"10 11"),
    "nan": lambda data: data.replace(b"0.75", b"nan"),
    "inf": lambda data: data.replace(b"0.75", b"inf"),
    "zero": lambda data: data.replace(b"0.75", b"0"),
    "type": lambda data: data.replace(b"MET_SHORT", b"MET_ARRAY").replace(
        b"type: short", b"type: block"
    ),
}


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("read", [read_image, read_labels])
def test_a_damaged_file_is_named_at_once(
    tmp_path: Path, suffix: str, damage: str, read: Callable[..., Any]
) -> None:
    affine = np.diag([0.75, 0.75, 2, 1])
    path = save(tmp_path / f"victim{suffix}", np.ones((10, 11, 12), np.int16), affine)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    refused_at_once(read, path)


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_a_lost_file_of_voxels_is_named(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"in{suffix}", np.ones((4, 4, 4), np.int16), np.eye(4))
    (tmp_path / "in.raw").unlink()
    with pytest.raises(UserError, match=r"in\.raw cannot be read"):
        read_image(path)


def detached(folder: Path, suffix: str, name: str) -> Path:
    """A header that names a file of voxels."""
    if suffix == ".mhd":
        text = (
            "ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\n"
            f"ElementDataFile = {name}\n"
        )
    else:
        text = (
            "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 4 4\nencoding: raw\n"
            f"spacings: 1 1 1\ndata file: {name}\n"
        )
    path = folder / f"a{suffix}"
    path.write_text(text)
    return path


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file elsewhere that is large enough to be voxels, and the folder of a header."""
    (tmp_path / "study").mkdir()
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "elsewhere" / "secret.raw"
    file.write_bytes(bytes(64))
    return file


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
@pytest.mark.parametrize("way", ["absolute", "up", "file link", "folder link", "chain"])
@pytest.mark.parametrize("read", [read_image, read_labels])
def test_a_header_reads_no_file_outside_its_folder(
    tmp_path: Path, secret: Path, suffix: str, way: str, read: Callable[..., Any]
) -> None:
    study = tmp_path / "study"
    (study / "link.raw").symlink_to(secret)
    (study / "folder").symlink_to(secret.parent, target_is_directory=True)
    (study / "chain.raw").symlink_to(study / "link.raw")
    name = {
        "absolute": str(secret),
        "up": "../elsewhere/secret.raw",
        "file link": "link.raw",
        "folder link": "folder/secret.raw",
        "chain": "chain.raw",
    }[way]
    path = detached(study, suffix, name)
    with pytest.raises(UserError, match=r"outside of its own folder.*copy it beside") as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert str(secret) in str(caught.value)


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_a_header_that_leads_in_a_circle_is_refused(
    tmp_path: Path, secret: Path, suffix: str
) -> None:
    study = tmp_path / "study"
    (study / "a.raw").symlink_to(study / "b.raw")
    (study / "b.raw").symlink_to(study / "a.raw")
    with pytest.raises(UserError, match=r"a\.raw"):
        read_image(detached(study, suffix, "a.raw"))


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
@pytest.mark.parametrize("name", ["LIST", "LIST 2", "a%02d.raw 1 4 1"])
def test_a_header_of_several_files_is_refused(
    tmp_path: Path, secret: Path, suffix: str, name: str
) -> None:
    path = detached(tmp_path / "study", suffix, name)
    with pytest.raises(UserError, match=r"over several files\. Save it as one file"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_a_header_reads_files_of_its_own_folder(tmp_path: Path, secret: Path, suffix: str) -> None:
    study = tmp_path / "study"
    (study / "raw").mkdir()
    (study / "raw" / "a.raw").write_bytes(bytes(64))
    for name in ("raw/a.raw", str(study / "raw" / "a.raw"), "../study/raw/a.raw"):
        assert read_image(detached(study, suffix, name))[0].voxels.shape == (4, 4, 4)
    (study / "listed.raw").write_bytes(bytes(64))  # a name, not the word for many files
    assert read_image(detached(study, suffix, "listed.raw"))[0].voxels.shape == (4, 4, 4)
    # A folder of links to a header and its voxels, which lie beside each other elsewhere.
    linked = tmp_path / "linked"
    linked.mkdir()
    header = detached(secret.parent, suffix, "secret.raw")
    (linked / header.name).symlink_to(header)
    (linked / "secret.raw").symlink_to(secret)
    assert read_image(linked / header.name)[0].voxels.shape == (4, 4, 4)


@pytest.mark.parametrize("sizes", [(2, 3, 4), (2, 3, 4, 5)])
def test_voxels_at_the_end_of_their_file(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    """A header size of -1: the voxels of all frames are the last bytes of the file."""
    stored = np.arange(np.prod(sizes), dtype=np.int16).reshape(sizes)
    (tmp_path / "a.raw").write_bytes(b"a preamble" + stored.tobytes(order="F"))
    path = tmp_path / "a.mhd"
    path.write_text(
        f"ObjectType = Image\nNDims = {len(sizes)}\nDimSize = {' '.join(map(str, sizes))}\n"
        "ElementType = MET_SHORT\nHeaderSize = -1\nElementDataFile = a.raw\n"
    )
    seen = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T
    np.testing.assert_array_equal(seen, stored)
    for frame in range(sizes[3]) if len(sizes) > 3 else [None]:
        volume, _ = read_image(path, Choice(frame=frame))
        expected = stored if frame is None else stored[..., frame]
        np.testing.assert_array_equal(volume.geometry.to_file(volume.voxels), expected)


def test_an_unknown_number_of_channels_is_refused(tmp_path: Path) -> None:
    path = detached(tmp_path, ".mhd", "a.raw")
    (tmp_path / "a.raw").write_bytes(bytes(64))
    header = path.read_text()
    path.write_text(header.replace("NDims", "ElementNumberOfChannels = some\nNDims"))
    with pytest.raises(UserError, match=r"a\.mhd has a damaged MetaImage header.*'some'"):
        read_image(path)

"""Small files that ask for far more than they hold: refused, and in little memory.

The bound is generous: what is unpacked at once may be a few hundred MB, the bombs ask for 4 GB and
more.
"""

import bz2
import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pydicom
import pytest
import tifffile
import zarr
from bombs import deflated_zeros, gzip_zeros, nifti_header, read
from dicom_files import lps_of, voxels, write_series
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)
from zarr.codecs import GzipCodec, ZstdCodec
from zarr_files import write_zarr

from napari_mlbseg.formats.registry import read_image

MOST_MB = 900
SMALL = (10, 11, 12)


def gzip_of(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


def refused(path: Path, says: str) -> None:
    held = sum(f.stat().st_size for f in [path, *path.rglob("*")] if f.is_file())
    assert held < 1 << 27
    taken, said = read(path)
    assert says in said
    assert str(path) in said
    assert taken < MOST_MB


# --- voxels in a row ------------------------------------------------------------------------------


def test_more_behind_a_small_header_of_nifti(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip_of(nifti_header(SMALL) + bytes(10 * 11 * 12)) + gzip_zeros(100_000))
    refused(path, "unpacks to more than the 10 x 11 x 12 voxels")


def test_what_a_little_padding_follows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip_of(nifti_header(SMALL) + bytes(10 * 11 * 12)) + gzip_of(b"a note" * 99))
    assert read_image(path)[0].voxels.shape == SMALL[::-1]


def test_more_behind_a_small_header_of_nrrd(tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    header = (
        b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 10 11 12\nencoding: gzip\nspacings: 1 1 1\n\n"
    )
    path.write_bytes(header + gzip_of(bytes(10 * 11 * 12)) + gzip_zeros(100_000))
    refused(path, "unpacks to more than the 10 x 11 x 12 voxels")


def test_voxels_far_behind_the_header(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    header = bytearray(nifti_header(SMALL))
    header[108:112] = np.float32(40e9).tobytes()
    path.write_bytes(gzip_of(bytes(header)) + gzip_zeros(41_000))
    refused(path, "header is damaged")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".bz2.nrrd"])
def test_slices_that_do_not_fit_into_memory(tmp_path: Path, suffix: str) -> None:
    """As the header says: 40 slices of almost a gigabyte each."""
    sides = "30000 30000 40"
    path = tmp_path / f"a{suffix}"
    lines = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: {sides}\nspacings: 1 1 1\nencoding: "
    mha = (
        f"ObjectType = Image\nNDims = 3\nCompressedData = True\nDimSize = {sides}\n"
        "ElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    )
    path.write_bytes(
        {
            ".nii.gz": lambda: gzip_of(nifti_header((30000, 30000, 40))) + gzip_zeros(36_000),
            ".nrrd": lambda: f"{lines}gzip\n\n".encode() + gzip_zeros(36_000),
            ".mha": lambda: mha.encode() + deflated_zeros(36_000),
            ".bz2.nrrd": lambda: f"{lines}bzip2\n\n".encode() + bz2.compress(bytes(1 << 24)) * 2200,
        }[suffix]()
    )
    refused(path, "slices of 900,000,000 bytes")


@pytest.mark.slow
def test_large_slices_are_imported_in_little_memory(tmp_path: Path) -> None:
    """A gigabyte in 16 slices: as the header says, and sound."""
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.nii.gz"
    path.write_bytes(gzip_of(nifti_header((8192, 8192, 16))) + gzip_zeros(1024))
    taken, said = read(path.parent, tmp_path / "s.mlbseg")
    assert said == "read"
    assert taken < MOST_MB


# --- chunks ---------------------------------------------------------------------------------------


def test_a_chunk_of_hdf5_that_unpacks_to_more(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        image = file.create_dataset("image", SMALL, "u1", chunks=SMALL, compression="gzip")
        image.id.write_direct_chunk((0, 0, 0), deflated_zeros(6400))
    refused(path, "unpacks to more than the 1,320 bytes")


@pytest.mark.parametrize("packed", [None, "gzip", "lzf"])
def test_chunks_of_hdf5_that_do_not_fit_into_memory(tmp_path: Path, packed: str | None) -> None:
    path = tmp_path / "a.h5"
    sides = (2000, 1000, 1000)
    with h5py.File(path, "w") as file:
        image = file.create_dataset(
            "image", SMALL, "u1", maxshape=(None,) * 3, chunks=sides, compression=packed
        )
        image.id.write_direct_chunk((0, 0, 0), deflated_zeros(2048))
    refused(path, "parts of 2,000,000,000 bytes")


def test_a_chunk_of_hdf5_that_is_packed_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk(SMALL)
        made.set_deflate(9)
        made.set_filter(h5py.h5z.FILTER_DEFLATE, 0, (9,))
        space = h5py.h5s.create_simple(SMALL)
        h5py.h5d.create(file.id, b"image", h5py.h5t.NATIVE_UINT8, space, dcpl=made)
    refused(path, "filters that are not supported (numbers 1, 1)")


def test_hdf5_that_is_packed_in_large_parts_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    stored = np.random.default_rng(0).integers(0, 99, (8, 512, 600)).astype(np.uint8)
    with h5py.File(path, "w") as file:
        file.create_dataset("image", data=stored, chunks=stored.shape, compression="gzip")
        assert file["image"].id.get_storage_size() * 1032 > 1 << 30
    found, _ = read_image(path)
    np.testing.assert_array_equal(found.geometry.to_file(found.voxels), stored)


def test_a_link_into_another_file_is_not_followed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["image"] = np.zeros(SMALL, np.uint8)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["image"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/image")
    refused(path, "its arrays are: none")


def chunk_of(path: Path, name: str = "c/0/0/0") -> Path:
    return path / "0" / name


def zarr_with(path: Path, codec: Any, **options: Any) -> Path:
    write_zarr(path, np.zeros(SMALL, np.uint8))
    shutil.rmtree(path / "0")
    zarr.create_array(
        path / "0", shape=SMALL, chunks=SMALL, dtype="u1", compressors=codec, **options
    )[:] = 1
    return path


def test_a_chunk_of_zarr_that_unpacks_to_more(tmp_path: Path) -> None:
    path = zarr_with(tmp_path / "a.zarr", GzipCodec())
    chunk_of(path).write_bytes(gzip_of(bytes(1320)) + gzip_zeros(6400))
    refused(path, "unpacks to more than the 1,320 bytes")


def test_a_chunk_of_zarr_with_nothing_before_what_unpacks_to_more(tmp_path: Path) -> None:
    path = zarr_with(tmp_path / "a.zarr", GzipCodec())
    chunk_of(path).write_bytes(gzip_of(b"") + gzip_zeros(6400))
    refused(path, "unpacks to more than the 1,320 bytes")


def test_a_chunk_of_zarr_that_says_it_unpacks_to_more(tmp_path: Path) -> None:
    path = zarr_with(tmp_path / "a.zarr", zarr.codecs.BloscCodec())
    packed = bytearray(chunk_of(path).read_bytes())
    packed[4:8] = (2**31 - 64).to_bytes(4, "little")
    chunk_of(path).write_bytes(packed)
    refused(path, "unpacks to more than the 1,320 bytes")
    path = zarr_with(tmp_path / "b.zarr", ZstdCodec())
    frame = b"\x28\xb5\x2f\xfd\xe0" + (1 << 33).to_bytes(8, "little") + bytes(1 << 14)
    chunk_of(path).write_bytes(frame)
    refused(path, "unpacks to more than the 1,320 bytes")


def test_a_shard_of_zarr_with_a_chunk_that_unpacks_to_more(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write_zarr(path, np.zeros(SMALL, np.uint8))
    shutil.rmtree(path / "0")
    zarr.create_array(
        path / "0",
        shape=SMALL,
        chunks=(5, 11, 12),
        shards=SMALL,
        dtype="u1",
        compressors=GzipCodec(),
    )[:] = 1
    described = path / "0" / "zarr.json"
    about = json.loads(described.read_text())
    about["codecs"][0]["configuration"]["index_codecs"] = about["codecs"][0]["configuration"][
        "index_codecs"
    ][:1]  # without a checksum
    described.write_text(json.dumps(about))
    shard = chunk_of(path).read_bytes()[:-4]
    chunk_of(path).write_bytes(shard)
    assert read_image(path)[0].voxels.min() == 1
    index = np.frombuffer(shard[-32:], "<u8").copy()
    bomb = gzip_of(bytes(660)) + gzip_zeros(6400)
    index[2:4] = len(shard) - 32, len(bomb)
    chunk_of(path).write_bytes(shard[:-32] + bomb + index.tobytes())
    refused(path, "unpacks to more than the 660 bytes")


def huge_chunks(about: dict[str, Any]) -> None:
    about["chunk_grid"]["configuration"]["chunk_shape"] = [3000, 1000, 1000]


def packed_twice(about: dict[str, Any]) -> None:
    about["codecs"].append(about["codecs"][-1])


def packed_strangely(about: dict[str, Any]) -> None:
    about["codecs"].append({"name": "numcodecs.pcodec", "configuration": {}})


@pytest.mark.parametrize("change", [huge_chunks, packed_twice, packed_strangely])
def test_zarr_that_cannot_be_read_in_little_memory(
    tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    path = zarr_with(tmp_path / "a.zarr", GzipCodec())
    described = path / "0" / "zarr.json"
    about = json.loads(described.read_text())
    change(about)
    described.write_text(json.dumps(about))
    taken, said = read(path)
    assert str(path) in said
    refusals = ("parts of 3,000,000,000 bytes", "not supported", "not a valid OME-Zarr file")
    assert any(refusal in said for refusal in refusals)
    assert taken < MOST_MB


# --- strips and tiles -----------------------------------------------------------------------------


def test_a_strip_of_tiff_that_unpacks_to_more(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros(SMALL, np.uint8), compression="zlib", photometric="minisblack")
    bomb = deflated_zeros(6400)
    place = path.stat().st_size
    with path.open("ab") as file:
        file.write(bomb)
    with tifffile.TiffFile(path, mode="r+") as file:
        tags = file.pages.first.tags
        tags["StripOffsets"].overwrite([place])
        tags["StripByteCounts"].overwrite([len(bomb)])
    refused(path, "unpacks to more than the 132 bytes")


def test_tiles_of_tiff_that_do_not_fit_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, np.zeros((64, 64), np.uint8), compression="zlib", tile=(32, 32), metadata=None
    )
    with tifffile.TiffFile(path, mode="r+") as file:
        for name in ("TileWidth", "TileLength"):
            file.pages.first.tags[name].overwrite(60_000)
    taken, said = read(path)
    assert str(path) in said
    assert taken < MOST_MB


def test_a_stack_of_which_the_pages_are_not_the_slices_is_read_in_parts(tmp_path: Path) -> None:
    """One page may describe a large stack: of 2 GB a part is read at a time."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, shape=(500, 2048, 2048), dtype="u1", truncate=True)
    with tifffile.TiffFile(path) as file:
        assert len(file.series[0].pages) == 1
    taken, said = read(path)
    assert said == "read"
    assert taken < 2000


# --- DICOM ----------------------------------------------------------------------------------------


def test_a_deflated_dicom_file_that_unpacks_to_more(tmp_path: Path) -> None:
    (file,) = write_series(tmp_path / "a", voxels((64, 48, 1)), lps_of())
    dataset = pydicom.dcmread(file)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(file, enforce_file_format=True)
    path = tmp_path / "a.dcm"
    packed = file.read_bytes()
    path.write_bytes(packed)
    assert read_image(path)[0].voxels.shape == (1, 48, 64)
    start = 132 + 12 + int.from_bytes(packed[140:144], "little")
    path.write_bytes(packed[:start] + deflated_zeros(6400, wbits=-15))
    refused(path, "parts of")


def compressed(tmp_path: Path, syntax: str) -> tuple[Path, Any]:
    (file,) = write_series(tmp_path / "a", voxels((64, 48, 1)), lps_of(), syntax=syntax)
    return file, pydicom.dcmread(file)


def test_runs_of_dicom_that_unpack_to_more(tmp_path: Path) -> None:
    file, dataset = compressed(tmp_path, RLELossless)
    runs = b"\x81\x00" * (1 << 25)  # 128 zeros each
    header = np.array([2, 64, 64 + len(runs), *[0] * 13], "<u4").tobytes()
    dataset.PixelData = encapsulate([header + runs + runs[:64]])
    dataset.save_as(file)
    taken, said = read(file)
    assert "unpacks to more than the 6,144 bytes" in said
    assert str(file) in said
    assert taken < MOST_MB


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("at", "value"),
    [(8, (60_000).to_bytes(4, "big")), (40, (16_000).to_bytes(2, "big"))],
    ids=["size", "components"],
)
def test_a_compressed_frame_that_announces_more(
    tmp_path: Path, at: int, value: bytes, large: bool
) -> None:
    file, dataset = compressed(tmp_path, JPEG2000Lossless)
    stream = bytearray(next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)))
    stream[at : at + len(value)] = value
    dataset.PixelData = encapsulate([bytes(stream)])
    if large:  # files above some size are read in another way
        block = dataset.private_block(0x7FE1, "mlbseg", create=True)
        block.add_new(1, "OB", bytes((1 << 26) + 2))
    dataset.save_as(file)
    taken, said = read(file)
    assert "instead of {(48, 64, 1)}" in said or "instead of (48, 64, 1)" in said
    assert str(file) in said
    assert taken < MOST_MB

"""OME-Zarr, TIFF and HDF5."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
import zarr
from damaged import refused_at_once
from nifti_files import load_nifti
from numpy.typing import DTypeLike, NDArray
from stored import as_stored
from zarr_files import write_zarr

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import (
    Choice,
    export_suffix,
    format_of,
    forms_of,
    open_image,
    open_labels,
    read_image,
    read_labels,
    write_labels,
    write_map,
)
from napari_mlbseg.volume import Volume

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SHAPE = (5, 6, 7)


def numbers(
    shape: tuple[int, ...] = SHAPE, dtype: DTypeLike = np.uint16, seed: int = 0
) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


# --- OME-Zarr -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_in_and_labels_out(tmp_path: Path, version: str) -> None:
    path = tmp_path / "scan.ome.zarr"
    write_zarr(path, numbers(), version)
    volume, source = read_image(path)
    np.testing.assert_array_equal(as_stored(volume), numbers())
    assert volume.geometry.spacing_mm == (2.0, 0.5, 0.25)
    assert volume.geometry.origin_mm == (10.0, 10.0, 10.0)
    assert not any(volume.geometry.flipped)

    out = tmp_path / "out" / f"scan{export_suffix(path, source)}"
    out.parent.mkdir()
    labels = Volume(numbers(volume.voxels.shape, np.uint8, 1), volume.geometry)
    for _ in range(2):  # the second one replaces the first
        write_labels(out, labels, source)
    assert [p.name for p in out.parent.iterdir()] == ["scan.ome.zarr"]
    again, _ = read_labels(out)
    assert again.geometry == volume.geometry
    np.testing.assert_array_equal(again.voxels, labels.voxels)
    plain = zarr.open_array(out / "0", mode="r")
    np.testing.assert_array_equal(plain[:], volume.geometry.to_file(labels.voxels))
    assert plain.metadata.zarr_format == (3 if version == "0.5" else 2)
    write_map(out, Volume(labels.voxels.astype(np.float32) / 3, volume.geometry), source)
    assert zarr.open_array(out / "0", mode="r").dtype == np.float32


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_inside_a_store(tmp_path: Path, version: str) -> None:
    path = tmp_path / "scan.zarr"
    write_zarr(path, numbers(), version)
    inner = zarr.create_group(path / "labels", zarr_format=3 if version == "0.5" else 2)
    names: dict[str, Any] = {"labels": ["organs"]}
    inner.attrs.put({"ome": names} if version == "0.5" else names)
    write_zarr(path / "labels" / "organs", numbers(dtype=np.int32, seed=1), version)
    labels, _ = read_labels(path)
    np.testing.assert_array_equal(as_stored(labels), numbers(seed=1))
    assert labels.geometry == read_image(path)[0].geometry


def test_channels_and_time_points_are_chosen_by_number(tmp_path: Path) -> None:
    stored = numbers((2, 3, *SHAPE))
    write_zarr(tmp_path / "a.zarr", stored, axes="tczyx", unit="micrometer")
    with pytest.raises(UserError, match="6 frames"):
        read_image(tmp_path / "a.zarr")
    volume, source = read_image(tmp_path / "a.zarr", Choice(frame=4))
    np.testing.assert_array_equal(as_stored(volume), stored[1, 1])
    assert volume.geometry.spacing_mm == (0.002, 0.0005, 0.00025)
    write_labels(
        tmp_path / "o.ome.zarr", Volume(volume.voxels.astype(np.uint8), volume.geometry), source
    )
    assert read_labels(tmp_path / "o.ome.zarr")[0].geometry == volume.geometry


def test_shards_and_flat_images(tmp_path: Path) -> None:
    write_zarr(tmp_path / "a.zarr", numbers((12, 12, 12)), shards=(6, 6, 6))
    np.testing.assert_array_equal(
        as_stored(read_image(tmp_path / "a.zarr")[0]), numbers((12, 12, 12))
    )
    write_zarr(tmp_path / "b.zarr", numbers((4, 5)), axes="yx")
    volume, source = read_image(tmp_path / "b.zarr")
    assert volume.voxels.shape == (1, 4, 5)
    write_labels(
        tmp_path / "o.ome.zarr", Volume(volume.voxels.astype(np.uint8), volume.geometry), source
    )
    assert zarr.open_array(tmp_path / "o.ome.zarr" / "0").shape == (4, 5)


def spoiled(path: Path, change: Callable[..., Any]) -> None:
    found = json.loads((path / "zarr.json").read_text())
    change(found["attributes"]["ome"]["multiscales"][0])
    (path / "zarr.json").write_text(json.dumps(found))


def level(path: Path, **fields: Any) -> None:
    found = json.loads((path / "0" / "zarr.json").read_text()) | fields
    (path / "0" / "zarr.json").write_text(json.dumps(found))


def a_file_in_its_place(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("x")


def emptied(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


ZARR_DAMAGE: dict[str, Callable[[Path], object]] = {
    "no folder": a_file_in_its_place,
    "empty": emptied,
    "no json": lambda p: (p / "zarr.json").write_text("{"),
    "empty json": lambda p: (p / "zarr.json").write_bytes(b""),
    "a list": lambda p: (p / "zarr.json").write_text("[1]"),
    "no level": lambda p: shutil.rmtree(p / "0"),
    "nan": lambda p: spoiled(
        p,
        lambda i: i["datasets"][0]["coordinateTransformations"][0].update(
            scale=[float("nan"), 1, 1]
        ),
    ),
    "zero": lambda p: spoiled(
        p, lambda i: i["datasets"][0]["coordinateTransformations"][0].update(scale=[0, 1, 1])
    ),
    "axes": lambda p: spoiled(p, lambda i: i["axes"][0].update(name="u")),
    "turned": lambda p: spoiled(
        p, lambda i: i["axes"][0].update(orientation={"value": "left-to-right"})
    ),
    "outside": lambda p: spoiled(p, lambda i: i["datasets"][0].update(path="../../etc")),
    "absurd": lambda p: level(p, shape=[2**31, 2**31, 2**31]),
    "damaged chunk": lambda p: (p / "0" / "c" / "0" / "0" / "0").write_bytes(b"\x01" * 30),
}


@pytest.mark.parametrize("damage", ZARR_DAMAGE)
def test_a_damaged_store_is_named_at_once(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "victim.zarr"
    write_zarr(path, numbers())
    ZARR_DAMAGE[damage](path)
    refused_at_once(read_image, path)


def test_axes_are_read_in_any_order_and_direction(tmp_path: Path) -> None:
    """A store x y z shows the same volume as the same numbers stored z y x."""
    stored = numbers()
    write_zarr(tmp_path / "zyx.zarr", stored)
    write_zarr(tmp_path / "xyz.zarr", stored.T, axes="xyz")
    write_zarr(tmp_path / "up.zarr", stored[::-1])
    leads = {"type": "anatomical", "value": "superior-to-inferior"}
    spoiled(tmp_path / "up.zarr", lambda i: i["axes"][0].update(orientation=leads))
    expected, _ = read_image(tmp_path / "zyx.zarr")
    turned, _ = read_image(tmp_path / "xyz.zarr")
    flipped, _ = read_image(tmp_path / "up.zarr")
    assert turned.geometry.display_affine.tolist() == expected.geometry.display_affine.tolist()
    np.testing.assert_array_equal(turned.voxels, expected.voxels)
    np.testing.assert_array_equal(flipped.voxels, expected.voxels)


def test_a_new_store_says_where_its_axes_lead(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbers(dtype=np.uint8), photometric="minisblack")
    volume, source = read_image(tmp_path / "a.tif")
    write_labels(tmp_path / "o.ome.zarr", volume, source)
    found = json.loads((tmp_path / "o.ome.zarr" / "zarr.json").read_text())
    axes = found["attributes"]["ome"]["multiscales"][0]["axes"]
    assert [(a["name"], a["orientation"]["value"]) for a in axes] == [
        ("z", "inferior-to-superior"),
        ("y", "anterior-to-posterior"),
        ("x", "right-to-left"),
    ]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_collection_of_bioformats2raw_gives_its_first_image(tmp_path: Path, version: str) -> None:
    store, stored = tmp_path / "a.zarr", numbers()
    group = zarr.create_group(store, zarr_format=2 if version == "0.4" else 3)
    mark = {"bioformats2raw.layout": 3}
    described: dict[str, Any] = dict(mark) if version == "0.4" else {"ome": mark}
    group.attrs.put(described)
    write_zarr(store / "0", stored, version)
    assert read_image(store)[0].voxels.tolist() == stored.tolist()
    assert open_image(store).notes == ()
    write_zarr(store / "1", stored[:2], version)
    (note,) = open_image(store).notes
    assert "holds 2 images; 0 is taken, 1 are left out" in note
    assert format_of(store / "1") == "ome-zarr"
    assert read_image(store / "1")[0].voxels.shape == (2, 6, 7)


@pytest.mark.parametrize("version", [2, 3])
def test_a_bare_array_says_what_it_lacks(tmp_path: Path, version: Any) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=SHAPE, dtype="u1", zarr_format=version)
    with pytest.raises(UserError, match="a zarr array without a description"):
        open_image(tmp_path / "a.zarr")


def test_frames_that_are_left_out_are_counted(tmp_path: Path) -> None:
    write_zarr(tmp_path / "a.zarr", numbers((3, *SHAPE)), axes="czyx")
    (note,) = open_image(tmp_path / "a.zarr", Choice(frame=1)).notes
    assert "holds 3 frames; frame 1 is taken, the others are left out" in note


# --- TIFF -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "mm"),
    [("µm", 1e-3), ("\u03bcm", 1e-3), ("nm", 1e-6), ("mm", 1.0), ("cm", 10.0), ("in", 25.4)],
)
def test_units_of_ome_tiff(tmp_path: Path, unit: str, mm: float) -> None:
    sizes = {f"PhysicalSize{axis}Unit": unit for axis in "XYZ"}
    sizes |= {"PhysicalSizeX": "2", "PhysicalSizeY": "3", "PhysicalSizeZ": "5"}
    tifffile.imwrite(tmp_path / "a.ome.tif", numbers(), metadata={"axes": "ZYX", **sizes}, ome=True)
    scan = open_image(tmp_path / "a.ome.tif")
    np.testing.assert_allclose(scan.geometry.spacing_mm, [5 * mm, 3 * mm, 2 * mm])
    assert scan.notes == ()
    assert forms_of(scan.source, scan.geometry).calibrated


def test_pixels_as_a_unit_are_no_length(tmp_path: Path) -> None:
    sizes = {"PhysicalSizeX": 1, "PhysicalSizeY": 1, "PhysicalSizeXUnit": "pixel"}
    tifffile.imwrite(tmp_path / "a.ome.tif", numbers(), metadata={"axes": "ZYX", **sizes}, ome=True)
    scan = open_image(tmp_path / "a.ome.tif")
    assert any("counts its spacing in pixel, which is no length" in note for note in scan.notes)
    assert not forms_of(scan.source, scan.geometry).calibrated


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_tiff_stacks_with_spacing(
    tmp_path: Path, dtype: DTypeLike, compression: str | None, kind: str
) -> None:
    path = tmp_path / "scan.tif"
    ways: dict[str, dict[str, Any]] = {
        "imagej": {
            "imagej": True,
            "resolution": (4.0, 2.0),
            "metadata": {"axes": "ZYX", "spacing": 3.0, "unit": "mm"},
        },
        "ome": {
            "ome": True,
            "metadata": {
                "axes": "ZYX",
                "PhysicalSizeX": 0.25,
                "PhysicalSizeXUnit": "mm",
                "PhysicalSizeY": 0.5,
                "PhysicalSizeYUnit": "mm",
                "PhysicalSizeZ": 3000,
            },
        },
    }
    stored = numbers(dtype=dtype)
    tifffile.imwrite(path, stored, compression=compression, **ways[kind])
    volume, source = read_image(path)
    np.testing.assert_array_equal(as_stored(volume), stored)
    assert volume.voxels.dtype == dtype
    assert volume.geometry.spacing_mm == pytest.approx((3.0, 0.5, 0.25))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), stored)

    assert export_suffix(path, source) == ".nii.gz"
    out = tmp_path / "out.nii.gz"
    labels = Volume((volume.voxels > 90).astype(np.uint8), volume.geometry)
    write_labels(out, labels, source)
    again = load_nifti(out)
    # x, y, z as ITK orders the axes of the stack itself
    np.testing.assert_allclose(again.affine, volume.geometry.transposed().affine, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(again.dataobj).T, stored > 90)


def test_plain_and_flat_tiffs_say_what_is_assumed(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbers(), photometric="minisblack")
    scan = open_image(tmp_path / "a.tif")
    assert any("1 mm is assumed" in note for note in scan.notes)
    np.testing.assert_array_equal(as_stored(scan.volume()), numbers())
    tifffile.imwrite(tmp_path / "b.tiff", numbers((9, 8)))
    assert read_image(tmp_path / "b.tiff")[0].voxels.shape == (1, 9, 8)


def test_channels_of_a_tiff(tmp_path: Path) -> None:
    stored = numbers((5, 3, 6, 7))
    tifffile.imwrite(tmp_path / "a.tif", stored, imagej=True, metadata={"axes": "ZCYX"})
    with pytest.raises(UserError, match="3 frames"):
        read_image(tmp_path / "a.tif")
    volume, _ = read_image(tmp_path / "a.tif", Choice(frame=2))
    np.testing.assert_array_equal(as_stored(volume), stored[:, 2])


def test_colours_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbers((9, 8, 3), np.uint8), photometric="rgb")
    with pytest.raises(UserError, match=r"a\.tif holds colours"):
        read_image(tmp_path / "a.tif")


# --- HDF5 -----------------------------------------------------------------------------------------


def write_h5(path: Path, **arrays: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, stored in arrays.items():
            file.create_dataset(name, data=stored, compression="gzip")
    return path


def test_hdf5_as_benchmarks_ship_it(tmp_path: Path) -> None:
    image = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    path = write_h5(tmp_path / "a.h5", image=image, label=numbers(dtype=np.uint8))
    volume, source = read_image(path)
    np.testing.assert_array_equal(as_stored(volume), image)
    labels, _ = read_labels(path)
    np.testing.assert_array_equal(as_stored(labels), numbers())
    assert labels.geometry == volume.geometry
    np.testing.assert_array_equal(volume.geometry.affine, np.eye(4))
    assert any("1 mm is assumed" in note for note in open_image(path).notes)
    assert export_suffix(path, source) == ".nii.gz"


def test_hdf5_with_a_spacing_and_with_one_array(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.hdf5", anything=numbers())
    with h5py.File(path, "a") as file:
        file["anything"].attrs["spacing"] = [0.5, 1, 2]
    volume, _ = read_image(path)
    np.testing.assert_array_equal(volume.geometry.affine, np.diag([0.5, 1, 2, 1]))
    np.testing.assert_array_equal(as_stored(open_labels(path).volume()), numbers())
    flat = write_h5(tmp_path / "b.h5", image=numbers((4, 9)))
    assert read_image(flat)[0].voxels.size == 36


@pytest.mark.parametrize("keys", ["zyxc", "tzyxc", "czyx", "xyz", "zyx"])
def test_axes_that_ilastik_tags_decide(tmp_path: Path, keys: str) -> None:
    stored = numbers()
    # z y x with axes of length 1 elsewhere, in the order of the tags
    array = stored.transpose(["zyx".index(key) for key in keys if key in "zyx"])
    array = array.reshape([SHAPE["zyx".index(key)] if key in "zyx" else 1 for key in keys])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("exported_data", data=array)
        data.attrs["axistags"] = json.dumps({"axes": [{"key": key} for key in keys]})
    volume, _ = read_image(tmp_path / "a.h5")
    np.testing.assert_array_equal(volume.voxels, stored)


def test_axes_of_length_one_need_no_choice(tmp_path: Path) -> None:
    write_h5(tmp_path / "a.h5", raw=numbers((1, *SHAPE, 1)))
    assert read_image(tmp_path / "a.h5")[0].geometry.file_shape == SHAPE


def test_tags_without_a_volume_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("raw", data=numbers((3, 4)))
        data.attrs["axistags"] = json.dumps({"axes": [{"key": "t"}, {"key": "x"}]})
    with pytest.raises(UserError, match="tags the axes of 'raw' as tx; a volume has z, y and x"):
        open_image(tmp_path / "a.h5")


def test_arrays_in_groups_are_found_or_named(tmp_path: Path) -> None:
    stored = numbers()
    write_h5(tmp_path / "a.h5", **{"volumes/raw": stored, "volumes/labels/mask": stored % 3})
    np.testing.assert_array_equal(as_stored(read_image(tmp_path / "a.h5")[0]), stored)
    np.testing.assert_array_equal(as_stored(read_labels(tmp_path / "a.h5")[0]), stored % 3)
    write_h5(tmp_path / "b.h5", **{"one/raw": stored, "two/raw": stored})
    with pytest.raises(UserError, match="its arrays are: 'one/raw', 'two/raw'"):
        open_image(tmp_path / "b.h5")


def test_hdf5_without_an_image_lists_what_is_there(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.h5", one=numbers(), two=numbers())
    with pytest.raises(UserError, match=r"no array 'image'; its arrays are: 'one', 'two'"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".tif", ".h5"])
@pytest.mark.parametrize("damage", ["empty", "text", "half", "start", "nan"])
def test_damaged_files_are_named_at_once(tmp_path: Path, suffix: str, damage: str) -> None:
    path = tmp_path / f"victim{suffix}"
    stored = numbers((20, 30, 30)).astype(np.float32)
    if damage == "nan":
        stored[1, 2, 3] = np.nan
    if suffix == ".tif":
        tifffile.imwrite(path, stored, photometric="minisblack")
    else:
        write_h5(path, image=stored)
    content = path.read_bytes()
    spoiled = {
        "empty": b"",
        "text": b"no image" * 100,
        "half": content[: len(content) // 2],
        "start": content[:20],
        "nan": content,
    }
    path.write_bytes(spoiled[damage])
    refused_at_once(read_image, path)


def test_names_decide_which_format_it_is(tmp_path: Path) -> None:
    (tmp_path / "plain folder").mkdir()
    assert format_of(tmp_path / "plain folder") is None
    for name, kind in (("a.ome.zarr", "ome-zarr"), ("b.zarr", "ome-zarr")):
        (tmp_path / name).mkdir()
        assert format_of(tmp_path / name) == kind
    for name, file in (("a.OME.TIF", "tiff"), ("b.h5", "hdf5"), ("c.gz", None), ("d.npz", None)):
        (tmp_path / name).touch()
        assert format_of(tmp_path / name) == file

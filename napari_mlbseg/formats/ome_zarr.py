"""OME-Zarr 0.4 and 0.5: images and labels with several resolutions, of which the finest is read."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.boxed import MM_PER_UNIT, boxed_scan, frame_window, lps_grid
from napari_mlbseg.formats.scan import Scan, finite_only, readable, whole_numbers
from napari_mlbseg.formats.source import Choice, SourceInfo
from napari_mlbseg.formats.stream import file_slabs
from napari_mlbseg.volume import Volume

_WHAT: Final = "OME-Zarr"
_SPACE: Final = ("z", "y", "x")
_LARGEST_METADATA: Final = 1 << 24
_CHUNK: Final = 128


class OmeZarrFormat:
    """Reads stores (folders) .zarr, writes labels as .ome.zarr of the same version."""

    name: str = "ome-zarr"

    def open_image(self, path: Path, choice: Choice) -> Scan:
        """The finest level; axes run along the patient's (LPS), other axes count frames."""
        return finite_only(path, _open(path, choice))

    def open_labels(self, path: Path, choice: Choice) -> Scan:
        """The label image of a store that has one, else its own image as labels."""
        names = _label_names(path)
        if len(names) > 1:
            raise UserError(
                f"{path} holds several label images: {', '.join(names)}. Choose one by its folder "
                "in the store's folder labels."
            )
        inner = path / "labels" / names[0] if names else path
        return whole_numbers(inner, _open(inner, choice))

    def write_labels(self, path: Path, volume: Volume, source: SourceInfo) -> None:
        """Write a store of uint8 labels with the axes and scales of the source."""
        _write(path, volume, source, np.dtype(np.uint8))

    def write_map(self, path: Path, volume: Volume, source: SourceInfo) -> None:
        """Write a store of a float32 map with the axes and scales of the source."""
        _write(path, volume, source, np.dtype(np.float32))


def _open(path: Path, choice: Choice) -> Scan:
    import zarr

    with readable(path, _WHAT):
        version, attributes = _attributes(path)
        image = _multiscale(path, attributes)
        axes = [_axis(axis) for axis in image["axes"]]
        names = [name for name, _ in axes]
        level = image["datasets"][0]
        folder = (path / str(level["path"])).resolve()
        if not folder.is_relative_to(path.resolve()):
            raise UserError(f"{path} refers to an array outside of its folder.")
        array = zarr.open_array(folder, mode="r", zarr_format=3 if version == "0.5" else 2)
        shape = tuple(int(n) for n in array.shape)
        spatial = [k for k, name in enumerate(names) if name in _SPACE]
        found = [names[k] for k in spatial]
        if len(names) != len(shape) or found not in (["z", "y", "x"], ["y", "x"]):
            raise UserError(
                f"{path} has the axes {', '.join(map(str, names))}; a study takes z, y, x in this "
                "order, with other axes in front."
            )
        scale, offset = _transformed(path, image, level, len(shape))
        mm = [MM_PER_UNIT.get(str(axes[k][1]).lower(), 1.0) for k in spatial]
        spacing = [scale[k] * unit for k, unit in zip(spatial, mm, strict=True)]
        origin = [offset[k] * unit for k, unit in zip(spatial, mm, strict=True)]
        if len(spatial) == 2:
            spacing, origin = [1.0, *spacing], [0.0, *origin]
        window, chosen = frame_window(path, choice, shape, spatial)
        kept: dict[str, Any] = {
            "version": version,
            "axes": names,
            "units": [unit for _, unit in axes],
        }
        kept |= {"scale": scale, "translation": offset}
        notes = (
            () if all(axes[k][1] for k in spatial) else (f"{path} names no unit; mm is assumed.",)
        )
        return boxed_scan(
            path,
            lambda part: np.asarray(array[part]),
            shape,
            array.dtype,
            window=window,
            affine=lps_grid(spacing, origin),
            source=SourceInfo(OmeZarrFormat.name, json.dumps(kept).encode(), chosen),
            what=_WHAT,
            held=sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()),
            depth=int(array.chunks[spatial[0]]),
            notes=notes,
        )


def _attributes(path: Path) -> tuple[str, Mapping[str, Any]]:
    """The version (0.4 or 0.5) and the OME metadata of a group."""
    if not path.is_dir():
        raise UserError(f"{path} cannot be read: it is no folder. An OME-Zarr store is one.")
    for name in ("zarr.json", ".zattrs"):
        file = path / name
        if not file.is_file():
            continue
        if file.stat().st_size > _LARGEST_METADATA:
            raise UserError(f"{file} is too large to be the description of an image.")
        found = json.loads(file.read_bytes() or b"null")
        if not isinstance(found, dict):
            raise UserError(f"{file} is damaged: it holds no description of an image.")
        if name == ".zattrs":
            return "0.4", found
        ome = found.get("attributes", {}).get("ome", {})
        return "0.5", ome if isinstance(ome, dict) else {}
    raise UserError(f"{path} is no OME-Zarr store: it has neither zarr.json nor .zattrs.")


def _multiscale(path: Path, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    images = attributes.get("multiscales")
    if not images or not isinstance(images, list) or not isinstance(images[0], dict):
        raise UserError(
            f"{path} is no OME-Zarr image: its description has no multiscales. Choose the folder "
            "of an image inside it."
        )
    image: Mapping[str, Any] = images[0]
    if not image.get("axes") or not image.get("datasets"):
        raise UserError(f"{path} is older than OME-Zarr 0.4: it does not name its axes.")
    return image


def _axis(axis: Any) -> tuple[str, str]:
    """Name and unit; 0.3 had names only."""
    if isinstance(axis, str):
        return axis, ""
    return str(axis["name"]), str(axis.get("unit") or "")


def _transformed(
    path: Path, image: Mapping[str, Any], level: Mapping[str, Any], count: int
) -> tuple[list[float], list[float]]:
    """Scale and translation of each axis: those of the level, then those of the whole image."""
    scale, offset = [1.0] * count, [0.0] * count
    for step in [
        *(level.get("coordinateTransformations") or []),
        *(image.get("coordinateTransformations") or []),
    ]:
        kind = step.get("type")
        if kind == "identity":
            continue
        numbers = [float(v) for v in step.get(kind, [])]
        if kind not in ("scale", "translation") or len(numbers) != count:
            raise UserError(f"{path} places its voxels in an unknown way: {str(step)[:80]}.")
        if kind == "scale":
            scale = [a * b for a, b in zip(scale, numbers, strict=True)]
            offset = [a * b for a, b in zip(offset, numbers, strict=True)]
        else:
            offset = [a + b for a, b in zip(offset, numbers, strict=True)]
    if not all(map(math.isfinite, [*scale, *offset])):
        raise UserError(f"{path} has no usable geometry: scale {scale}, translation {offset}.")
    return scale, offset


def _label_names(path: Path) -> list[str]:
    with readable(path, _WHAT):
        _attributes(path)
        folder = path / "labels"
        if not folder.is_dir():
            return []
        _, attributes = _attributes(folder)
        names = attributes.get("labels") or []
        return [str(name) for name in names if (folder / str(name)).is_dir()]


def _write(path: Path, volume: Volume, source: SourceInfo, dtype: np.dtype[Any]) -> None:
    import zarr

    known = json.loads(source.header)
    new = known["version"] == "0.5"
    names, units = known["axes"], known["units"]
    spatial = [k for k, name in enumerate(names) if name in _SPACE]
    flat = len(spatial) == 2
    shape = volume.geometry.file_shape[1 if flat else 0 :]
    axes = [
        {"name": names[k], "type": "space"} | ({"unit": units[k]} if units[k] else {})
        for k in spatial
    ]
    steps = [
        {"type": "scale", "scale": [known["scale"][k] for k in spatial]},
        {"type": "translation", "translation": [known["translation"][k] for k in spatial]},
    ]
    image: dict[str, Any] = {
        "name": "labels" if dtype.itemsize == 1 else "map",
        "axes": axes,
        "datasets": [{"path": "0", "coordinateTransformations": steps}],
    }
    group = zarr.create_group(path, zarr_format=3 if new else 2, overwrite=True)
    options: dict[str, Any] = (
        {"dimension_names": [names[k] for k in spatial]}
        if new
        else {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    )
    array = group.create_array(
        "0",
        shape=shape,
        dtype=dtype,
        chunks=tuple(min(_CHUNK, n) for n in shape),
        fill_value=0,
        **options,
    )
    for start, slab in file_slabs(volume, dtype, axis=0, thick=_CHUNK):
        if flat:
            array[...] = np.ascontiguousarray(slab[0])
        else:
            array[start : start + len(slab)] = np.ascontiguousarray(slab)
    described: dict[str, Any] = {"multiscales": [image if new else image | {"version": "0.4"}]}
    if dtype.itemsize == 1:
        described["image-label"] = {"version": known["version"]}
    group.attrs.put({"ome": {"version": "0.5", **described}} if new else described)

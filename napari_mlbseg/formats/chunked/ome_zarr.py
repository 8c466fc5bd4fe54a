"""OME-Zarr 0.4 and 0.5: images and labels; of several resolutions the finest is read."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.chunked.boxed import (
    MM_PER_UNIT,
    boxed_scan,
    frame_window,
    lps_grid,
    spatial_axes,
)
from napari_mlbseg.formats.chunked.zarr_chunks import packing_of, require_sound_chunks
from napari_mlbseg.formats.scan import Forms, Scan, finite_only, readable, whole_numbers
from napari_mlbseg.formats.source import Choice, SourceInfo
from napari_mlbseg.formats.streamed.stream import file_slabs
from napari_mlbseg.volume import Geometry, Volume

_NAME: Final = "ome-zarr"
_WHAT: Final = "OME-Zarr"
_SPACE: Final = ("z", "y", "x")
_ORIENTATIONS: Final = {
    "z": "inferior-to-superior",
    "y": "anterior-to-posterior",
    "x": "right-to-left",
}
"""Where the axes lead, in the words of RFC-4 of OME-Zarr."""
_NAMES_SHOWN: Final = 6
_LARGEST_METADATA: Final = 1 << 24
_CHUNK: Final = 128
_CHUNK_ALONG: Final = 32


class OmeZarrFormat:
    """Reads stores (folders) .zarr, writes labels and maps as .ome.zarr."""

    name: str = _NAME

    def open_image(self, path: Path, choice: Choice) -> Scan:
        """The finest level; axes run along the patient's (LPS), other axes count frames."""
        return finite_only(path, _open(path, choice))

    def open_labels(self, path: Path, choice: Choice) -> Scan:
        """The label image of a store that has one, otherwise its own image as labels."""
        names = _label_names(path)
        if len(names) > 1:
            raise UserError(
                f"{path} holds several label images: {', '.join(names)}. Choose one of these "
                "folders in the store's folder labels."
            )
        inner = path / "labels" / names[0] if names else path
        return whole_numbers(inner, _open(inner, choice))

    def writes(self, path: Path, volume: Volume, source: SourceInfo, dtype: np.dtype[Any]) -> None:
        """Write a store of the source's version, axes and scales; 0.5 for other formats.

        Raises
        ------
        UserError
            If the grid is oblique, which neither version can express.
        """
        own = source.format == self.name
        known = json.loads(source.header) if own else _described(path, volume.geometry)
        _write(path, volume, known, dtype)

    def forms(self, source: SourceInfo, geometry: Geometry) -> Forms:
        """Whether the store names a unit of length for each of its spatial axes."""
        kept = json.loads(source.header)
        spatial = [
            unit for name, unit in zip(kept["axes"], kept["units"], strict=True) if name in _SPACE
        ]
        return Forms(calibrated=all(unit.lower() in MM_PER_UNIT for unit in spatial))


def _open(store: Path, choice: Choice) -> Scan:
    with readable(store, _WHAT):
        path, of_many = _image_in(store)
        version, attributes = _attributes(path)
        image = _multiscale(path, attributes)
        axes = [_axis(axis) for axis in image["axes"]]
        names = [name for name, _ in axes]
        level = image["datasets"][0]
        folder, array = _array(path, str(level["path"]), version)
        packing = packing_of(path, folder)
        shape = tuple(int(n) for n in array.shape)
        spatial = _spatial(path, names, len(shape))
        against = [_runs_against(path, axis) for axis in image["axes"]]
        scale, offset = _transformed(path, image, level, len(shape))
        window, chosen, left_out = frame_window(path, choice, shape, spatial)
        kept = {
            "version": version,
            "axes": names,
            "units": [unit for _, unit in axes],
            "scale": scale,
            "translation": offset,
            "orientations": [_orientation(axis) for axis in image["axes"]],
        }
        known = all(axes[k][1].lower() in MM_PER_UNIT for k in spatial)
        no_unit = () if known else (f"{path} names no unit of length; mm is assumed.",)

        def read(part: tuple[int | slice, ...]) -> NDArray[Any]:
            require_sound_chunks(path, folder, array, packing, part)
            return np.asarray(array[part])

        return boxed_scan(
            path,
            read,
            shape,
            array.dtype,
            window=window,
            affine=_affine(axes, spatial, scale, offset, against),
            source=SourceInfo(_NAME, json.dumps(kept).encode(), chosen),
            what=_WHAT,
            held=sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()),
            depth=int(array.chunks[spatial[0]]),
            notes=(*of_many, *no_unit, *left_out),
        )


def _array(path: Path, name: str, version: str) -> tuple[Path, Any]:
    """The folder of an array inside a store, and the array."""
    import zarr

    folder = (path / name).resolve()
    if not folder.is_relative_to(path.resolve()):
        raise UserError(f"{path} refers to an array outside of its folder.")
    return folder, zarr.open_array(folder, mode="r", zarr_format=3 if version == "0.5" else 2)


def _is_image_of_many(entry: Path) -> bool:
    return entry.is_dir() and not entry.is_symlink() and entry.name.isdecimal()


def _spatial(path: Path, names: Sequence[str], count: int) -> list[int]:
    """The axes of the volume, or of a flat image."""
    spatial = spatial_axes(names, [])
    found = [names[k] for k in spatial]
    if len(names) != count or (found != ["y", "x"] and sorted(found) != ["x", "y", "z"]):
        raise UserError(
            f"{path} has the axes {', '.join(map(str, names))}; a study takes z, y and x, and "
            "other axes besides."
        )
    return spatial


def _affine(
    axes: Sequence[tuple[str, str]],
    spatial: Sequence[int],
    scale: Sequence[float],
    offset: Sequence[float],
    against: Sequence[bool],
) -> NDArray[np.float64]:
    mm = [MM_PER_UNIT.get(axes[k][1].lower(), 1.0) for k in spatial]
    spacing = [scale[k] * unit for k, unit in zip(spatial, mm, strict=True)]
    origin = [offset[k] * unit for k, unit in zip(spatial, mm, strict=True)]
    if len(spatial) == 2:
        return lps_grid([1.0, *spacing], [0.0, *origin])
    return lps_grid(spacing, origin, [axes[k][0] for k in spatial], [against[k] for k in spatial])


def _orientation(axis: Any) -> str:
    """Where an axis leads in the patient, such as ``anterior-to-posterior``; empty if not said."""
    found = axis.get("orientation") if isinstance(axis, dict) else None
    value = found.get("value") if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""


def _runs_against(path: Path, axis: Any) -> bool:
    """Whether an axis runs against the patient's; UserError if it runs along another one."""
    said, name = _orientation(axis), _axis(axis)[0]
    if not said or name not in _SPACE:
        return False
    along = _ORIENTATIONS[name]
    if said not in (along, "-to-".join(reversed(along.split("-to-")))):
        raise UserError(
            f"{path} says that its axis {name} runs {said[:60]}; a study takes {along}, or the "
            "other way round."
        )
    return said != along


def _image_in(store: Path) -> tuple[Path, tuple[str, ...]]:
    """The image of a store, and a note about its other ones: bioformats2raw writes a collection."""
    _, attributes = _attributes(store)
    if attributes.get("multiscales") or "bioformats2raw.layout" not in attributes:
        return store, ()
    images = sorted(
        (entry.name for entry in store.iterdir() if _is_image_of_many(entry)),
        key=int,
    )
    if not images:
        raise UserError(f"{store} is a collection of images, but it holds none.")
    if len(images) == 1:
        return store / images[0], ()
    more = len(images) - _NAMES_SHOWN
    others = ", ".join(images[1:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return store / images[0], (
        f"{store} holds {len(images)} images; {images[0]} is taken, {others} are left out. Give "
        "the folder of another one inside the store to take that.",
    )


def _attributes(path: Path) -> tuple[str, Mapping[str, Any]]:
    """The version (0.4 or 0.5) and the OME metadata of a group."""
    if not path.is_dir():
        raise UserError(f"{path} cannot be read: an OME-Zarr store is a folder, but this is not.")
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
        if found.get("node_type") == "array":
            raise _undescribed(path)
        ome = found.get("attributes", {}).get("ome", {})
        return "0.5", ome if isinstance(ome, dict) else {}
    if (path / ".zarray").is_file():
        raise _undescribed(path)
    raise UserError(f"{path} is not an OME-Zarr store: it has neither zarr.json nor .zattrs.")


def _undescribed(path: Path) -> UserError:
    return UserError(
        f"{path} is a zarr array without a description: nothing says what its axes are. Save it as "
        "OME-Zarr."
    )


def _multiscale(path: Path, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    images = attributes.get("multiscales")
    if not images and (path / ".zarray").is_file():
        raise _undescribed(path)
    if not images or not isinstance(images, list) or not isinstance(images[0], dict):
        raise UserError(
            f"{path} is not an OME-Zarr image: its description has no multiscales. Choose the "
            "folder of an image inside it."
        )
    image: Mapping[str, Any] = images[0]
    if not image.get("axes") or not image.get("datasets"):
        raise UserError(f"{path} is older than OME-Zarr 0.4: it does not name its axes.")
    return image


def _axis(axis: Any) -> tuple[str, str]:
    """Name and unit of an axis; 0.3 had names only."""
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


def _described(path: Path, geometry: Geometry) -> dict[str, Any]:
    """What `_open` would keep of a store with the display array."""
    if not geometry.upright:
        raise UserError(
            f"{path.name} cannot be written: the slices lie obliquely in the patient, which "
            "OME-Zarr up to 0.5 cannot express. Export as NIfTI, NRRD or MHA instead."
        )
    return {
        "version": "0.5",
        "axes": list(_SPACE),
        "units": ["millimeter"] * 3,
        "scale": list(geometry.spacing_mm),
        "translation": list(geometry.origin_mm),
        "orientations": [_ORIENTATIONS[name] for name in _SPACE],
    }


def _write(path: Path, volume: Volume, known: Mapping[str, Any], dtype: np.dtype[Any]) -> None:
    import zarr

    new = known["version"] == "0.5"
    names = known["axes"]
    spatial = [k for k, name in enumerate(names) if name in _SPACE]
    flat = len(spatial) == 2
    shape = volume.geometry.file_shape[1 if flat else 0 :]
    group = zarr.create_group(path, zarr_format=3 if new else 2, overwrite=True)
    options: dict[str, Any] = (
        {"dimension_names": [names[k] for k in spatial]}
        if new
        else {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    )
    chunks = (_CHUNK_ALONG, _CHUNK, _CHUNK)[1 if flat else 0 :]
    array = group.create_array(
        "0",
        shape=shape,
        dtype=dtype,
        chunks=tuple(min(a, n) for a, n in zip(chunks, shape, strict=True)),
        fill_value=0,
        **options,
    )
    for start, slab in file_slabs(volume, dtype, axis=0, thick=_CHUNK_ALONG):
        if flat:
            array[...] = np.ascontiguousarray(slab[0])
        else:
            array[start : start + len(slab)] = np.ascontiguousarray(slab)
    group.attrs.put(_metadata(known, spatial, labels=dtype.itemsize == 1))


def _metadata(known: Mapping[str, Any], spatial: Sequence[int], *, labels: bool) -> dict[str, Any]:
    """The description of a store with one level."""
    new, units = known["version"] == "0.5", known["units"]
    leads = known.get("orientations") or [""] * len(units)
    steps = [
        {"type": "scale", "scale": [known["scale"][k] for k in spatial]},
        {"type": "translation", "translation": [known["translation"][k] for k in spatial]},
    ]
    image: dict[str, Any] = {
        "name": "labels" if labels else "map",
        "axes": [
            {"name": known["axes"][k], "type": "space"}
            | ({"unit": units[k]} if units[k] else {})
            | ({"orientation": {"type": "anatomical", "value": leads[k]}} if leads[k] else {})
            for k in spatial
        ],
        "datasets": [{"path": "0", "coordinateTransformations": steps}],
    }
    described: dict[str, Any] = {"multiscales": [image if new else image | {"version": "0.4"}]}
    if labels:
        described["image-label"] = {"version": known["version"]}
    return {"ome": {"version": "0.5", **described}} if new else described


FORMAT: Final = OmeZarrFormat()

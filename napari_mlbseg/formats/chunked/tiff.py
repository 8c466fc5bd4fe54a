"""TIFF stacks: ImageJ, OME and plain ones."""

import json
import re
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.chunked.boxed import MM_PER_UNIT, boxed_scan, frame_window, lps_grid
from napari_mlbseg.formats.chunked.tiff_parts import read_page, read_series, require_own_pages
from napari_mlbseg.formats.plain import PlainFormat
from napari_mlbseg.formats.scan import Scan, readable, require_size
from napari_mlbseg.formats.source import Choice, SourceInfo

_NAME: Final = "tiff"
_WHAT: Final = "TIFF"
_DEPTH: Final = "ZQI"
"""Letters of tifffile for an axis of slices; Q and I are stacks of unknown meaning."""
_MAGIC: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_CENTIMETRES: Final = 3
_RESOLUTION_UNIT_MM: Final = {2: 25.4, _CENTIMETRES: 10.0}
_NO_SPACING: Final = "records no spacing; 1 mm is assumed."
_NO_DEPTH: Final = "records no distance between slices; that between pixels is assumed."


@dataclass(frozen=True)
class _Series:
    """What must be known about the images in a file before their voxels are read."""

    shape: tuple[int, ...]
    spatial: list[int]
    dtype: np.dtype[Any]
    pages: int
    spacing: "_Spacing"


@dataclass(frozen=True)
class _Spacing:
    """Distances between voxels.

    Attributes
    ----------
    mm
        Along z, y, x.
    calibrated
        Whether somebody recorded them: dots per inch are for printing.
    notes
        What a person should know, as the rest of a sentence about the file.
    """

    mm: list[float]
    calibrated: bool = True
    notes: tuple[str, ...] = ()


def _open(path: Path, choice: Choice) -> Scan:
    """A stack z y x along the patient's axes (LPS); channels and time points are frames."""
    from tifffile import TiffFile

    with readable(path, _WHAT):
        _require_tiff(path)
        with TiffFile(path) as file:
            series = _described(path, file)
        size = path.stat().st_size
        require_size(path, series.shape, series.dtype.itemsize, size)
        window, chosen, left_out = frame_window(path, choice, series.shape, series.spatial)

    def read(window: tuple[int | slice, ...]) -> NDArray[Any]:
        with TiffFile(path) as file:
            return _pages(path, file, series.shape, window, series.pages)

    return boxed_scan(
        path,
        read,
        series.shape,
        series.dtype,
        window=window,
        affine=lps_grid(series.spacing.mm, [0.0] * 3),
        source=SourceInfo(_NAME, _kept(series.spacing), chosen),
        what=_WHAT,
        held=size,
        notes=(*(f"{path} {note}" for note in series.spacing.notes), *left_out),
    )


def _described(path: Path, file: Any) -> _Series:
    series = file.series[0]
    axes, shape = str(series.axes), tuple(int(n) for n in series.shape)
    if len(file.series) > 1:
        raise UserError(
            f"{path} holds {len(file.series)} images of different sizes. Save the one that is to "
            "be segmented as a file of its own."
        )
    if "S" in axes:
        raise UserError(f"{path} holds colours; a study takes grey values only.")
    require_own_pages(path, file)
    spatial = _spatial(path, axes, shape)
    return _Series(shape, spatial, np.dtype(series.dtype), len(series.pages), _spacing(file))


def _kept(spacing: "_Spacing") -> bytes:
    return json.dumps({"calibrated": spacing.calibrated}).encode()


def _calibrated(source: SourceInfo) -> bool:
    return bool(json.loads(source.header or b"{}").get("calibrated", True))


def _require_tiff(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        raise UserError(f"{path} is empty (0 bytes). Copy the file again.")
    if start not in _MAGIC:
        raise UserError(f"{path} is not a TIFF file: it does not start like one.")


def _spatial(path: Path, axes: str, shape: tuple[int, ...]) -> list[int]:
    if axes[-2:] != "YX":
        raise UserError(f"{path} has the axes {axes}; a study takes stacks that end in YX.")
    depth = next((axes.index(letter) for letter in _DEPTH if letter in axes), None)
    plane = [len(shape) - 2, len(shape) - 1]
    if depth is None and len(shape) == 3:
        depth = 0  # a stack whose axis is called time or channel
    return plane if depth is None else [depth, *plane]


def _pages(
    path: Path, file: Any, shape: tuple[int, ...], window: tuple[int | slice, ...], pages: int
) -> NDArray[Any]:
    """The voxels of a window; only its pages are read if each page is one slice."""
    outer = shape[:-2]
    if pages != int(np.prod(outer)):
        return read_series(path, file, shape, window)
    numbers = np.arange(pages).reshape(outer)[window[:-2]]
    found = [file.series[0].pages[int(number)] for number in np.atleast_1d(numbers)]
    read = [read_page(path, page, shape[-2:]) for page in found]
    flat = sum(isinstance(part, slice) for part in window) == 2
    return read[0] if flat else np.stack(read)


def _spacing(file: Any) -> _Spacing:
    if file.is_ome:
        found = _ome_spacing(str(file.ome_metadata))
        if found is not None:
            return found
    page = file.pages[0]
    tags = file.imagej_metadata or {}
    named = str(tags.get("unit", "")).encode().decode("unicode_escape")
    unit, calibrated = MM_PER_UNIT.get(named.lower()), True
    if unit is None:
        number = int(page.tags["ResolutionUnit"].value) if "ResolutionUnit" in page.tags else 1
        unit, calibrated = _RESOLUTION_UNIT_MM.get(number), number == _CENTIMETRES
    depth = float(tags.get("spacing", 0.0) or 0.0)
    steps = [_per_pixel(page, "YResolution"), _per_pixel(page, "XResolution")]
    if unit is None or None in steps:
        return _Spacing([1.0] * 3, False, (_NO_SPACING,))
    plane = [float(step or 1.0) * unit for step in steps]
    told = () if calibrated else ("records dots per inch alone, which are taken as its spacing.",)
    if depth > 0:
        return _Spacing([depth * unit, *plane], calibrated, told)
    return _Spacing([plane[0], *plane], calibrated, (*told, _NO_DEPTH))


def _per_pixel(page: Any, name: str) -> float | None:
    if name not in page.tags:
        return None
    value = page.tags[name].value
    pixels, length = value if isinstance(value, tuple) else (float(value), 1)
    return float(length) / float(pixels) if pixels and length else None


def _ome_spacing(metadata: str) -> _Spacing | None:
    """What OME-XML says; None if it says nothing about pixels in the plane."""
    sizes: dict[str, float] = {}
    strange = ""
    for axis in "ZYX":
        found = re.search(rf'\bPhysicalSize{axis}="([^"]+)"', metadata)
        if found is None:
            continue
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]+)"', metadata)
        name = unescape(unit[1]) if unit else "µm"
        mm = MM_PER_UNIT.get(name.lower())
        if mm is None:
            strange = name
        sizes[axis] = float(found[1]) * (1.0 if mm is None else mm)
    if "Y" not in sizes or "X" not in sizes:
        return None
    if strange:
        note = f"counts its spacing in {strange[:40]}, which is no length; mm is assumed."
        return _Spacing([sizes.get("Z", sizes["Y"]), sizes["Y"], sizes["X"]], False, (note,))
    told = () if "Z" in sizes else (_NO_DEPTH,)
    return _Spacing([sizes.get("Z", sizes["Y"]), sizes["Y"], sizes["X"]], True, told)


FORMAT: Final = PlainFormat(_NAME, _open, calibrated=_calibrated)

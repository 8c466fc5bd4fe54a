"""TIFF stacks: ImageJ, OME and plain ones."""

import re
from dataclasses import dataclass
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
_RESOLUTION_UNIT_MM: Final = {2: 25.4, 3: 10.0}


@dataclass(frozen=True)
class _Series:
    """What must be known about the images in a file before their voxels are read."""

    shape: tuple[int, ...]
    spatial: list[int]
    dtype: np.dtype[Any]
    pages: int
    spacing: list[float]
    note: str


def _open(path: Path, choice: Choice) -> Scan:
    """A stack z y x along the patient's axes (LPS); channels and time points are frames."""
    from tifffile import TiffFile

    with readable(path, _WHAT):
        _require_tiff(path)
        with TiffFile(path) as file:
            series = _described(path, file)
        size = path.stat().st_size
        require_size(path, series.shape, series.dtype.itemsize, size)
        window, chosen = frame_window(path, choice, series.shape, series.spatial)

    def read(window: tuple[int | slice, ...]) -> NDArray[Any]:
        with TiffFile(path) as file:
            return _pages(path, file, series.shape, window, series.pages)

    return boxed_scan(
        path,
        read,
        series.shape,
        series.dtype,
        window=window,
        affine=lps_grid(series.spacing, [0.0] * 3),
        source=SourceInfo(_NAME, b"{}", chosen),
        what=_WHAT,
        held=size,
        notes=(f"{path} {series.note}",) if series.note else (),
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
    spacing, note = _spacing(file)
    return _Series(shape, spatial, np.dtype(series.dtype), len(series.pages), spacing, note)


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


def _spacing(file: Any) -> tuple[list[float], str]:
    """Spacing z y x in mm, and a note about it for the user."""
    if file.is_ome:
        found = _ome_spacing(str(file.ome_metadata))
        if found is not None:
            return found, ""
    page = file.pages[0]
    tags = file.imagej_metadata or {}
    unit = MM_PER_UNIT.get(str(tags.get("unit", "")).encode().decode("unicode_escape").lower())
    if unit is None:
        number = page.tags["ResolutionUnit"].value if "ResolutionUnit" in page.tags else 1
        unit = _RESOLUTION_UNIT_MM.get(int(number))
    depth = float(tags.get("spacing", 0.0) or 0.0)
    steps = [_per_pixel(page, "YResolution"), _per_pixel(page, "XResolution")]
    if unit is None or None in steps:
        return [1.0] * 3, "records no spacing; 1 mm is assumed."
    plane = [float(step or 1.0) * unit for step in steps]
    if depth > 0:
        return [depth * unit, *plane], ""
    return [plane[0], *plane], "records no distance between slices; that between pixels is assumed."


def _per_pixel(page: Any, name: str) -> float | None:
    if name not in page.tags:
        return None
    value = page.tags[name].value
    pixels, length = value if isinstance(value, tuple) else (float(value), 1)
    return float(length) / float(pixels) if pixels and length else None


def _ome_spacing(metadata: str) -> list[float] | None:
    spacing: list[float] = []
    for axis in "ZYX":
        found = re.search(rf'\bPhysicalSize{axis}="([^"]+)"', metadata)
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]+)"', metadata)
        if found is None and axis == "Z" and spacing == []:
            spacing.append(0.0)
            continue
        if found is None:
            return None
        spacing.append(float(found[1]) * MM_PER_UNIT.get(unit[1] if unit else "µm", 1e-3))
    return [spacing[0] or spacing[1], *spacing[1:]]


FORMAT: Final = PlainFormat(_NAME, _open)

"""Medical images in napari's open dialog and by drag and drop, where the patient is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_mlbseg.formats.registry import Choice, format_of, open_image, open_labels
from napari_mlbseg.formats.scan import Scan
from napari_mlbseg.volume import AXIS_NAMES

LayerData = tuple[Any, dict[str, Any], str]

_NOT_OURS = {"tiff", None}
"""napari opens TIFF files itself."""


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """A reader of medical images, or None for anything else; looks at a few bytes at most."""
    paths = [Path(p) for p in ([path] if isinstance(path, str) else path)]
    ours = all(p.suffix != ".mlbseg" and format_of(p) not in _NOT_OURS for p in paths)
    return read if paths and ours else None


def read(path: str | list[str]) -> list[LayerData]:
    """Layers in the display frame: an image for each file or series, labels for segmentations."""
    paths = [Path(p) for p in ([path] if isinstance(path, str) else path)]
    return [layer for each in paths for layer in _layers(each)]


def _layers(path: Path) -> list[LayerData]:
    if format_of(path) != "dicom":
        return [_layer(path.name, open_image(path), "image")]
    from napari_mlbseg.formats.dicom import holds_segmentation, series_in

    if holds_segmentation(path):
        return [_layer(path.name, open_labels(path), "labels")]
    names = [series.name for series in series_in(path)]
    return [
        _layer(
            path.name if len(names) == 1 else f"{path.name} {name}",
            open_image(path, Choice(series=name)),
            "image",
        )
        for name in names
    ]


def _layer(name: str, scan: Scan, kind: str) -> LayerData:
    volume = scan.volume()
    placed = {
        "name": name,
        "scale": volume.geometry.spacing_mm,
        "translate": volume.geometry.origin_mm,
        "units": ("mm", "mm", "mm"),
        "axis_labels": AXIS_NAMES,
        # Oblique volumes are shown along their own axes; this is where they truly lie.
        "metadata": {"affine_ras_mm": volume.geometry.display_affine.tolist()},
    }
    return volume.voxels, placed, kind

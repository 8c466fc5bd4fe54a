"""Open medical images with napari's open dialog or by drag and drop, in patient coordinates."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import napari

from napari_mlbseg.formats.dicom.sniff import begins_with_dicom
from napari_mlbseg.formats.registry import (
    Choice,
    format_of,
    is_ome_zarr,
    open_image,
    open_labels,
)
from napari_mlbseg.formats.scan import Scan
from napari_mlbseg.project.importing.offers import Offer, offers_of, several
from napari_mlbseg.volume import AXIS_NAMES

# A reader with nothing to show returns one entry, None.
LayerData = tuple[Any, ...]

_NOT_OURS = {"tiff", None}
"""napari opens TIFF files itself."""


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Return a reader of medical images, None for other files; inspects a few bytes at most."""
    paths = [Path(p) for p in ([path] if isinstance(path, str) else path)]
    return read if paths and all(_is_ours(p) for p in paths) else None


def _is_ours(path: Path) -> bool:
    """Whether a path is claimed; of a folder, whatever is in it, no more than a few files tell."""
    if path.suffix == ".mlbseg":
        return False
    if path.is_dir() and not is_ome_zarr(path):
        return begins_with_dicom(path)
    return format_of(path) not in _NOT_OURS


def read(path: str | list[str]) -> list[LayerData]:
    """Return layers in the display frame: images of files or series, labels of segmentations.

    If a path has several series or frames, a dialog asks which to open. Without a window every
    series becomes a layer, and a file with several frames raises an error that says what to do.
    """
    paths = [Path(p) for p in ([path] if isinstance(path, str) else path)]
    return [layer for each in paths for layer in _layers(each)] or [(None,)]


def _layers(path: Path) -> list[LayerData]:
    if format_of(path) == "dicom":
        from napari_mlbseg.formats.dicom.images import contents_of

        if contents_of(path) == (False, True):
            return [_layer(path.name, open_labels(path), "labels")]
    offers = offers_of(path)
    if not several(offers):
        return [_layer(path.name, open_image(path), "image")]
    return [
        _layer(_name(path, choice), open_image(path, choice), "image")
        for choice in _chosen(path, offers)
    ]


def _chosen(path: Path, offers: Sequence[Offer]) -> list[Choice]:
    """The choices ticked in the dialog; without a window, every series."""
    if napari.current_viewer() is None:
        return [Choice(series=offer.series) for offer in offers]
    from napari_mlbseg.widgets.panels.choices_dialog import ChoicesDialog

    dialog = ChoicesDialog(offers)
    return dialog.answer()[path] if dialog.exec() else []


def _name(path: Path, choice: Choice) -> str:
    frame = "" if choice.frame is None else f"frame {choice.frame}"
    return " ".join(part for part in (path.name, choice.series, frame) if part)


def _layer(name: str, scan: Scan, kind: str) -> LayerData:
    volume = scan.volume()
    placed = {
        "name": name,
        "scale": volume.geometry.spacing_mm,
        "translate": volume.geometry.origin_mm,
        "units": ("mm", "mm", "mm"),
        "axis_labels": AXIS_NAMES,
        # Oblique volumes are shown along their own axes; this is their true position.
        "metadata": {"affine_ras_mm": volume.geometry.display_affine.tolist()},
    }
    return volume.voxels, placed, kind

"""The manifest's contributions besides the dock: readers, writers, sample data and commands."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np

from napari_mlbseg.project.rescue_files import RESCUE_SUFFIX
from napari_mlbseg.project.study import Study

LayerData = tuple[Any, dict[str, Any], str]
# A reader returns this after opening something that is not a layer.
_NO_LAYERS: list[Any] = [(None,)]


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[Any]] | None:
    """Return a reader of study folders (``*.mlbseg``) and rescue files, None for other files."""
    first = Path(path if isinstance(path, str) else path[0])
    if first.suffix == RESCUE_SUFFIX and first.is_file():
        return read_rescued
    return read_study if first.suffix == ".mlbseg" and first.is_dir() else None


def read_study(path: str | list[str]) -> list[Any]:
    """Open a study in the dock; without a window, return the layers of its first case."""
    from napari_mlbseg.widgets import dock
    from napari_mlbseg.widgets.case.layers import layer_data

    first = Path(path if isinstance(path, str) else path[0])
    viewer = napari.current_viewer()
    if viewer is not None:
        dock.open_dock(viewer, first)
        return _NO_LAYERS
    with Study.open(first, writable=False) as study:
        return layer_data(study, study.cases[0]) if study.cases else _NO_LAYERS


def read_rescued(path: str | list[str]) -> list[Any]:
    """Offer to restore the edits of a rescue file; without a window, do nothing."""
    from napari_mlbseg.widgets import dock

    viewer = napari.current_viewer()
    if viewer is not None:
        first = Path(path if isinstance(path, str) else path[0])
        dock.open_dock(viewer).rescues.offer_file(first)
    return _NO_LAYERS


def write_labels(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Save a labels layer of a study in the frame of its image.

    Layers without study metadata are left to other plugins.
    """
    from napari_mlbseg.formats.registry import write_labels as write
    from napari_mlbseg.volume import Volume
    from napari_mlbseg.widgets.case.layers import CASE_KEY, STUDY_KEY

    origin = meta.get("metadata", {})
    if STUDY_KEY not in origin or CASE_KEY not in origin:
        return []
    with Study.open(Path(origin[STUDY_KEY]), writable=False) as study:
        case = study.case(origin[CASE_KEY])
    write(Path(path), Volume(np.asarray(data), case.geometry), case.source)
    return [path]


def phantom_case() -> list[LayerData]:
    """Return one phantom with rough labels as plain layers (sample data)."""
    from napari_mlbseg.project.importing.cohort import import_folder
    from napari_mlbseg.samples import make_phantom_cohort
    from napari_mlbseg.widgets.case.layers import layer_data

    with tempfile.TemporaryDirectory(prefix="napari-mlbseg-") as name:
        cohort = make_phantom_cohort(Path(name) / "files", cases=1)
        with Study.create(Path(name) / "phantom.mlbseg") as study:
            (case,) = import_folder(study, cohort.images, cohort.labels).cases
            return layer_data(study, case)


def open_dock(viewer: napari.Viewer) -> None:
    """Show the dock (command)."""
    from napari_mlbseg.widgets import dock

    dock.open_dock(viewer)


def open_study(viewer: napari.Viewer) -> None:
    """Ask for the folder of a study, and open it in the dock (command)."""
    from napari_mlbseg.widgets import dock

    dock.open_dock(viewer).study_panel.ask_open()


def open_phantom_study(viewer: napari.Viewer) -> None:
    """Ask for a folder, and make a study of four phantoms there, or open it again (command)."""
    from napari_mlbseg.widgets import dock

    dock.open_dock(viewer).study_panel.ask_sample()

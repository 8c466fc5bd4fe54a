"""Takes a picture of the real window with a study: ``python scripts/screenshot.py``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import napari
import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QApplication

from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import AXIS_NAMES
from napari_mlbseg.widgets.dock import MLBSegDock, open_dock


def screenshot(
    study: Path,
    picture: Path | None = None,
    *,
    case: str | None = None,
    axis: int | None = None,
    index: int | None = None,
    visible: Sequence[str] = ("image", "prediction", "working labels"),
    size: tuple[int, int] = (1400, 900),
) -> NDArray[np.uint8]:
    """Open a study in a new window, view one slice, and take a picture of the window.

    Parameters
    ----------
    picture
        File to write (PNG), or None.
    case
        Name of the case; by default the first of the study.
    axis, index
        Slice on view in the display frame; by default along the axis of the case, and the slice
        with most foreground.
    visible
        Names of the visible layers.
    size
        Width and height of the window in pixels.

    Returns
    -------
    NDArray
        The picture, rows x columns x RGBA.
    """
    viewer = napari.Viewer(show=True)
    try:
        viewer.window.resize(*size)
        dock = open_dock(viewer)
        dock.workbench.open_study(study, writable=False)
        look_at(dock, case=case, axis=axis, index=index)
        for layer in viewer.layers:
            layer.visible = layer.name in visible
        settle(viewer)
        path = None if picture is None else str(picture)
        return np.asarray(viewer.screenshot(path, canvas_only=False, flash=False))
    finally:
        viewer.close()


def look_at(
    dock: MLBSegDock,
    *,
    case: str | None = None,
    axis: int | None = None,
    index: int | None = None,
) -> None:
    """Bring a case and a slice into view, see `screenshot`."""
    bench = dock.workbench
    if case is not None:
        bench.view.choose(case)
    annotation = bench.annotation
    if annotation is None:
        return
    if axis is not None:
        annotation.show_axis(axis)
    annotation.go_to(_fullest(bench.study, annotation.key.axis, annotation.case.id, index))


def settle(viewer: napari.Viewer) -> None:
    """Let the window arrange its layout, and fit the case into it."""
    for _ in range(10):
        QApplication.processEvents()
    viewer.reset_view()
    for _ in range(10):
        QApplication.processEvents()


def _fullest(study: Study | None, axis: int, case_id: str, index: int | None) -> int:
    if index is not None or study is None:
        return index or 0
    foreground = study.labels.working(case_id) > 0
    counts = foreground.sum(axis=tuple(k for k in range(3) if k != axis))
    return int(counts.argmax()) if counts.any() else len(counts) // 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, help="a folder NAME.mlbseg")
    parser.add_argument("picture", type=Path, help="PNG file to write")
    parser.add_argument("--case", help="name of the case; by default the first")
    parser.add_argument("--axis", choices=AXIS_NAMES, help="axis to look along")
    parser.add_argument("--index", type=int, help="slice in the display frame")
    parser.add_argument("--visible", nargs="+", default=["image", "prediction", "working labels"])
    parser.add_argument("--size", nargs=2, type=int, default=(1400, 900))
    given = parser.parse_args(arguments)
    screenshot(
        given.study,
        given.picture,
        case=given.case,
        axis=None if given.axis is None else AXIS_NAMES.index(given.axis),
        index=given.index,
        visible=given.visible,
        size=(given.size[0], given.size[1]),
    )


if __name__ == "__main__":
    main()

"""The dock's commands in napari's command palette: one function here for each key.

The manifest names them ``napari_mlbseg.widgets.palette:accept`` and so on; they are made when
napari asks for them, so that a new command needs no more than its lines in the manifest.
"""

from collections.abc import Callable

import napari

from napari_mlbseg.widgets.shortcuts import EVERY


def __getattr__(name: str) -> Callable[[napari.Viewer], None]:
    if name not in {command.name for command in EVERY}:
        raise AttributeError(f"no command is called {name!r}")

    def run(viewer: napari.Viewer) -> None:
        from napari_mlbseg.widgets.dock import open_dock

        open_dock(viewer).run(name)

    return run

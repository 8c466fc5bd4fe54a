"""``mlbseg``: the engine without a window."""

from napari_mlbseg.cli.app import app, main

__all__ = ["app", "main"]

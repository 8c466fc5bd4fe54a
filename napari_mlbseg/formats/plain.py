"""Formats in which one function reads both images and labels, and another writes both."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_mlbseg.formats.scan import Forms, Scan, finite_only, whole_numbers
from napari_mlbseg.formats.source import Choice, SourceInfo
from napari_mlbseg.volume import Geometry, Volume

Write = Callable[[Path, Volume, SourceInfo, np.dtype[Any]], None]
"""Writes a volume with voxels of a type; the source may belong to another format."""

LABEL = np.dtype(np.uint8)
MAP = np.dtype("<f4")


@dataclass(frozen=True)
class PlainFormat:
    """A format whose files hold one array: an image, labels or a map.

    Attributes
    ----------
    opens
        Opens the numbers as stored.
    writes
        Writes numbers; None if cases of this format are exported in another format.
    calibrated
        Whether a kept header says how large the voxels are.
    """

    name: str
    opens: Callable[[Path, Choice], Scan]
    writes: Write | None = None
    calibrated: Callable[[SourceInfo], bool] = lambda _: True

    def open_image(self, path: Path, choice: Choice) -> Scan:
        """The image, checked to be finite; raises `UserError` that names the file."""
        return finite_only(path, self.opens(path, choice))

    def open_labels(self, path: Path, choice: Choice) -> Scan:
        """Labels as uint8; raises `UserError` that names the file."""
        return whole_numbers(path, self.opens(path, choice))

    def forms(self, source: SourceInfo, geometry: Geometry) -> Forms:
        """Whether the header says how large the voxels are; it places them in one way only."""
        return Forms(calibrated=self.calibrated(source))

"""Pictures of the planes across the slice on view: arrays in, red, green and blue out."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.widgets.case.carried import Limits

PLANES = ("axial", "coronal", "sagittal")
"""What slices along each display axis (0 z, 1 y, 2 x) are called."""

_OPACITY = 0.4


def color_table(classes: Iterable[LabelClass], hidden: Iterable[int]) -> NDArray[np.float32]:
    """Return red, green, blue (0 to 255) and opacity (0 to 1) for each label."""
    table = np.zeros((256, 4), np.float32)
    for one in classes:
        if one.value not in set(hidden):
            table[one.value] = (*one.color, _OPACITY)
    return table


def picture(
    image: NDArray[np.number], limits: Limits, labels: NDArray[np.uint8], table: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Return a slice (rows columns) in grey levels, with its labels over it (rows columns 3)."""
    low, high = limits
    shades = np.clip((np.nan_to_num(image.astype(np.float32)) - low) / (high - low), 0, 1) * 255
    color = table[labels]
    share = color[..., 3:]
    mixed = shades[..., None] * (1 - share) + color[..., :3] * share
    return np.asarray(mixed, np.uint8)


def as_seen(axis: int, rows: int, row: int) -> int:
    """Return the row from the top of a slice along an axis: superior is at the top.

    Its own inverse.

    >>> as_seen(1, 10, 0), as_seen(0, 10, 0)
    (9, 0)
    """
    return row if axis == 0 else rows - 1 - row

"""Views of an image that predictions are averaged over, as matrices. Needs numpy only.

Mirrored and zoomed views move rows and columns independently, so that one matrix for each is
enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.standalone.sampling import Matrix, linear

_SCALES = {
    "flip_x": (1.0, -1.0),
    "flip_y": (-1.0, 1.0),
    "zoom_in": (0.8, 0.8),
    "zoom_out": (1.25, 1.25),
}
"""Distance from the centre in the image divided by that in the view, for rows and columns."""
_WHOLLY = 0.999


@dataclass(frozen=True)
class View:
    """One view of images of one size.

    Attributes
    ----------
    rows, columns
        Matrices from the image to the view; beyond the edge the border is repeated.
    rows_back, columns_back
        Matrices from the view back to the image.
    known
        1 where the view saw the pixel of the image, otherwise 0, ``rows columns``.
    """

    rows: Matrix
    columns: Matrix
    rows_back: Matrix
    columns_back: Matrix
    known: Matrix


def other_views(names: Sequence[str], size: tuple[int, int]) -> list[View]:
    """The views of these names, except for the image itself (``identity``)."""
    return [_view(*_SCALES[name], size) for name in names if name != "identity"]


def _view(scale_y: float, scale_x: float, size: tuple[int, int]) -> View:
    scaled = list(zip(size, (scale_y, scale_x), strict=True))
    there = [linear(_moved(n, scale), n).astype(np.float32) for n, scale in scaled]
    back = [linear(_moved(n, 1 / scale), n).astype(np.float32) for n, scale in scaled]
    share_y, share_x = (_share_inside(_moved(n, 1 / scale), n) for n, scale in scaled)
    known = np.outer(share_y, share_x) > _WHOLLY  # no part of the value comes from beyond the edge
    return View(there[0], there[1], back[0], back[1], known.astype(np.float32))


def _moved(count: int, scale: float) -> NDArray[np.float64]:
    middle = (count - 1) / 2
    moved: NDArray[np.float64] = (np.arange(count, dtype=np.float64) - middle) * scale + middle
    return moved


def _share_inside(positions: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The share of a position's interpolation weights that falls on pixels inside the image."""
    share: NDArray[np.float64] = 1 - np.maximum(-positions, positions - (count - 1)).clip(0, 1)
    return share

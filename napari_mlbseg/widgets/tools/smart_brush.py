"""The smart brush: of the disc under the cursor, what looks like its centre and hangs on to it."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Intensities = NDArray[np.float32]
Indices = tuple[NDArray[np.int64], NDArray[np.int64]]

_SPREADS = 2.5
"""How many standard deviations an intensity may lie from that of the centre."""
_LEFT_OF_NOISE = 0.6
"""What the median leaves of noise, with a little to spare."""
_LEAST_SHARE = 0.02
"""The least distance that is allowed, as a share of the range of intensities under the brush."""


def smart_dab(
    image: NDArray[np.generic],
    centre: tuple[int, int],
    radius_mm: float,
    spacing_mm: tuple[float, float],
) -> Indices:
    """Return the pixels of a dab: connected to the centre, and of nearly its intensity.

    How near is measured by the spread of the intensities next to the centre, and by the noise under
    the brush. A median over 3 x 3 pixels takes most noise out and leaves edges where they are.

    Parameters
    ----------
    image
        Intensities of a slice (y x).
    centre
        The pixel (y x) under the cursor; it may lie outside the slice, then there is no dab.
    radius_mm
        The radius of the brush.
    spacing_mm
        The sides (y x) of a pixel.

    Returns
    -------
    tuple
        Rows and columns.
    """
    if not all(0 <= c < n for c, n in zip(centre, image.shape, strict=True)):
        nothing = np.zeros(0, np.int64)
        return nothing, nothing
    reach = [int(radius_mm / side) for side in spacing_mm]
    first = [max(c - r, 0) for c, r in zip(centre, reach, strict=True)]
    box = tuple(
        slice(a, c + r + 1) for a, c, r in zip(first, centre, reach, strict=True)
    )  # beyond the end a slice is cut off
    under = np.asarray(image[box], np.float32)
    calm = ndimage.median_filter(under, 3, mode="nearest")
    y, x = middle = centre[0] - first[0], centre[1] - first[1]
    usual = float(np.median(_around(calm, middle, 1)))
    away = np.abs(calm - usual)
    spread = max(_spread(_around(away, middle, 2)), _LEFT_OF_NOISE * _noise(under))
    like = away <= max(_SPREADS * spread, _LEAST_SHARE * float(np.ptp(calm)))
    like[y, x] = True
    like &= _disc(calm.shape, middle, radius_mm, spacing_mm)
    parts, _ = ndimage.label(like)
    rows, columns = np.nonzero(parts == parts[y, x])
    return rows + first[0], columns + first[1]


def _around(values: Intensities, middle: tuple[int, int], reach: int) -> Intensities:
    y, x = middle
    return values[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]


def _spread(distances: Intensities) -> float:
    """The standard deviation of intensities by their distances from the middle, most of them."""
    return 1.4826 * float(np.median(distances))


def _noise(values: Intensities) -> float:
    """The standard deviation of noise, by how neighbours differ; edges are few and do not count."""
    steps = [np.abs(np.diff(values, axis=axis)).ravel() for axis in (0, 1)]
    both = np.concatenate(steps)
    return _spread(both) / 2**0.5 if both.size else 0.0


def _disc(
    shape: tuple[int, ...],
    middle: tuple[int, int],
    radius_mm: float,
    spacing_mm: tuple[float, float],
) -> Mask:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    down, across = (rows - middle[0]) * spacing_mm[0], (columns - middle[1]) * spacing_mm[1]
    return np.asarray(down**2 + across**2 <= radius_mm**2)

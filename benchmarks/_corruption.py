"""Wrong labels by the recipe of L2B (Zhou et al., arXiv 2202.04291), slice by slice.

A share of the slices gets wrong labels: the mask is rotated by up to 20 degrees, eroded or dilated
by a square of 7 to 35 pixels, and half of them are replaced by the ellipse around them. The
other slices keep their true labels. "40 % of the training data" are read as 40 % of the slices that
show something in every case, because the recipe works on slices; not as 40 % of the cases.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

MOST_DEGREES = 20.0
SIDES, CHANCES = (7, 14, 21, 28, 35), (0.1, 0.1, 0.3, 0.2, 0.3)
ELLIPSE_CHANCE = 0.5
FEWEST_PIXELS = 5

Mask = NDArray[np.bool_]


def corrupt_volume(
    labels: NDArray[np.uint8], axis: int, *, share: float, seed: int
) -> NDArray[np.uint8]:
    """Corrupt `share` of the non-empty slices along `axis`; every class on its own."""
    generator = np.random.default_rng(seed)
    slices = np.moveaxis(labels.copy(), axis, 0)
    shown = np.flatnonzero(slices.any(axis=(1, 2)))
    chosen = generator.choice(shown, size=round(share * len(shown)), replace=False)
    for index in sorted(chosen.tolist()):
        truth = slices[index].copy()
        slices[index] = 0
        for value in np.unique(truth[truth > 0]):
            slices[index][corrupt_mask(truth == value, generator)] = value
    return np.moveaxis(slices, 0, axis)


def corrupt_mask(mask: Mask, generator: np.random.Generator) -> Mask:
    """One mask rotated, dilated or eroded, and perhaps replaced by an ellipse; it may vanish."""
    turned = _turned(mask, generator.uniform(-MOST_DEGREES, MOST_DEGREES))
    square = np.ones((generator.choice(SIDES, p=CHANCES),) * 2, dtype=bool)
    change = ndimage.binary_erosion if generator.random() < 0.5 else ndimage.binary_dilation
    changed = np.asarray(change(turned, square))
    if generator.random() < ELLIPSE_CHANCE and changed.sum() >= FEWEST_PIXELS:
        return bounding_ellipse(changed)
    return changed


def bounding_ellipse(mask: Mask) -> Mask:
    """The ellipse that fills the upright box around a mask."""
    ranges = [np.flatnonzero(mask.any(axis=1 - axis)) for axis in (0, 1)]
    grid = np.indices(mask.shape).astype(float)
    far = [
        ((grid[axis] - (found[0] + found[-1]) / 2) / ((found[-1] - found[0] + 1) / 2)) ** 2
        for axis, found in enumerate(ranges)
    ]
    return np.asarray(far[0] + far[1] <= 1)


def _turned(mask: Mask, degrees: float) -> Mask:
    """The mask rotated about its own centre, so that it stays in place."""
    if not mask.any():
        return mask
    centre = np.argwhere(mask).mean(axis=0)
    angle = np.deg2rad(degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = ndimage.affine_transform(
        mask.astype(np.uint8), matrix, offset=centre - matrix @ centre, order=0
    )
    return np.asarray(found > 0)

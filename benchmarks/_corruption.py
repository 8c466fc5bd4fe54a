"""Wrong labels as they come from rough tools: the recipe of L2B (Zhou et al. 2022)."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import draw, measure

SIDES = (7, 14, 21, 28, 35)
"""In pixels, of the square that erodes or dilates."""
CHANCES = (0.1, 0.1, 0.3, 0.2, 0.3)
MOST_DEGREES = 20.0


def spoilt(
    labels: NDArray[np.uint8], rng: np.random.Generator, *, share: float
) -> NDArray[np.uint8]:
    """Labels (z y x) with that share of the slices along the first axis spoilt."""
    found = labels.copy()
    for index in np.flatnonzero(rng.random(len(labels)) < share):
        found[index] = spoilt_slice(labels[index], rng)
    return found


def spoilt_slice(labels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Every class of a slice (y x) rotated, grown or shrunk, and perhaps made an ellipse."""
    found = np.zeros_like(labels)
    for value in np.unique(labels[labels > 0]):
        found[_spoilt_mask(labels == value, rng)] = value
    return found


def _spoilt_mask(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    turned = ndimage.rotate(
        mask.astype(np.uint8), rng.uniform(-MOST_DEGREES, MOST_DEGREES), reshape=False, order=0
    )
    square = (int(rng.choice(SIDES, p=CHANCES)),) * 2
    grown = rng.random() < 0.5
    change = ndimage.grey_dilation if grown else ndimage.grey_erosion
    changed: NDArray[np.bool_] = change(turned, size=square) > 0
    if not changed.any():  # eroded away altogether
        changed = turned > 0
    return _ellipse(changed) if rng.random() < 0.5 and changed.any() else changed


def _ellipse(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The ellipse with the moments of the largest part of a mask."""
    largest = max(measure.regionprops(measure.label(mask)), key=lambda region: region.area)
    rows, columns = draw.ellipse(
        *largest.centroid,
        max(largest.axis_major_length / 2, 1),
        max(largest.axis_minor_length / 2, 1),
        shape=mask.shape,
        rotation=largest.orientation,
    )
    found = np.zeros_like(mask)
    found[rows, columns] = True
    return found

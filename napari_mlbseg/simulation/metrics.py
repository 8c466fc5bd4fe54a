"""How close labels are to the truth over whole volumes; MONAI computes all distances."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_surface_dice,
)
from numpy.typing import NDArray
from scipy import ndimage

TOLERANCE_MM = 1.0

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Scores:
    """Agreement of one class in one volume, or the mean over volumes.

    `empty` counts empty predictions of a class that is present.
    """

    dice: float
    surface_dice_1mm: float
    hd95_mm: float
    assd_mm: float
    empty: int


def score(found: Mask, truth: Mask, spacing_mm: tuple[float, float, float]) -> Scores | None:
    """Scores of a mask (z y x); None if both masks are empty.

    If only one is empty, there is no surface to measure to: that counts as a failure, with Dice and
    surface Dice 0 and the diagonal of the volume as both distances.
    """
    if not found.any() and not truth.any():
        return None
    if not found.any() or not truth.any():
        lengths = np.array(found.shape) * np.array(spacing_mm)
        diagonal = float(np.linalg.norm(lengths))
        return Scores(0.0, 0.0, diagonal, diagonal, empty=int(truth.any()))
    box = _box_around(found | truth)
    # A border of background, so that a mask at the end of the volume has a surface there, too.
    a, b = (torch.from_numpy(np.pad(m[box], 1))[None, None].float() for m in (found, truth))
    spacing = list(spacing_mm)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI warns about its optional packages
        surface = compute_surface_dice(
            a, b, [TOLERANCE_MM], include_background=True, spacing=spacing, use_subvoxels=True
        )
        hd95 = compute_hausdorff_distance(
            a, b, include_background=True, percentile=95, spacing=spacing
        )
        assd = compute_average_surface_distance(
            a, b, include_background=True, symmetric=True, spacing=spacing
        )
    return Scores(float(compute_dice(a, b)), float(surface), float(hd95), float(assd), empty=0)


def dice(found: Mask, truth: Mask) -> float | None:
    """Dice of a mask (z y x); None if both masks are empty."""
    size = int(found.sum()) + int(truth.sum())
    return 2 * int((found & truth).sum()) / size if size else None


def largest_piece(mask: Mask) -> Mask:
    """The largest piece of a mask; voxels hang together by faces, edges and corners."""
    pieces, count = ndimage.label(mask, np.ones((3, 3, 3)))
    if count < 2:
        return mask
    sizes = np.bincount(pieces.ravel())
    return np.asarray(pieces == 1 + int(sizes[1:].argmax()))


def mean_scores(scores: Iterable[Scores | None]) -> Scores | None:
    """Means over the volumes that have scores, and the number of empty ones; None without any."""
    known = [s for s in scores if s is not None]
    if not known:
        return None
    return Scores(
        dice=fmean(s.dice for s in known),
        surface_dice_1mm=fmean(s.surface_dice_1mm for s in known),
        hd95_mm=fmean(s.hd95_mm for s in known),
        assd_mm=fmean(s.assd_mm for s in known),
        empty=sum(s.empty for s in known),
    )


def _box_around(mask: Mask) -> tuple[slice, ...]:
    ranges = []
    for axis in range(mask.ndim):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        shown = np.flatnonzero(mask.any(axis=others))
        ranges.append(slice(int(shown[0]), int(shown[-1]) + 1))
    return tuple(ranges)

"""The volume of a file: its orientation, and the standardisation of its intensities.

Needs numpy only.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAME_SPACING = 1.01

# Slices are shown z to superior, y to posterior, x to the patient's left.
_RAS_AXES = (2, 1, 0)
_RAS_SIGNS = (1.0, -1.0, -1.0)

Shape = tuple[int, ...]
Grids = NDArray[np.float32]
Labels = NDArray[np.uint8]
Image = NDArray[Any] | Sequence[NDArray[Any]]
"""The array of a file, or one for each channel of an image; zeros for one that is missing."""
Model = Callable[[Grids], Grids]
"""From ``batch channels *space`` on the grid to ``batch classes *space``."""


@dataclass(frozen=True)
class Preparation:
    """All that is fixed when the model is exported.

    Attributes
    ----------
    size, resolution_mm
        What the network sees at once in pixels, and their width: rows and columns for a network of
        slices; layers across the slice axis, rows and columns of a patch for a network of volumes.
        The number of values tells the two apart.
    channels
        Number of channels: for each channel of the image, a slice and its neighbours in order along
        the slice axis, or a volume; then its initial labels.
    class_values
        The label of each class of the network; the first is the background.
    axis
        The axis across which a volume is cut: ``z``, ``y`` or ``x``, or ``largest_spacing``.
    percentiles
        The percentiles to which the intensities of a volume are clipped.
    label_channels
        How many of the channels, the last ones, hold initial labels, see `as_channels`; one for
        each class but the background, or 0 for a network that does not see them.
    channel_names
        The channels of an image in their order, such as T1 and FLAIR.
    """

    size: tuple[int, ...]
    resolution_mm: tuple[float, ...]
    channels: int
    class_values: tuple[int, ...]
    axis: str
    percentiles: tuple[float, float]
    label_channels: int = 0
    channel_names: tuple[str, ...] = ("image",)

    @property
    def image_channels(self) -> int:
        """Number of channels that hold the image."""
        return self.channels - self.label_channels

    @property
    def slices(self) -> int:
        """How many neighbouring slices the network sees of each channel; 1 for volumes."""
        return self.image_channels // len(self.channel_names)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Preparation":
        """From plain data, as JSON holds it."""
        plain: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**plain)


@dataclass(frozen=True)
class Layout:
    """How a volume is cut into slices.

    Attributes
    ----------
    order
        The axes of the file's array that run across the slices, across rows and across columns.
    flipped
        For each of them, whether it runs against the file's order.
    spacing_mm
        Distance between neighbouring slices, rows and columns.
    shape
        Number of slices, rows and columns.
    """

    order: tuple[int, int, int]
    flipped: tuple[bool, ...]
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]

    def stack(self, volume: NDArray[Any]) -> NDArray[Any]:
        """The file's array as ``slices rows columns``, not copied."""
        return volume.transpose(self.order)[self._flips()]

    def unstack(self, slices: NDArray[Any]) -> NDArray[Any]:
        """The inverse of `stack`."""
        return slices[self._flips()].transpose(tuple(np.argsort(self.order)))

    def _flips(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1) if f else slice(None) for f in self.flipped)


def layout_of(shape: tuple[int, ...], affine: NDArray[Any], axis: str) -> Layout:
    """Cut a volume whose ``affine`` maps indices of the file's array to RAS positions in mm."""
    if len(shape) != 3:
        raise ValueError(f"expected a volume of three axes, got the shape {tuple(shape)}")
    columns = np.asarray(affine, dtype=np.float64)[:3, :3]
    axes = _anatomical(columns)
    down = [bool(columns[_RAS_AXES[k], axes[k]] * _RAS_SIGNS[k] < 0) for k in range(3)]
    spacing = [float(np.linalg.norm(columns[:, a])) for a in axes]
    across = _slice_axis(axis, spacing, axes)
    rows, cols = (k for k in range(3) if k != across)
    picked = (across, rows, cols)
    return Layout(
        (axes[across], axes[rows], axes[cols]),
        tuple(down[k] for k in picked),
        (spacing[across], spacing[rows], spacing[cols]),
        (shape[axes[across]], shape[axes[rows]], shape[axes[cols]]),
    )


def volumes_of(image: Image, preparation: Preparation) -> list[NDArray[Any]]:
    """The volumes of the channels of an image; ValueError unless they are those of the model."""
    is_one = isinstance(image, np.ndarray) and image.ndim == 3
    volumes: list[NDArray[Any]] = list(np.asarray(image)[None]) if is_one else list(image)
    names = preparation.channel_names
    if len(volumes) != len(names):
        raise ValueError(
            f"this model takes {len(names)} channels, in this order: {', '.join(names)}; but got "
            f"{len(volumes)}"
        )
    shapes = {volume.shape for volume in volumes}
    if len(shapes) > 1:
        raise ValueError(f"the channels of an image have one shape, but got {sorted(shapes)}")
    return volumes


def as_channels(
    initial_labels: NDArray[Any] | None, shape: Shape, preparation: Preparation
) -> Grids:
    """Initial labels as ``label_channels *shape``: 1 inside of a class, -1 outside, 0 unknown.

    Without labels (None) they are unknown everywhere.
    """
    found: Grids = np.zeros((preparation.label_channels, *shape), dtype=np.float32)
    if initial_labels is not None:
        for channel, value in zip(found, preparation.class_values[1:], strict=False):
            channel[:] = np.where(initial_labels == value, 1, -1)
    return found


def require_alike(
    shape: Shape,
    affine: NDArray[Any],
    other_shape: Shape,
    other_affine: NDArray[Any],
    what: str = "the initial labels",
) -> None:
    """Raise a ValueError unless labels, or another channel, lie on the voxels of their image."""
    if shape != other_shape or not np.allclose(affine, other_affine, atol=1e-3):
        raise ValueError(
            f"{what} ({other_shape}) do not lie on the voxels of the image ({shape}); "
            "resample them to the image first"
        )


def normalised(slices: NDArray[Any], scale: tuple[float, float, float, float]) -> Grids:
    """Clipped to ``low`` and ``high``, minus ``mean``, divided by ``std``."""
    low, high, mean, std = scale
    clipped = np.clip(slices.astype(np.float32), low, high)
    return np.asarray((clipped - mean) / std, dtype=np.float32)


def scale_of(
    volume: NDArray[Any], percentiles: tuple[float, float]
) -> tuple[float, float, float, float]:
    """Two percentiles of a volume, and mean and standard deviation when clipped to them.

    If both percentiles agree, almost everything is background, and the extremes are taken.
    """
    if volume.dtype.kind == "f" and not np.isfinite(volume).all():
        raise ValueError("the image holds voxels that are not finite")
    low, high = _percentiles(volume, percentiles)
    if low == high:
        low, high = float(volume.min()), float(volume.max())
    total = squares = 0.0
    for part in volume:
        shifted = np.clip(part.astype(np.float64), low, high) - low
        total += float(shifted.sum())
        squares += float(np.square(shifted).sum())
    mean = total / volume.size
    std = float(np.sqrt(max(0.0, squares / volume.size - mean**2)))
    return low, high, low + mean, std if std > 0 else 1.0


def _anatomical(columns: NDArray[np.float64]) -> tuple[int, ...]:
    """The file's axes that are closest to z, y and x."""
    lengths = np.linalg.norm(columns, axis=0)
    cosines = np.abs(columns / np.where(lengths > 0, lengths, 1.0))
    return max(
        permutations(range(3)),
        key=lambda axes: sum(cosines[_RAS_AXES[k], axes[k]] for k in range(3)),
    )


def _slice_axis(axis: str, spacing: list[float], axes: tuple[int, ...]) -> int:
    if axis != "largest_spacing":
        return "zyx".index(axis)
    if max(spacing) <= SAME_SPACING * min(spacing):
        return axes.index(2)
    return int(np.argmax(spacing))


def _percentiles(volume: NDArray[Any], percents: tuple[float, float]) -> tuple[float, float]:
    """Linear between neighbours, in double precision whatever the type of the voxels."""
    places = [(volume.size - 1) * (percent / 100) for percent in percents]
    ranks = [min(int(place) + k, volume.size - 1) for place in places for k in (0, 1)]
    ordered = np.partition(volume, ranks, axis=None)
    low, high = (
        float(ordered[a]) + (float(ordered[b]) - float(ordered[a])) * (place - int(place))
        for place, a, b in zip(places, ranks[::2], ranks[1::2], strict=True)
    )
    return low, high

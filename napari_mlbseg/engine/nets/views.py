"""Views of a slice (or volume), with their inverses; predictions should not depend on the view."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from napari_mlbseg.engine.nets.labels import IGNORE
from napari_mlbseg.engine.nets.sampling import Matrices, compose, invert, normalised, sample


@dataclass(frozen=True)
class View:
    """An invertible in-plane map; `linear` acts on positions (x, y) in pixels from the centre.

    It is the same for all planes of a volume.
    """

    name: str
    linear: tuple[tuple[float, float], tuple[float, float]]

    def matrix(self, dtype: torch.dtype) -> Matrices:
        """``1 2 3``: matrix from positions in the view to positions in the original; on the CPU."""
        linear = torch.tensor(self.linear, dtype=dtype)
        return torch.cat([linear, linear.new_zeros(2, 1)], dim=1)[None]


def _rotation(degrees: float) -> tuple[tuple[float, float], tuple[float, float]]:
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return (cosine, -sine), (sine, cosine)


VIEWS = {
    view.name: view
    for view in (
        View("identity", ((1.0, 0.0), (0.0, 1.0))),
        View("flip_x", ((-1.0, 0.0), (0.0, 1.0))),
        View("flip_y", ((1.0, 0.0), (0.0, -1.0))),
        View("zoom_in", ((0.8, 0.0), (0.0, 0.8))),
        View("zoom_out", ((1.25, 0.0), (0.0, 1.25))),
        View("rotate_left", _rotation(-10.0)),
        View("rotate_right", _rotation(10.0)),
    )
}
IDENTITY = VIEWS["identity"]


def averaged_views(names: Iterable[str]) -> list[View]:
    """Choose the views that predictions are averaged over from those that make pseudo labels.

    These are the identity view and the zoomed and mirrored ones; rotated views add nothing to
    zoomed ones (docs/results.md).
    """
    others = [VIEWS[name] for name in names if name.startswith(("zoom", "flip"))]
    return [IDENTITY, *others]


def apply_view(
    view: View, images: Float[Tensor, "batch channels *space"]
) -> Float[Tensor, "batch channels *space"]:
    """Map images into a view; outside the image the border is repeated."""
    if view == IDENTITY:
        return images
    return _seen(images, source=IDENTITY, target=view)


def apply_view_to_labels(
    view: View, labels: Int[Tensor, "batch *space"], like: Float[Tensor, "batch channels *space"]
) -> Int[Tensor, "batch *space"]:
    """Map labels into a view; `IGNORE` outside the image."""
    if view == IDENTITY:
        return labels
    shifted = (labels - IGNORE).unsqueeze(1).to(like.dtype)
    seen = _seen(shifted, source=IDENTITY, target=view, mode="nearest", padding="zeros")
    return seen.squeeze(1).round().long() + IGNORE


def carry(
    maps: Float[Tensor, "batch channels *space"], *, source: View, target: View
) -> tuple[Float[Tensor, "batch channels *space"], Float[Tensor, "batch 1 *space"]]:
    """Map from one view into another; also returns where the maps are known (1) or not (0)."""
    if source == target:
        return maps, torch.ones_like(maps[:, :1])
    plane = maps.new_ones(1, 1, *maps.shape[-2:])
    inside = _seen(plane, source=source, target=target, padding="zeros")
    known = (inside > 0.999).to(maps.dtype)  # no part of the value comes from the padding
    seen = _seen(maps, source=source, target=target)
    return seen, known.expand(len(maps), 1, *maps.shape[2:])


def _seen(
    maps: Float[Tensor, "batch channels *space"],
    *,
    source: View,
    target: View,
    mode: str = "bilinear",
    padding: str = "border",
) -> Float[Tensor, "batch channels *space"]:
    """Resample maps from one view to another.

    The planes of a volume are treated as channels, which is eight times faster on a CPU.
    """
    planes = maps.flatten(1, -3)
    size = tuple(planes.shape[-2:])
    placed = _placed(source, target, size, maps.dtype, maps.device).expand(len(maps), 2, 3)
    return sample(planes, placed, size, mode=mode, padding=padding).reshape(maps.shape)


@lru_cache(maxsize=256)
def _placed(
    source: View, target: View, size: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Matrices:
    """``1 2 3``: matrix from target to source; on the device, because every step needs it."""
    matrix = compose(invert(source.matrix(dtype)), target.matrix(dtype))
    return normalised(matrix, size, size).to(device)

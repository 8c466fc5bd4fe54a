"""Views of a slice (or volume) that a prediction should not depend on, with their inverses."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from napari_mlbseg.engine.nets.sampling import Matrices, compose, invert, resample, resample_labels


@dataclass(frozen=True)
class View:
    """An invertible in-plane map; `linear` acts on positions (x, y) in pixels from the centre.

    In three dimensions the third axis stays as it is.
    """

    name: str
    linear: tuple[tuple[float, float], tuple[float, float]]

    def matrix(self, like: Tensor) -> Matrices:
        """``1 dims dims+1``: from positions in the view to positions in the original."""
        dims = like.ndim - 2
        matrix = torch.eye(dims, dims + 1, dtype=like.dtype, device=like.device)
        matrix[:2, :2] = torch.tensor(self.linear, dtype=like.dtype, device=like.device)
        return matrix[None]


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


def averaged_views(names: Iterable[str]) -> list[View]:
    """The views that predictions are averaged over, of those that pseudo labels are made with.

    The image itself, zoomed and mirrored; what turning it adds to zooming is nothing
    (docs/results.md).
    """
    others = [VIEWS[name] for name in names if name.startswith(("zoom", "flip"))]
    return [VIEWS["identity"], *others]


def apply_view(
    view: View, images: Float[Tensor, "batch channels *space"]
) -> Float[Tensor, "batch channels *space"]:
    """The images as the view shows them; beyond their edge the border goes on."""
    return resample(images, _repeated(view.matrix(images), images), tuple(images.shape[2:]))


def apply_view_to_labels(
    view: View, labels: Int[Tensor, "batch *space"], like: Float[Tensor, "batch channels *space"]
) -> Int[Tensor, "batch *space"]:
    """The labels as the view shows them; `IGNORE` beyond their edge."""
    return resample_labels(labels, _repeated(view.matrix(like), like), tuple(labels.shape[1:]))


def carry(
    maps: Float[Tensor, "batch channels *space"], *, source: View, target: View
) -> tuple[Float[Tensor, "batch channels *space"], Float[Tensor, "batch 1 *space"]]:
    """Maps seen in one view as another view sees them, and where they are known (1) or not (0)."""
    matrix = compose(invert(source.matrix(maps)), target.matrix(maps))
    size = tuple(maps.shape[2:])
    carried = resample(maps, _repeated(matrix, maps), size)
    inside = resample(torch.ones_like(maps[:1, :1]), matrix, size, padding="zeros")
    known = (inside > 0.999).to(maps.dtype)  # no part of the value comes from the padding
    return carried, known.expand(len(maps), *known.shape[1:])


def _repeated(matrix: Tensor, like: Tensor) -> Tensor:
    return matrix.expand(len(like), *matrix.shape[1:])

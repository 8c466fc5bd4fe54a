"""The network averaged over views, as it makes predictions. Needs torch and numpy."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_mlbseg.standalone.views import other_views


class ViewAveraged(nn.Module):
    """Class probabilities, averaged over an image and other views of it.

    A view does not count where it does not see the image: zooming in hides the border.

    Parameters
    ----------
    network
        From ``batch channels *space`` to logits ``batch classes *space``.
    views
        ``identity``, the image itself, and some of ``zoom_in``, ``zoom_out``, ``flip_x`` and
        ``flip_y``. They act on rows and columns, the last two axes.
    size
        The size of these two axes.
    """

    seen: Tensor

    def __init__(
        self, network: Callable[..., Any], views: Sequence[str], size: tuple[int, int]
    ) -> None:
        super().__init__()
        self.network = network
        others = other_views(views, size)
        self.count = len(others)
        seen = 1 + sum((view.known for view in others), start=np.zeros(size, np.float32))
        self.register_buffer("seen", torch.from_numpy(seen), persistent=False)
        for k, view in enumerate(others):
            for name, matrix in vars(view).items():
                self.register_buffer(f"{name}_{k}", torch.from_numpy(matrix), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """``batch channels *space`` to probabilities ``batch classes *space``."""
        total: Tensor = self.network(images).softmax(dim=1)
        for k in range(self.count):
            rows, columns, rows_back, columns_back, known = self._view(k)
            found = self.network(rows @ images @ columns.T).softmax(dim=1)
            total = total + (rows_back @ found @ columns_back.T) * known
        return total / self.seen

    def _view(self, k: int) -> list[Tensor]:
        names = ("rows", "columns", "rows_back", "columns_back", "known")
        return [getattr(self, f"{name}_{k}") for name in names]

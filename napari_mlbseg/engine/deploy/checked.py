"""The check of an exported model: its predictions must match the engine's."""

from collections.abc import Callable

import numpy as np
import torch

from napari_mlbseg.engine.deploy.trained import TrainedModel
from napari_mlbseg.errors import UserError
from napari_mlbseg.standalone.image import Grids

TOLERANCE = 1e-4


def require_same(
    trained: TrainedModel, exported: Callable[[Grids], Grids], grids: Grids, what: str
) -> float:
    """The largest difference to the engine's probabilities, for several images and for one.

    Raises
    ------
    UserError
        If the difference is larger than `TOLERANCE`.
    """
    apart = []
    alone = grids[:, :, : trained.preparation.size[0]] if trained.sees_volumes else grids[:1]
    for part in (grids, alone):
        ours = trained.plugin_probabilities(torch.from_numpy(part)).numpy()
        apart.append(np.abs(exported(part) - ours).max())
    worst = float(np.max(apart))
    if not worst <= TOLERANCE:  # true for NaN
        raise UserError(
            f"The {what} model differs from the network by up to {worst:.2g} in probability, more "
            f"than {TOLERANCE:g}; nothing was written. Choose another format."
        )
    return worst

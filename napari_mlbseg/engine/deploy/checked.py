"""An exported model says what the engine says, or there is none."""

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
    """The largest difference of probabilities to the engine's, for several images and for one.

    Raises
    ------
    UserError
        If it is larger than `TOLERANCE`.
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

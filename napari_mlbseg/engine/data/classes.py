"""Maps the label values of a study to the class indices of its network."""

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study

_LABELS = 256


class Classes:
    """The label value of each class index; index 0 is the background.

    Attributes
    ----------
    values
        Label values by class index, in ascending order.
    """

    def __init__(self, study: Study, device: torch.device) -> None:
        self._device, self._names = device, {case.id: case.name for case in study.cases}
        self.values: NDArray[np.uint8] = np.array(
            [0, *sorted(c.value for c in study.classes)], dtype=np.uint8
        )
        self._indices = np.full(_LABELS, -1, dtype=np.int64)
        self._indices[self.values] = np.arange(len(self.values))

    def indices(self, labels: NDArray[np.uint8], key: SliceKey) -> Int[Tensor, "*space"]:
        """Convert label values to class indices; `key` names their slice in the error.

        Raises
        ------
        UserError
            If a label is not a class of the study.
        """
        found = self._indices[labels]
        if (found < 0).any():
            unknown = sorted({int(v) for v in labels[found < 0]})
            case = self._names.get(key.case_id, key.case_id)
            raise UserError(
                f"Slice {key.index} of {case} holds the label {unknown}, which "
                "is not a class of this study. Add the class, or repaint the slice."
            )
        return torch.from_numpy(found).to(self._device)

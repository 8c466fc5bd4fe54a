"""What slices and patches have in common: intensities, classes, and a cache."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.slices import SliceKey
from napari_mlbseg.project.study import Study

CACHE_BYTES = 512 * 2**20


class Reader:
    """Voxels of a study as tensors on a device; keeps what was read last."""

    def __init__(self, study: Study, device: torch.device) -> None:
        self.study, self.device = study, device
        self.cases = {case.id: case for case in study.cases}
        self.classes = class_indices([c.value for c in study.classes])
        self._cache: OrderedDict[Hashable, Tensor] = OrderedDict()
        self._cached_bytes = 0

    @property
    def class_values(self) -> NDArray[np.uint8]:
        """The label value of each class index; index 0 is the background."""
        values = np.zeros(self.classes.max() + 1, dtype=np.uint8)
        known = np.flatnonzero(self.classes >= 0)
        values[self.classes[known]] = known
        return values

    def indices(self, labels: NDArray[np.uint8], key: SliceKey) -> Int[Tensor, "*space"]:
        """Label values as class indices; `key` tells where they are from."""
        found = self.classes[labels]
        if (found < 0).any():
            unknown = sorted({int(v) for v in labels[found < 0]})
            raise UserError(
                f"Slice {key.index} of {key.case_id} holds the label {unknown}, which is no class "
                "of this study. Add the class, or repaint the slice."
            )
        return torch.from_numpy(found).to(self.device)

    def normalised(self, raw: NDArray[np.generic], case_id: str) -> NDArray[np.float32]:
        """Voxels clipped to the percentiles of their case and standardised."""
        scale = self.cases[case_id].intensity
        clipped = np.clip(raw.astype(np.float32), scale.low, scale.high)
        return ((clipped - scale.mean) / scale.std).astype(np.float32)

    def cached(self, entry: Hashable, read: Callable[[], Tensor]) -> Tensor:
        """What `read` gives, kept until `CACHE_BYTES` of newer tensors push it out."""
        if entry in self._cache:
            self._cache.move_to_end(entry)
            return self._cache[entry]
        tensor = self._cache[entry] = read()
        self._cached_bytes += tensor.nbytes
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return tensor


def class_indices(values: Sequence[int]) -> NDArray[np.int64]:
    """Lookup table of 256 entries from label value to class index; -1 where there is no class."""
    table = np.full(256, -1, dtype=np.int64)
    table[[0, *sorted(values)]] = np.arange(len(values) + 1)
    return table

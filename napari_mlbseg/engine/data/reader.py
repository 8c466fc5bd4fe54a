"""What slices and patches have in common: the study, its classes, intensities, and a cache."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_mlbseg.engine.data.classes import Classes
from napari_mlbseg.engine.interruption import Check, never
from napari_mlbseg.project.study import Study

CACHE_BYTES = 512 * 2**20


class Reader:
    """Voxels of a study as tensors on a device; keeps what was read last.

    `check` is called before anything is read from the disk.
    """

    def __init__(self, study: Study, device: torch.device, check: Check = never) -> None:
        self.study, self.device, self._check = study, device, check
        self.cases = {case.id: case for case in study.cases}
        self.classes = Classes(study, device)
        self._cache: OrderedDict[Hashable, Tensor] = OrderedDict()
        self._cached_bytes = 0

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
        self._check()
        tensor = self._cache[entry] = read()
        self._cached_bytes += tensor.nbytes
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return tensor

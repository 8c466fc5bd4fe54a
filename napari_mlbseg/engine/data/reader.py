"""Reads a study for slices and patches alike: classes, standardised intensities, and a cache."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from math import prod

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from napari_mlbseg.engine.data.classes import Classes
from napari_mlbseg.engine.interruption import Check, never
from napari_mlbseg.engine.nets.device import cache_bytes
from napari_mlbseg.project.arrays.store import CHANNELS, ArrayName
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study

_BYTES_AN_INTENSITY, _BYTES_A_LABEL = 4, 1
"""A standardised intensity is float32, a class index uint8."""

Entry = tuple[ArrayName, Hashable] | tuple[ArrayName, str, tuple[int, ...]]
"""What is cached: a slice or a brick of an array."""


class Reader:
    """Reads voxels of a study as tensors on a device, and caches those read last.

    `check` is called before anything is read from the disk.
    """

    def __init__(self, study: Study, device: torch.device, check: Check = never) -> None:
        self.study, self.device, self._check = study, device, check
        self.cases = {case.id: case for case in study.cases}
        self.classes, self.channel_names = Classes(study, device), study.channels
        self._scales = {
            (case.id, name): channel.image.intensity
            for case in study.cases
            for name, channel in zip(CHANNELS, case.channels, strict=False)
            if channel.image is not None
        }
        self._cache: OrderedDict[Entry, Tensor] = OrderedDict()
        self._cached_bytes, self._most_bytes = 0, cache_bytes(device)
        voxels = sum(prod(case.geometry.shape) for case in study.cases)
        bytes_a_voxel = _BYTES_AN_INTENSITY * len(self.channel_names) + _BYTES_A_LABEL
        self._everything_fits = bytes_a_voxel * voxels <= self._most_bytes

    @property
    def channels(self) -> tuple[ArrayName, ...]:
        """The arrays of the channels of every case, in their order."""
        return CHANNELS[: len(self.channel_names)]

    def image(self, key: SliceKey) -> Float[Tensor, "channels y x"]:
        """A slice of every channel, standardised; zeros where a case lacks a channel."""
        first = self._slice(ArrayName.IMAGE, key)
        further = (
            self._slice(name, key) if self.has(key.case_id, name) else torch.zeros_like(first)
            for name in self.channels[1:]
        )
        return torch.stack([first, *further])

    def has(self, case_id: str, name: ArrayName) -> bool:
        """Whether a case has a channel of its own; otherwise it was filled."""
        return (case_id, name) in self._scales

    def initial_labels(self, key: SliceKey) -> Int[Tensor, "y x"]:
        """The initial labels of a slice as class indices; they do not change during a run."""
        return self.labels(ArrayName.INITIAL_LABELS, key)

    def labels(self, name: ArrayName, key: SliceKey) -> Int[Tensor, "y x"]:
        """A slice of an array of labels as class indices; cached until `forget`."""
        return self._slice(name, key).long()

    def forget(self, name: ArrayName) -> None:
        """Read an array anew from now on."""
        for entry in [entry for entry in self._cache if entry[0] is name]:
            self._cached_bytes -= self._cache.pop(entry).nbytes

    def normalised(
        self, raw: NDArray[np.generic], case_id: str, name: ArrayName = ArrayName.IMAGE
    ) -> NDArray[np.float32]:
        """Voxels clipped to the percentiles of this channel of their case, and standardised."""
        scale = self._scales[case_id, name]
        clipped = np.clip(raw.astype(np.float32), scale.low, scale.high)
        return ((clipped - scale.mean) / scale.std).astype(np.float32)

    def cached(self, entry: Entry, read: Callable[[], Tensor]) -> Tensor:
        """The result of `read`, cached until newer tensors push it out."""
        if entry not in self._cache:
            self._check()
            self._keep(entry, read())
        self._cache.move_to_end(entry)
        return self._cache[entry]

    def _keep(self, entry: Entry, tensor: Tensor) -> None:
        self._cache[entry] = tensor
        self._cached_bytes += tensor.nbytes
        while self._cached_bytes > self._most_bytes and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes

    def _slice(self, name: ArrayName, key: SliceKey) -> Tensor:
        if (name, key) not in self._cache:
            self._check()
            for read_key, tensor in self._read_around(name, key):
                if (name, read_key) not in self._cache:
                    self._keep((name, read_key), tensor)
        self._cache.move_to_end((name, key))
        return self._cache[name, key]

    def _read_around(self, name: ArrayName, key: SliceKey) -> Iterator[tuple[SliceKey, Tensor]]:
        """Read the slice; if the cohort fits in the cache, all slices of its row of chunks.

        They are decompressed together in any case, and all of them will be needed.
        """
        array = self.study.arrays.open(key.case_id, name)
        depth = array.chunks[key.axis] if self._everything_fits else 1
        first = key.index // depth * depth
        where = [slice(None)] * 3
        where[key.axis] = slice(first, first + depth)
        raw = np.moveaxis(np.asarray(array[tuple(where)]), key.axis, 0)
        for index, plane in enumerate(raw, start=first):
            one = SliceKey(key.case_id, key.axis, index)
            yield one, self._tensor(name, plane, one)

    def _tensor(self, name: ArrayName, plane: NDArray[np.generic], key: SliceKey) -> Tensor:
        if name in CHANNELS:
            return torch.from_numpy(self.normalised(plane, key.case_id, name)).to(self.device)
        return self.classes.indices(plane.astype(np.uint8), key).to(torch.uint8)

"""Slices of a study as tensors on the working grid.

All slices of a study are seen at one resolution on one square grid, so that a structure has the
same size in pixels whatever the spacing of the file.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_mlbseg.engine.nets.labels import IGNORE
from napari_mlbseg.engine.nets.sampling import Matrices, compose, invert, resample, resample_labels
from napari_mlbseg.engine.steps.augment import centred_placement
from napari_mlbseg.engine.steps.update import Batch
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays import ArrayName
from napari_mlbseg.project.cases import Case
from napari_mlbseg.project.slices import SliceKey
from napari_mlbseg.project.study import Study

CACHE_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Grid:
    """A square of `size` pixels, each `resolution_mm` wide, centred on the slice."""

    size: int
    resolution_mm: float


def choose_grid(cases: Sequence[Case], size: int) -> Grid:
    """The finest resolution at which every slice fits, but not finer than the files' own."""
    extents, spacings = [], []
    for case in cases:
        for spacing, count in zip(*_in_plane(case, case.axis), strict=True):
            extents.append(spacing * count)
            spacings.append(spacing)
    return Grid(size, max(max(extents) / size, float(np.median(spacings))))


class SliceSource:
    """Reads slices of a study, normalises them and puts them on the grid.

    Parameters
    ----------
    context
        Neighbouring slices on either side that become further channels; at the ends of a volume
        the last slice is repeated.
    """

    def __init__(self, study: Study, grid: Grid, *, context: int, device: torch.device) -> None:
        self.grid, self.device = grid, device
        self._study, self._context = study, context
        self._cases = {case.id: case for case in study.cases}
        self._classes = class_indices([c.value for c in study.classes])
        self._cache: OrderedDict[tuple[ArrayName, SliceKey], Tensor] = OrderedDict()
        self._cached_bytes = 0

    @property
    def channels(self) -> int:
        """Channels of an image: the slice and its neighbours."""
        return 2 * self._context + 1

    @property
    def class_values(self) -> NDArray[np.uint8]:
        """The label value of each class index; index 0 is the background."""
        values = np.zeros(self._classes.max() + 1, dtype=np.uint8)
        known = np.flatnonzero(self._classes >= 0)
        values[self._classes[known]] = known
        return values

    def image(self, key: SliceKey) -> Float[Tensor, "channels y x"]:
        """The normalised slice with its neighbours, at the resolution of the file."""
        last = self._cases[key.case_id].geometry.shape[key.axis] - 1
        around = range(key.index - self._context, key.index + self._context + 1)
        keys = [SliceKey(key.case_id, key.axis, min(max(i, 0), last)) for i in around]
        return torch.stack([self._slice(k) for k in keys])

    def indices(self, mask: NDArray[np.uint8], key: SliceKey) -> Int[Tensor, "y x"]:
        """Label values as class indices."""
        found = self._classes[mask]
        if (found < 0).any():
            unknown = sorted({int(v) for v in mask[found < 0]})
            raise UserError(
                f"Slice {key.index} of {key.case_id} holds the label {unknown}, which is no class "
                "of this study. Add the class, or repaint the slice."
            )
        return torch.from_numpy(found).to(self.device)

    def initial_labels(self, key: SliceKey) -> Int[Tensor, "y x"]:
        """The initial labels of a slice as class indices; they do not change during a run."""
        return self._cached(key, ArrayName.INITIAL_LABELS, self._read_initial_labels)

    def batch(
        self, keys: Sequence[SliceKey], labels: Sequence[Tensor], placement: Matrices
    ) -> Batch:
        """Slices with their labels on the grid, each moved by its `placement` (grid pixels)."""
        images, targets = [], []
        size = (self.grid.size, self.grid.size)
        for key, label, move in zip(keys, labels, placement.to(self.device), strict=True):
            image, shrink = self._shrunk(key)
            to_file = compose(self._to_file(key), move[None])
            images.append(resample(image[None], compose(shrink, to_file), size))
            targets.append(resample_labels(label[None], to_file, size))
        return Batch(torch.cat(images), torch.cat(targets))

    def unmoved(self, keys: Sequence[SliceKey], labels: Sequence[Tensor] | None = None) -> Batch:
        """Slices as they are, in the middle of the grid; without labels all pixels are `IGNORE`."""
        if labels is None:
            labels = [self._blank(key) for key in keys]
        return self.batch(keys, labels, centred_placement(len(keys)))

    def to_file_pixels(
        self, maps: Float[Tensor, "batch channels y x"], key: SliceKey
    ) -> Float[Tensor, "batch channels file_y file_x"]:
        """Maps on the grid, brought back to the pixels of the slices (all of one case and axis)."""
        back = invert(self._to_file(key)).expand(len(maps), 2, 3)
        return resample(maps, back, self._study_shape(key))

    def _blank(self, key: SliceKey) -> Int[Tensor, "y x"]:
        shape = self._study_shape(key)
        return torch.full(shape, IGNORE, dtype=torch.long, device=self.device)

    def _slice(self, key: SliceKey) -> Tensor:
        return self._cached(key, ArrayName.IMAGE, self._read_image)

    def _read_image(self, key: SliceKey) -> Tensor:
        raw = self._study.read_slice(key.case_id, ArrayName.IMAGE, key.axis, key.index)
        scale = self._cases[key.case_id].intensity
        clipped = np.clip(raw.astype(np.float32), scale.low, scale.high)
        normalised = ((clipped - scale.mean) / scale.std).astype(np.float32)
        return torch.from_numpy(normalised).to(self.device)

    def _read_initial_labels(self, key: SliceKey) -> Tensor:
        name = ArrayName.INITIAL_LABELS
        return self.indices(self._study.read_slice(key.case_id, name, key.axis, key.index), key)

    def _cached(self, key: SliceKey, name: ArrayName, read: Callable[[SliceKey], Tensor]) -> Tensor:
        """Keep what was read last, up to `CACHE_BYTES`."""
        entry = (name, key)
        if entry in self._cache:
            self._cache.move_to_end(entry)
            return self._cache[entry]
        tensor = self._cache[entry] = read(key)
        self._cached_bytes += tensor.nbytes
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return tensor

    def _study_shape(self, key: SliceKey) -> tuple[int, int]:
        _, shape = _in_plane(self._cases[key.case_id], key.axis)
        return shape

    def _to_file(self, key: SliceKey) -> Matrices:
        """``1 2 3``: from pixels of the grid to pixels of the slice."""
        (spacing_y, spacing_x), _ = _in_plane(self._cases[key.case_id], key.axis)
        scale = self.grid.resolution_mm / torch.tensor([spacing_x, spacing_y])
        return torch.cat([torch.diag(scale), torch.zeros(2, 1)], dim=1)[None].to(self.device)

    def _shrunk(self, key: SliceKey) -> tuple[Float[Tensor, "channels y x"], Matrices]:
        """The image averaged down towards the grid, and the map from slice to shrunken pixels.

        Sampling every third pixel of a fine slice would alias; averaging first does not.
        """
        image = self.image(key)
        (spacing_y, spacing_x), (height, width) = _in_plane(self._cases[key.case_id], key.axis)
        by = [max(1, int(self.grid.resolution_mm / s + 1e-6)) for s in (spacing_y, spacing_x)]
        if max(by) > 1:
            pad = (0, -width % by[1], 0, -height % by[0])
            padded = functional.pad(image[None], pad, mode="replicate")
            image = functional.avg_pool2d(padded, by)[0]
        matrix = torch.zeros(1, 2, 3, device=self.device)
        for row, (size, shrunken, factor) in enumerate(
            ((width, image.shape[2], by[1]), (height, image.shape[1], by[0]))
        ):
            matrix[0, row, row] = 1 / factor
            matrix[0, row, 2] = (size - shrunken * factor) / (2 * factor)
        return image, matrix


def class_indices(values: Sequence[int]) -> NDArray[np.int64]:
    """Lookup table of 256 entries from label value to class index; -1 where there is no class."""
    table = np.full(256, -1, dtype=np.int64)
    table[[0, *sorted(values)]] = np.arange(len(values) + 1)
    return table


def _in_plane(case: Case, axis: int) -> tuple[tuple[float, float], tuple[int, int]]:
    """Spacing in mm and shape (rows, columns) of the slices across `axis`."""
    rows, columns = (a for a in range(3) if a != axis)
    spacing, shape = case.geometry.spacing_mm, case.geometry.shape
    return (spacing[rows], spacing[columns]), (shape[rows], shape[columns])

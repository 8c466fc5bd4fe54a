"""Slices of a study on the working grid, with or without their neighbours."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.nn import functional

from napari_mlbseg.engine.data.grid import Grid, SampleShape, in_plane
from napari_mlbseg.engine.data.placement import Mirrored, centred_placement, random_placement
from napari_mlbseg.engine.data.reader import Reader
from napari_mlbseg.engine.data.source import CleanSlices, NoisyLabels, Scene, Span, draw_clean
from napari_mlbseg.engine.interruption import Check, never
from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.labels import IGNORE, as_input
from napari_mlbseg.engine.nets.sampling import Matrices, compose, invert, resample, resample_labels
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study

SLICES_AT_ONCE = 8


class SliceSource:
    """Reads slices of a study, standardises them and resamples them to the grid; a `Source`.

    Parameters
    ----------
    context
        Neighbouring slices on either side that the network sees, too; at the ends of a volume the
        last slice is repeated.
    sees_labels
        Whether imported labels are further channels; all zero for cases that came without labels.
    mirrored
        Whether samples are mirrored along x and along y.
    check
        Called before anything is read from the disk.
    """

    tile = None

    def __init__(
        self,
        study: Study,
        grid: Grid,
        *,
        context: int,
        device: torch.device,
        sees_labels: bool = False,
        mirrored: Mirrored = (False, False),
        check: Check = never,
    ) -> None:
        self.grid, self.device, self.clean = grid, device, CleanSlices()
        self._noisy = NoisyLabels()
        self._mirrored = mirrored
        self._reader, self._context = Reader(study, device, check), context
        self.classes, self._cases = self._reader.classes, study.cases
        self._open = self._noisy.open_cases(self._cases, self.clean)
        self._label_channels = len(self.classes.values) - 1 if sees_labels else 0

    @property
    def channels(self) -> int:
        """What the network sees of a slice, see `image`."""
        return (2 * self._context + 1) * len(self._reader.channel_names) + self._label_channels

    @property
    def unit(self) -> str:
        """One sample in words."""
        return f"slice of {self.grid.size} x {self.grid.size} pixels"

    @property
    def sample(self) -> SampleShape:
        """The shape of a sample; a network must have been built for it to resume."""
        side, pixel_mm = self.grid.size, self.grid.resolution_mm
        shape, spacing_mm = (side, side), (pixel_mm, pixel_mm)
        named = self._reader.channel_names
        return SampleShape(self.channels, shape, spacing_mm, self._label_channels, named)

    def use(self, clean: CleanSlices) -> None:
        """Draw samples from these clean slices from now on."""
        self.clean = clean
        self._open = self._noisy.open_cases(self._cases, clean)

    def learn_from(self, labels: NoisyLabels) -> None:
        """Give noisy samples these labels from now on; they are read anew."""
        self._reader.forget(labels.array)
        self._noisy = labels
        self._open = labels.open_cases(self._cases, self.clean)

    def noisy_batch(self, count: int, generator: Generator) -> Batch:
        """Draw random open slices; every case is equally likely."""
        keys: list[SliceKey] = []
        cases = self._open
        while len(keys) < count:
            case = cases[_draw(len(cases), 1, generator)[0]]
            index = _draw(case.geometry.shape[case.axis], 1, generator)[0]
            key = SliceKey(case.id, case.axis, index)
            if key not in self.clean.left_out and key not in self._noisy.left_out:
                keys.append(key)
        labels = [self._reader.labels(self._noisy.array, key) for key in keys]
        return self._moved(keys, labels, generator)

    @property
    def has_open_slices(self) -> bool:
        """Whether any slice along the axis of its case is open: neither clean nor skipped."""
        return bool(self._open)

    def clean_batch(self, count: int, generator: Generator) -> Batch:
        """Draw random training slices, and some empty ones."""
        chosen = draw_clean(self.clean, count, generator)
        labels = [self._clean_labels(key) for key in chosen]
        return self._moved(chosen, labels, generator)

    def _clean_labels(self, key: SliceKey) -> Int[Tensor, "y x"]:
        known = self.clean.training.get(key)
        if known is not None:
            return known
        return torch.zeros(self._study_shape(key), dtype=torch.long, device=self.device)

    def steady_batch(self, keys: Sequence[SliceKey]) -> Batch:
        """Training slices as they are, as predictions see them."""
        return self._seen(self.unmoved(keys, [self.clean.training[k] for k in keys]))

    def _seen(self, batch: Batch) -> Batch:
        seen = self.clean.seen(batch.images, label_channels=self._label_channels)
        return Batch(seen, batch.labels)

    def span_size(self, case: Case) -> int:
        """A few slices: each is predicted independently of the others."""
        return SLICES_AT_ONCE

    def scene(self, span: Span, *, labels: bool = False) -> Scene:
        """The slices as they are, on the grid."""
        keys = span.keys
        initial = [self.initial_labels(k) for k in keys] if labels else None
        batch = self._seen(self.unmoved(keys, initial))

        def to_file(maps: Tensor, part: Span) -> Tensor:
            first = part.start - span.start
            return self._to_file_pixels(maps[first : first + len(part.keys)], keys[0])

        return Scene(batch.images, batch.labels, to_file)

    def image(self, key: SliceKey) -> Float[Tensor, "channels y x"]:
        """The standardised slice with its neighbours, and its imported labels; as in the file.

        First come the slices of the first channel along the axis, then those of the second one.
        """
        last = self._reader.cases[key.case_id].geometry.shape[key.axis] - 1
        around = range(key.index - self._context, key.index + self._context + 1)
        keys = [SliceKey(key.case_id, key.axis, min(max(i, 0), last)) for i in around]
        images = torch.stack([self._reader.image(k) for k in keys], dim=1).flatten(0, 1)
        if not self._label_channels:
            return images
        return torch.cat([images, self._imported_labels(key)])

    def _imported_labels(self, key: SliceKey) -> Float[Tensor, "foreground_classes y x"]:
        """The imported labels of a slice as channels; zeros if its case came without labels."""
        if self._reader.cases[key.case_id].labels_path is None:
            return torch.zeros(self._label_channels, *self._study_shape(key), device=self.device)
        return as_input(self._reader.initial_labels(key), classes=self._label_channels + 1)

    def initial_labels(self, key: SliceKey) -> Int[Tensor, "y x"]:
        """The initial labels of a slice as class indices; they do not change during a run."""
        return self._reader.initial_labels(key)

    def batch(
        self, keys: Sequence[SliceKey], labels: Sequence[Tensor], placement: Matrices
    ) -> Batch:
        """Slices and their labels on the grid, each placed by its matrix (in grid pixels)."""
        images, targets = [], []
        size = (self.grid.size, self.grid.size)
        for key, label, move in zip(keys, labels, placement, strict=True):
            image, shrink = self._shrunk(key)
            to_file = compose(self._to_file(key), move[None])
            images.append(resample(image[None], compose(shrink, to_file), size))
            targets.append(resample_labels(label[None], to_file, size))
        return Batch(torch.cat(images), torch.cat(targets))

    def unmoved(self, keys: Sequence[SliceKey], labels: Sequence[Tensor] | None = None) -> Batch:
        """Slices as they are, centred on the grid; without labels all pixels are `IGNORE`."""
        if labels is None:
            labels = [self._blank(key) for key in keys]
        return self.batch(keys, labels, centred_placement(len(keys)))

    def _moved(
        self, keys: Sequence[SliceKey], labels: Sequence[Tensor], generator: Generator
    ) -> Batch:
        placement = random_placement(
            len(keys), generator, size=self.grid.size, mirrored=self._mirrored
        )
        return self.batch(keys, labels, placement)

    def _to_file_pixels(
        self, maps: Float[Tensor, "batch channels y x"], key: SliceKey
    ) -> Float[Tensor, "batch channels file_y file_x"]:
        """Resample maps on the grid to the pixels of the slices (all of one case and axis)."""
        back = invert(self._to_file(key)).expand(len(maps), 2, 3)
        return resample(maps, back, self._study_shape(key))

    def _blank(self, key: SliceKey) -> Int[Tensor, "y x"]:
        shape = self._study_shape(key)
        return torch.full(shape, IGNORE, dtype=torch.long, device=self.device)

    def _study_shape(self, key: SliceKey) -> tuple[int, int]:
        _, shape = in_plane(self._reader.cases[key.case_id], key.axis)
        return shape

    def _to_file(self, key: SliceKey) -> Matrices:
        """``1 2 3``: from pixels of the grid to pixels of the slice."""
        (spacing_y, spacing_x), _ = in_plane(self._reader.cases[key.case_id], key.axis)
        scale = self.grid.resolution_mm / torch.tensor([spacing_x, spacing_y])
        return torch.cat([torch.diag(scale), torch.zeros(2, 1)], dim=1)[None]

    def _shrunk(self, key: SliceKey) -> tuple[Float[Tensor, "channels y x"], Matrices]:
        """The image averaged down towards the grid, and the matrix from slice to shrunken pixels.

        Sampling every third pixel of a fine slice would alias; averaging first does not.
        """
        image = self.image(key)
        (spacing_y, spacing_x), (height, width) = in_plane(
            self._reader.cases[key.case_id], key.axis
        )
        by = [max(1, int(self.grid.resolution_mm / s + 1e-6)) for s in (spacing_y, spacing_x)]
        if max(by) > 1:
            pad = (0, -width % by[1], 0, -height % by[0])
            padded = functional.pad(image[None], pad, mode="replicate")
            image = functional.avg_pool2d(padded, by)[0]
        matrix = torch.zeros(1, 2, 3)
        for row, (size, shrunken, factor) in enumerate(
            ((width, image.shape[2], by[1]), (height, image.shape[1], by[0]))
        ):
            matrix[0, row, row] = 1 / factor
            matrix[0, row, 2] = (size - shrunken * factor) / (2 * factor)
        return image, matrix


def _draw(below: int, count: int, generator: Generator) -> list[int]:
    return torch.randint(below, (count,), generator=generator).tolist()

"""Patches of volumes; clean slices become sparsely labelled voxels."""

from collections.abc import Iterable, Sequence
from math import ceil, floor
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from napari_mlbseg.engine.data.grid import SampleShape, Triple, VolumeGrid, in_plane
from napari_mlbseg.engine.data.placement import Mirrored, random_turn
from napari_mlbseg.engine.data.reader import Reader
from napari_mlbseg.engine.data.source import CleanSlices, NoisyLabels, Scene, Span, draw_clean
from napari_mlbseg.engine.data.sparse import fill_slices, lay_slices
from napari_mlbseg.engine.data.tiles import layers_needed, one_tile_around
from napari_mlbseg.engine.data.volumes import Box, Frame, Volumes, affine
from napari_mlbseg.engine.interruption import Check, never
from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.labels import IGNORE, as_input
from napari_mlbseg.engine.nets.sampling import Matrices, compose, invert, resample, resample_labels
from napari_mlbseg.engine.nets.tiling import OVERLAP
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study

BACKGROUND = 0
FOREGROUND_SHARE = 0.5
"""How often a clean patch is centred on a labelled pixel rather than on any pixel."""


class PatchSource:
    """Reads patches of volumes; a `Source`.

    A noisy patch lies anywhere in any case and has noisy labels, except on clean and skipped
    slices. A clean patch lies around a training slice; only voxels that training slices cross,
    along any axis, have a label, and all others are ignored.

    Parameters
    ----------
    sees_labels
        Whether imported labels are further channels; all zero for cases that came without labels.
    mirrored
        Whether samples are mirrored along x and along y.
    check
        Called before anything is read from the disk.
    """

    def __init__(
        self,
        study: Study,
        grid: VolumeGrid,
        *,
        device: torch.device,
        sees_labels: bool = False,
        mirrored: Mirrored = (False, False),
        check: Check = never,
    ) -> None:
        self.grid, self.device, self.clean = grid, device, CleanSlices()
        self._noisy = NoisyLabels()
        self._mirrored = mirrored
        self._reader = Reader(study, device, check)
        self.classes = self._reader.classes
        self._label_channels = len(self.classes.values) - 1 if sees_labels else 0
        self._volumes = Volumes(self._reader)
        self._cases = study.cases
        self._open = self._noisy.open_cases(self._cases, self.clean)
        self._frames = {c.id: Frame(c, grid.resolution_mm) for c in self._cases}
        self._empty = self._unlearnt = self._marked(())

    @property
    def channels(self) -> int:
        """Channels of an image: the voxels of its channels, then their imported labels."""
        return len(self._reader.channel_names) + self._label_channels

    @property
    def tile(self) -> Triple:
        """The size of a patch (z y x) in working voxels."""
        return self.grid.patch

    @property
    def unit(self) -> str:
        """One sample in words."""
        return f"patch of {' x '.join(map(str, self.grid.patch))} voxels"

    @property
    def sample(self) -> SampleShape:
        """The shape of a sample; a network must have been built for it to resume."""
        return SampleShape(
            self.channels,
            self.grid.patch,
            self.grid.resolution_mm,
            self._label_channels,
            self._reader.channel_names,
        )

    def use(self, clean: CleanSlices) -> None:
        """Draw samples from these clean slices from now on."""
        self.clean = clean
        self._open = self._noisy.open_cases(self._cases, clean)
        self._empty = self._marked(clean.empty)

    def _marked(self, keys: Iterable[SliceKey]) -> dict[str, Bool[Tensor, " slices"]]:
        """For each case, which slices along its axis are among the keys."""
        found = {
            name: torch.zeros(frame.shape[0], dtype=torch.bool)
            for name, frame in self._frames.items()
        }
        for key in keys:
            found[key.case_id][key.index] = True
        return found

    def learn_from(self, labels: NoisyLabels) -> None:
        """Give noisy samples these labels from now on; they are read anew."""
        self._reader.forget(labels.array)
        self._noisy = labels
        self._open = labels.open_cases(self._cases, self.clean)
        self._unlearnt = self._marked(labels.left_out)

    def noisy_batch(self, count: int, generator: Generator) -> Batch:
        """Draw random patches; every case is equally likely."""
        frames = [self._frames[case.id] for case in self._noisy.among(self._cases)]
        chosen = torch.randint(len(frames), (count,), generator=generator).tolist()
        turns = random_turn(count, generator, dims=3, mirrored=self._mirrored)
        places = torch.rand(count, 3, generator=generator)
        samples = []
        for number, turn, place in zip(chosen, turns, places, strict=True):
            frame = frames[number]
            anywhere = (place - 0.5) * torch.tensor(frame.working)
            move = self._placed(frame, turn, anywhere)
            image, labels = self._sample(frame, move, self.grid.patch, self._noisy.array)
            to_file = compose(frame.to_file, move)
            labels = fill_slices(labels, to_file, frame, self._unlearnt[frame.case.id], IGNORE)
            ignored = dict.fromkeys(self._of_case(self.clean.left_out, frame))
            samples.append((image, lay_slices(labels, to_file, frame, ignored)))
        return _batch(samples)

    @property
    def has_open_slices(self) -> bool:
        """Whether any slice along the axis of its case is open: neither clean nor skipped."""
        return bool(self._open)

    def clean_batch(self, count: int, generator: Generator) -> Batch:
        """Draw random patches around random training slices, and around some empty ones."""
        keys = draw_clean(self.clean, count, generator)
        turns = random_turn(count, generator, dims=3, mirrored=self._mirrored)
        luck = torch.rand(count, 4, generator=generator).tolist()
        samples = []
        for key, turn, (which, y, x, jitter) in zip(keys, turns, luck, strict=True):
            frame = self._frames[key.case_id]
            labels = self.clean.training.get(key)
            pixel = None if labels is None or which >= FOREGROUND_SHARE else _foreground(labels, y)
            _, (height, width) = in_plane(frame.case, key.axis)
            centre = self._centre(key, pixel or (y * (height - 1), x * (width - 1)))
            normal = frame.axes.index(key.axis)
            # At most a quarter of the patch, so that the slice crosses it even when zoomed in.
            centre[normal] += (jitter - 0.5) / 2 * self.grid.patch[normal]
            samples.append(self._clean_sample(frame, self._placed(frame, turn, centre)))
        return _batch(samples)

    def steady_batch(self, keys: Sequence[SliceKey]) -> Batch:
        """Unrotated patches, each centred on the labelled pixels of a training slice."""
        samples = []
        for key in keys:
            frame, mask = self._frames[key.case_id], self.clean.training[key]
            shown = mask.nonzero().float()
            middle = shown.mean(dim=0) if len(shown) else (torch.tensor(mask.shape) - 1) / 2
            centre = self._centre(key, middle.tolist())
            samples.append(self._clean_sample(frame, self._placed(frame, torch.eye(3), centre)))
        batch = _batch(samples)
        return Batch(self._seen(batch.images), batch.labels)

    def _seen(self, images: Float[Tensor, "batch channels z y x"]) -> Float[Tensor, "..."]:
        return self.clean.seen(images, label_channels=self._label_channels)

    def initial_labels(self, key: SliceKey) -> Int[Tensor, "y x"]:
        """The initial labels of a slice as class indices; they do not change during a run."""
        return self._reader.initial_labels(key)

    def span_size(self, case: Case) -> int:
        """The depth of a patch in slices; the overlap with the next span is computed twice."""
        return max(1, int(self.grid.patch[0] * self._frames[case.id].step[0]))

    def scene(self, span: Span, *, labels: bool = False) -> Scene:
        """The layers of the working grid that are needed to predict the slices.

        A single slice lies in the middle of a single layer of tiles, which is quicker.
        """
        frame = self._frames[span.case.id]
        box, total = self._box_around(frame, span)
        shift = [(low + high - n) / 2 for (low, high), n in zip(box, total, strict=True)]
        move = affine(shift=shift)
        size = tuple(high - low for low, high in box)
        image, found = self._sample(frame, move, size, ArrayName.INITIAL_LABELS if labels else None)
        back = compose(invert(move), invert(frame.to_file))

        def to_file(maps: Tensor, part: Span) -> Tensor:
            return _slices_of(maps, frame, part, back)

        return Scene(self._seen(image[None]), found, to_file)

    def _box_around(self, frame: Frame, span: Span) -> tuple[Box, Triple]:
        """The box to read, in working voxels from the first one, and the size of the volume."""
        normal = frame.axes.index(span.axis)
        total = [
            max(ceil(w - 1e-6), p) for w, p in zip(frame.working, self.grid.patch, strict=True)
        ]
        box = [(0, n) for n in total]
        ends = [
            (i - (frame.shape[normal] - 1) / 2) / frame.step[normal] + (total[normal] - 1) / 2
            for i in (span.start, span.stop - 1)
        ]
        tile, count = self.grid.patch[normal], total[normal]
        if span.stop - span.start == 1:
            box[normal] = one_tile_around(round(ends[0]), total=count, tile=tile)
        else:
            low, high = max(0, floor(ends[0])), min(count, ceil(ends[1]) + 1)
            stride = int(tile * (1 - OVERLAP))
            box[normal] = layers_needed(low, high, total=count, tile=tile, stride=stride)
        return (box[0], box[1], box[2]), (total[0], total[1], total[2])

    def _clean_sample(self, frame: Frame, move: Matrices) -> tuple[Tensor, Tensor]:
        image, labels = self._sample(frame, move, self.grid.patch)
        to_file = compose(frame.to_file, move)
        labels = fill_slices(labels, to_file, frame, self._empty[frame.case.id], BACKGROUND)
        training = {k: self.clean.training[k] for k in self._of_case(self.clean.training, frame)}
        return image, lay_slices(labels, to_file, frame, training)

    def _of_case(self, keys: Any, frame: Frame) -> list[SliceKey]:
        return [key for key in keys if key.case_id == frame.case.id]

    def _centre(self, key: SliceKey, pixel: Sequence[float]) -> Float[Tensor, "3"]:
        """The position of a pixel (row, column) of a slice, in working voxels from the centre."""
        frame = self._frames[key.case_id]
        others = [axis for axis in range(3) if axis != key.axis]
        index = dict(zip(others, pixel, strict=True)) | {key.axis: float(key.index)}
        return torch.tensor(
            [
                (index[axis] - (n - 1) / 2) / step
                for axis, n, step in zip(frame.axes, frame.shape, frame.step, strict=True)
            ]
        )

    def _placed(
        self, frame: Frame, turn: Float[Tensor, "3 3"], centre: Float[Tensor, "3"]
    ) -> Matrices:
        """``1 3 4``: the patch rotated about `centre`, which is moved to keep it in the volume."""
        zoom = turn[2, 2].abs()
        room = (torch.tensor(frame.working) - zoom * torch.tensor(self.grid.patch)) / 2
        room = room.clamp_min(0)
        inside = torch.maximum(torch.minimum(centre, room), -room)
        move = torch.cat([turn, inside.flip(0)[:, None]], dim=1)
        return move[None]

    def _sample(
        self,
        frame: Frame,
        move: Matrices,
        size: tuple[int, ...],
        labels: ArrayName | None = None,
    ) -> tuple[Float[Tensor, "channels z y x"], Int[Tensor, "z y x"]]:
        """Sample image and labels (None: `IGNORE`) of a box of the grid, placed by `move`."""
        sampling = compose(compose(frame.to_shrunken, frame.to_file), move)
        box = _reach(sampling, size, frame.shrunken)
        shift = [(n - low - high) / 2 for (low, high), n in zip(box, frame.shrunken, strict=True)]
        local = compose(affine(shift=shift), sampling)
        voxels = self._volumes.image(frame, box)
        if self._label_channels:
            voxels = torch.cat([voxels, self._imported_labels(frame, box)])
        image = resample(voxels[None], local, size)[0]
        if labels is None:
            return image, torch.full(size, IGNORE, dtype=torch.long, device=self.device)
        known = self._volumes.box(labels, frame, box).long()
        return image, resample_labels(known[None], local, size)[0]

    def _imported_labels(self, frame: Frame, box: Box) -> Float[Tensor, "foreground_classes z y x"]:
        """The imported labels of a box as channels; zeros if its case came without labels."""
        if frame.case.labels_path is None:
            size = [high - low for low, high in box]
            return torch.zeros(self._label_channels, *size, device=self.device)
        known = self._volumes.box(ArrayName.INITIAL_LABELS, frame, box).long()
        return as_input(known, classes=self._label_channels + 1)


def _reach(matrix: Matrices, size: tuple[int, ...], total: Triple) -> Box:
    """The box of input voxels that are read to sample an output of `size`."""
    half = (torch.tensor(size[::-1], dtype=torch.float32) - 1) / 2
    spread = matrix[0, :, :3].abs() @ half
    middle = matrix[0, :, 3]
    box = []
    for low, high, n in zip(
        (middle - spread).flip(0).tolist(), (middle + spread).flip(0).tolist(), total, strict=True
    ):
        first = min(max(floor(low + (n - 1) / 2) - 1, 0), n - 1)
        last = min(max(ceil(high + (n - 1) / 2) + 1, 0), n - 1)
        box.append((first, last + 1))
    return box[0], box[1], box[2]


def _slices_of(
    maps: Float[Tensor, "planes channels y x"], frame: Frame, span: Span, back: Matrices
) -> Float[Tensor, "slices channels file_y file_x"]:
    """Resample maps of layers to the pixels of the file, slice by slice along the span's axis."""
    normal = frame.axes.index(span.axis)
    size, shift = list(frame.shape), [0.0, 0.0, 0.0]
    size[normal] = span.stop - span.start
    shift[normal] = (span.start + span.stop - frame.shape[normal]) / 2
    matrix = compose(back, affine(shift=shift))
    found = resample(maps.movedim(1, 0)[None], matrix, tuple(size))[0]
    found = found.movedim(normal + 1, 0)
    rows, columns = (axis for axis in frame.axes if axis != span.axis)
    return found if rows < columns else found.transpose(2, 3)


def _foreground(mask: Int[Tensor, "y x"], luck: float) -> tuple[float, float] | None:
    """A random labelled pixel (row, column); None if there is none. `luck`: 0 to below 1."""
    shown = mask.nonzero()
    if not len(shown):
        return None
    row, column = shown[int(luck * len(shown))].tolist()
    return float(row), float(column)


def _batch(samples: Sequence[tuple[Tensor, Tensor]]) -> Batch:
    return Batch(torch.stack([i for i, _ in samples]), torch.stack([y for _, y in samples]))

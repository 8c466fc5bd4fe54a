"""The one interface for data: batches to train on, and scenes to predict."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from napari_mlbseg.engine.data.classes import Classes
from napari_mlbseg.engine.data.grid import SampleShape
from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.slices import SliceKey


@dataclass(frozen=True)
class CleanSlices:
    """The clean slices as class indices, in order of acceptance.

    Attributes
    ----------
    left_out
        Slices whose noisy labels are not learnt from: the clean, the skipped and the empty ones.
    empty
        Slices that are certified to show no class, along the axes of their cases. They are
        learnt from, too.
    images_alone
        Whether predictions are made from images alone, because many imported labels are right as a
        whole: a network that sees the others copies their mistakes.
    """

    training: Mapping[SliceKey, Tensor] = field(default_factory=dict)
    validation: Mapping[SliceKey, Tensor] = field(default_factory=dict)
    left_out: frozenset[SliceKey] = frozenset()
    empty: tuple[SliceKey, ...] = ()
    images_alone: bool = False

    def seen(
        self, images: Float[Tensor, "batch channels ..."], *, label_channels: int
    ) -> Float[Tensor, "batch channels ..."]:
        """Images as predictions see them: without their imported labels if those mislead."""
        if self.images_alone and label_channels:
            images = images.clone()
            images[:, -label_channels:] = 0
        return images

    def open_cases(
        self, cases: Sequence[Case], others: frozenset[SliceKey] = frozenset()
    ) -> list[Case]:
        """The cases with an open slice along their axis that is none of the `others`."""
        closed = Counter((key.case_id, key.axis) for key in self.left_out | others)
        return [c for c in cases if closed[c.id, c.axis] < c.geometry.shape[c.axis]]


EMPTY_SHARE = 0.25
"""Share of clean samples that are drawn from the empty slices."""


def draw_clean(clean: CleanSlices, count: int, generator: Generator) -> list[SliceKey]:
    """Draw clean samples: training slices, and a share of empty slices if there are any.

    Every random number comes from the generator; without empty slices it is one per sample.
    """
    keys = list(clean.training)
    chosen = [keys[i] for i in torch.randint(len(keys), (count,), generator=generator).tolist()]
    if not clean.empty:
        return chosen
    luck = torch.rand(count, generator=generator) < EMPTY_SHARE
    others = torch.randint(len(clean.empty), (count,), generator=generator).tolist()
    return [
        clean.empty[other] if empty else key
        for key, other, empty in zip(chosen, others, luck.tolist(), strict=True)
    ]


@dataclass(frozen=True)
class NoisyLabels:
    """The labels of noisy samples.

    Attributes
    ----------
    array
        The array that they are read from.
    cases
        The cases that samples are drawn from, by name; None for all.
    left_out
        Slices along the axes of their cases whose labels are not learnt from.
    """

    array: ArrayName = ArrayName.INITIAL_LABELS
    cases: frozenset[str] | None = None
    left_out: frozenset[SliceKey] = frozenset()

    def among(self, cases: Iterable[Case]) -> list[Case]:
        """Those of the cases that samples are drawn from."""
        return [case for case in cases if self.cases is None or case.id in self.cases]

    def open_cases(self, cases: Iterable[Case], clean: CleanSlices) -> list[Case]:
        """Those of the cases with an open slice to draw, which is neither closed nor left out."""
        return clean.open_cases(self.among(cases), self.left_out)


@dataclass(frozen=True)
class Span:
    """Slices ``start <= index < stop`` of a case along a display axis."""

    case: Case
    axis: int
    start: int
    stop: int

    @property
    def keys(self) -> list[SliceKey]:
        """The keys of its slices."""
        return [SliceKey(self.case.id, self.axis, i) for i in range(self.start, self.stop)]

    def parts(self, slices: int) -> list["Span"]:
        """The span cut into parts of at most `slices` slices."""
        starts = range(self.start, self.stop, slices)
        return [Span(self.case, self.axis, i, min(i + slices, self.stop)) for i in starts]


@dataclass(frozen=True)
class Scene:
    """A span as the network sees it, and the way back to the file.

    The output of the network is handled as planes, see `as_planes`: the slices themselves in 2-D,
    the layers of the working grid in 3-D.

    Attributes
    ----------
    images
        Input of the network: slices, or one volume.
    labels
        Initial labels (class indices) of the planes; `IGNORE` outside the image, or everywhere
        if they were not requested.
    to_file
        Resamples maps of the planes (``planes channels y x``) to the pixels of the file, for some
        or all slices of the span (``slices channels file_y file_x``).
    """

    images: Float[Tensor, "batch channels *space"]
    labels: Int[Tensor, "planes y x"]
    to_file: Callable[[Tensor, Span], Tensor]


def as_planes(maps: Float[Tensor, "batch channels *space"]) -> Float[Tensor, "planes channels y x"]:
    """Maps of slices unchanged; maps of one volume as a stack of its layers."""
    return maps if maps.ndim == 4 else maps[0].movedim(1, 0)


@runtime_checkable
class Source(Protocol):
    """The source of batches. Every random choice comes from the generator that is passed in."""

    device: torch.device
    classes: Classes

    @property
    def clean(self) -> CleanSlices:
        """The clean slices that samples are drawn from; initially none."""

    def use(self, clean: CleanSlices) -> None:
        """Draw samples from these clean slices from now on."""

    def learn_from(self, labels: NoisyLabels) -> None:
        """Give noisy samples these labels from now on; they are read anew."""

    @property
    def channels(self) -> int:
        """Channels of an image."""

    @property
    def tile(self) -> tuple[int, ...] | None:
        """Size of the tiles in which a scene is predicted; None for whole slices."""

    @property
    def unit(self) -> str:
        """One sample in words, the noun first: ``slice of 128 x 128 pixels``."""

    @property
    def sample(self) -> SampleShape:
        """The shape of a sample; a network must have been built for it to resume."""

    @property
    def has_open_slices(self) -> bool:
        """Whether noisy samples can be drawn: from any slice that is not left out."""

    def noisy_batch(self, count: int, generator: Generator) -> Batch:
        """Draw random samples with noisy labels; needs open slices."""

    def clean_batch(self, count: int, generator: Generator) -> Batch:
        """Draw samples with the labels of training slices, placed at random on the grid.

        A share of them (`EMPTY_SHARE`) are empty slices, if there are any.
        """

    def steady_batch(self, keys: Sequence[SliceKey]) -> Batch:
        """Training slices with their labels, without random placement."""

    def initial_labels(self, key: SliceKey) -> Int[Tensor, "y x"]:
        """The initial labels of a slice as class indices; they do not change during a run."""

    def span_size(self, case: Case) -> int:
        """The number of slices that are best predicted at once."""

    def scene(self, span: Span, *, labels: bool = False) -> Scene:
        """The slices of a span to predict; with their initial labels if `labels`."""


def spans_of(source: Source, case: Case) -> list[Span]:
    """All slices of a case along its axis, in spans that are best predicted at once."""
    count = case.geometry.shape[case.axis]
    return Span(case, case.axis, 0, count).parts(source.span_size(case))

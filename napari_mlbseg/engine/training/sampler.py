"""The random draws of a training step: samples with random appearances, and views."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from napari_mlbseg.engine.data.source import Source
from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.noise import normal
from napari_mlbseg.engine.nets.views import VIEWS, View
from napari_mlbseg.engine.steps.augment import random_appearance
from napari_mlbseg.engine.steps.update import TEACHER_NOISE
from napari_mlbseg.engine.training.state import TrainingState

WITHOUT_LABELS = 0.3
"""Share of the samples that are seen without their imported labels."""
MOSTLY_WITHOUT = 0.7
"""The same while predictions are made from images alone."""


class Sampler:
    """Draws samples from a source with the random generator of a state.

    Parameters
    ----------
    batch, clean_batch
        Noisy and clean samples per step, before any shrinking of the batch.
    views
        Names of the views to draw from.
    views_per_step
        Number of views to draw, the identity view included.
    """

    def __init__(
        self,
        source: Source,
        state: TrainingState,
        *,
        batch: int,
        clean_batch: int,
        views: Sequence[str],
        views_per_step: int,
    ) -> None:
        self._source, self._state = source, state
        self._batch, self._clean_batch = batch, clean_batch
        self._others = [name for name in views if name != "identity"]
        self._count = min(views_per_step - 1, len(self._others))

    @property
    def clean_size(self) -> int:
        """Clean samples per step; shrinks in proportion to the noisy ones if memory is short."""
        return max(1, self._clean_batch * self._state.batch // self._batch)

    def clean(self, *, at_most: int | None = None) -> Batch:
        """Draw samples of training slices."""
        size = self.clean_size if at_most is None else min(at_most, self.clean_size)
        return self._varied(self._source.clean_batch(size, self._state.generator))

    def noisy(self) -> Batch:
        """Draw samples with their initial labels."""
        return self._varied(self._source.noisy_batch(self._state.batch, self._state.generator))

    def views(self) -> list[View]:
        """Draw views: the identity view and some others."""
        order = torch.randperm(len(self._others), generator=self._state.generator)[: self._count]
        return [VIEWS["identity"], *(VIEWS[self._others[int(i)]] for i in order)]

    def noise(self, views: Sequence[View], noisy: Batch) -> Float[Tensor, "views_batch ..."]:
        """Draw the noise that is added to the mean teacher's images, for all views of the batch."""
        shape = (len(views) * len(noisy.images), *noisy.images.shape[1:])
        noise = TEACHER_NOISE * normal(shape, self._state.generator, like=noisy.images)
        noise[:, self._source.sample.image_channels :] = 0  # imported labels are what they are
        return noise

    def _varied(self, batch: Batch) -> Batch:
        """Vary the appearance of the images, and leave the imported labels out of some.

        Each channel of the study varies on its own, as scanners do; one that was filled stays.
        """
        generator, sample = self._state.generator, self._source.sample
        channels = sample.image_channels
        first, *further = torch.split(batch.images[:, :channels], sample.slices, dim=1)
        parts = [random_appearance(first, generator)]
        parts += [_varied_unless_filled(part, generator) for part in further]
        varied = torch.cat(parts, dim=1)
        imported = batch.images[:, channels:]
        if imported.shape[1]:
            left_out = MOSTLY_WITHOUT if self._source.clean.images_alone else WITHOUT_LABELS
            shown = torch.rand(len(imported), generator=generator) >= left_out
            within = (-1, *(1,) * (imported.ndim - 1))
            shown = shown.to(imported, non_blocking=True).reshape(within)
            varied = torch.cat([varied, imported * shown], dim=1)
        return Batch(varied, batch.labels)


def _varied_unless_filled(
    images: Float[Tensor, "batch channels *space"], generator: Generator
) -> Float[Tensor, "batch channels *space"]:
    """Random appearances of a channel; it stays zero in samples of cases that lack it."""
    there = (images != 0).flatten(1).any(dim=1).reshape(-1, *(1,) * (images.ndim - 1))
    return torch.where(there, random_appearance(images, generator), images)

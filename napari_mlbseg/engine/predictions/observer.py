"""What a network predicts for a span; with a clean direction also meta-weights and trust."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_mlbseg.engine.data.source import Scene, Source, Span, as_planes
from napari_mlbseg.engine.nets.labels import IGNORE
from napari_mlbseg.engine.nets.model import Model, Parameters
from napari_mlbseg.engine.nets.views import View
from napari_mlbseg.engine.predictions.brake import Brake
from napari_mlbseg.engine.steps import predict
from napari_mlbseg.engine.steps.meta_weights import confidence, tilted_probabilities, weights_of
from napari_mlbseg.engine.steps.weighting.rule import Scores
from napari_mlbseg.project.arrays.store import ArrayName

LARGEST_WEIGHT = torch.finfo(torch.half).max
"""Largest weight that float16 can store; a few pixels may have all the weight of a slice."""
DERIVATIVE_PASSES = 2.5
"""What the derivative of the identity view costs besides its prediction, in passes (measured)."""

Maps = dict[ArrayName, NDArray[Any]]


@dataclass(frozen=True)
class Seen:
    """What the network found in a scene, plane by plane.

    `weights` has two channels, for the initial and the pseudo labels; `tilted` holds the tilted
    class probabilities.
    """

    scene: Scene
    probabilities: Tensor
    weights: Tensor | None = None
    tilted: Tensor | None = None


class Labels(NamedTuple):
    """Label values (slices, rows, columns): those that are shown, and those to learn from."""

    shown: NDArray[np.uint8]
    learnt: NDArray[np.uint8]


class Observer:
    """Predicts the spans of a source with a network, averaged over views.

    `weigh` scores every class by a weighting rule; None if no maps are published.
    """

    def __init__(
        self, source: Source, model: Model, views: Sequence[View], weigh: Scores | None
    ) -> None:
        self._source, self._model, self._views, self._weigh = source, model, views, weigh

    def share_of_passes(self, *, identity_view_only: bool) -> float:
        """Share of the passes through the network that are made with `identity_view_only`."""
        more = 0 if self._weigh is None else DERIVATIVE_PASSES
        return (more + len(self._seen_in(identity_view_only))) / (more + len(self._views))

    def see(
        self,
        span: Span,
        parameters: Parameters,
        direction: Parameters | None = None,
        *,
        identity_view_only: bool = False,
        quick: bool = False,
    ) -> Seen:
        """Predict the slices of a span; with a clean `direction`, compute their maps too.

        With `identity_view_only`, volumes are predicted in the identity view alone, because they
        take long; slices are averaged over the views, unless it has to be `quick`.
        """
        views = self._views[:1] if quick else self._seen_in(identity_view_only)
        if self._weigh is not None and direction is not None:
            return self._weighed(span, parameters, direction, self._weigh, views)
        scene, tile = self._source.scene(span), self._source.tile
        found = predict.probabilities(self._model, parameters, scene.images, views=views, tile=tile)
        return Seen(scene, as_planes(found))

    def _weighed(
        self,
        span: Span,
        parameters: Parameters,
        direction: Parameters,
        weigh: Scores,
        views: Sequence[View],
    ) -> Seen:
        """Compute prediction, weights and trust, in one go for the identity view."""
        scene = self._source.scene(span, labels=True)
        found = predict.look_ahead(
            self._model,
            parameters,
            direction,
            scene.images,
            views=views,
            scores=(confidence, tilted_probabilities, weigh),
            tile=self._source.tile,
        )
        probabilities, tilted, scores = map(as_planes, found)
        valid = scene.labels != IGNORE
        pseudo = torch.where(valid, probabilities.argmax(dim=1), IGNORE)
        weights = weights_of(scores, scene.labels, pseudo)
        relative = predict.relative_weights(*weights, valid=valid)
        return Seen(scene, probabilities, torch.stack(relative, dim=1), tilted)

    def maps(self, seen: Seen, part: Span, brake: Brake) -> Maps:
        """The arrays to store for some of the slices, at the pixels of the file."""
        to_file = seen.scene.to_file
        hard = to_file(seen.probabilities, part).argmax(dim=1)
        hard = brake.shown(hard, part, self._source.initial_labels)
        maps: Maps = {ArrayName.PREDICTION: self._values(hard)}
        if seen.weights is not None and seen.tilted is not None:
            weights = to_file(seen.weights, part).clamp(max=LARGEST_WEIGHT).half().cpu().numpy()
            maps[ArrayName.META_WEIGHTS_INITIAL] = weights[:, 0]
            maps[ArrayName.META_WEIGHTS_PSEUDO] = weights[:, 1]
            believed = to_file(seen.tilted, part)
            trust = believed.gather(1, hard.unsqueeze(1)).squeeze(1)
            maps[ArrayName.TRUST] = trust.half().cpu().numpy()
            maps[ArrayName.PROPOSED_LABELS] = self._values(believed.argmax(dim=1))
        return maps

    def labels(self, seen: Seen, part: Span, brake: Brake) -> Labels:
        """The labels of some of the slices, at the pixels of the file."""
        hard = seen.scene.to_file(seen.probabilities, part).argmax(dim=1)
        initial = self._source.initial_labels
        return Labels(
            shown=self._values(brake.shown(hard, part, initial)),
            learnt=self._values(brake.judged(hard, part, initial)),
        )

    def _values(self, indices: Tensor) -> NDArray[np.uint8]:
        labels: NDArray[np.uint8] = self._source.classes.values[indices.cpu().numpy()]
        return labels

    def _seen_in(self, identity_view_only: bool) -> Sequence[View]:
        once = identity_view_only and self._source.tile is not None
        return self._views[:1] if once else self._views

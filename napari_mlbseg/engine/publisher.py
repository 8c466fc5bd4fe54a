"""Brings predictions and weight maps up to date, what is on view first."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from napari_mlbseg.engine.data.source import Scene, Source, Span, as_planes
from napari_mlbseg.engine.events import SlicesPublished
from napari_mlbseg.engine.interruption import Check, interrupts, never
from napari_mlbseg.engine.nets.labels import IGNORE
from napari_mlbseg.engine.nets.views import View
from napari_mlbseg.engine.steps import predict
from napari_mlbseg.engine.steps.meta_weights import (
    Model,
    Scores,
    confidence,
    tilted_probabilities,
    weights_of,
)
from napari_mlbseg.engine.steps.rough_labels import with_right_labels
from napari_mlbseg.project.arrays import ArrayName
from napari_mlbseg.project.cases import Case
from napari_mlbseg.project.slices import SliceKey
from napari_mlbseg.project.study import Study

SLICES_WRITTEN_AT_ONCE = 8
FOCUSED_CASE_FACTOR = 4
NEVER = -(10**9)
LARGEST_WEIGHT = torch.finfo(torch.half).max
"""Beyond it a stored one would be infinite: where a few pixels have all the weight of a slice."""

Maps = dict[ArrayName, NDArray[Any]]


class Publisher:
    """The one writer of the prediction and weight arrays of a study.

    Each slice remembers the step at which it was last written; the span with the oldest is next,
    where the case on view ages four times as fast as the others. Where `check` raises, writing ends
    after a few slices: an event tells what was written, and the rest stays as old as it is.
    """

    def __init__(
        self,
        study: Study,
        source: Source,
        model: Model,
        *,
        views: Sequence[View],
        weigh: Scores | None,
        check: Check = never,
    ) -> None:
        self.focus: SliceKey | None = None
        self.largest_of_right: float | None = None
        self._study, self._source, self._model = study, source, model
        self._views, self.weigh, self._check = views, weigh, check
        self._cases = {case.id: case for case in study.cases}
        self.forget()

    def forget(self) -> None:
        """Whatever was published is out of date."""
        self._steps = {
            case.id: np.full(case.geometry.shape[case.axis], NEVER) for case in self._cases.values()
        }

    def focused_slice(self) -> Span | None:
        """The slice on view as a span of one, where it lies along its case's axis."""
        if self.focus is None or self.focus.case_id not in self._cases:
            return None
        case = self._cases[self.focus.case_id]
        if case.axis != self.focus.axis:
            return None
        return Span(case, case.axis, self.focus.index, self.focus.index + 1)

    def spans_of(self, case: Case) -> list[Span]:
        """All slices of a case along its axis, as many at a time as are best predicted at once."""
        count = case.geometry.shape[case.axis]
        return Span(case, case.axis, 0, count).parts(self._source.span_size(case))

    def stalest_span(self, step: int, *, youngest: int) -> Span | None:
        """The slices that are the most out of date; None where none is `youngest` old."""
        best, best_age = None, youngest - 1
        for case_id, steps in self._steps.items():
            factor = FOCUSED_CASE_FACTOR if self._in_focus(case_id) else 1
            index = int(steps.argmin())
            age = int(step - steps[index])
            if age >= youngest and age * factor > best_age:
                case = self._cases[case_id]
                best_age = age * factor
                best = self.spans_of(case)[index // self._source.span_size(case)]
        return best

    def publish(
        self,
        span: Span,
        *,
        parameters: Mapping[str, Tensor],
        direction: Mapping[str, Tensor] | None,
        step: int,
        hasty: bool = False,
    ) -> SlicesPublished:
        """Predict the slices and write them; with a clean gradient `direction`, weigh them too.

        A `hasty` look at a volume, which takes long, is one at the image alone; slices are always
        averaged over the views. A prediction begins as a copy of the initial labels, so that it is
        never half empty.
        """
        if not self._study.has_array(span.case.id, ArrayName.PREDICTION):
            self._begin_prediction(span.case)
        views = self._views[:1] if hasty and self._source.tile is not None else self._views
        if self.weigh is None or direction is None:
            scene = self._source.scene(span)
            seen = _Seen(self._predict(parameters, scene, views), None, None)
        else:
            scene = self._source.scene(span, labels=True)
            seen = self._weighed(scene, parameters, direction, self.weigh, views)
        for part in self._written_at_once(span):
            maps = self._maps(seen, scene, part)
            for name, voxels in maps.items():
                self._write(name, part, voxels)
        self._steps[span.case.id][span.start : part.stop] = step
        names = tuple(map(str, maps))
        return SlicesPublished(span.case.id, span.axis, span.start, part.stop, names, step)

    def write_initial_labels(
        self, span: Span, parameters: Mapping[str, Tensor], *, step: int
    ) -> SlicesPublished:
        """Predict the slices and write them as initial labels."""
        scene, name = self._source.scene(span), ArrayName.INITIAL_LABELS
        probabilities = self._predict(parameters, scene, self._views)
        for part in self._written_at_once(span):
            hard = scene.to_file(probabilities, part).argmax(dim=1)
            self._write(name, part, self._labels(hard))
        return SlicesPublished(span.case.id, span.axis, span.start, part.stop, (name.value,), step)

    def _written_at_once(self, span: Span) -> Iterator[Span]:
        """A few slices at a time; after the first ones no more where somebody interrupts."""
        for part in span.parts(SLICES_WRITTEN_AT_ONCE):
            if part.start > span.start and interrupts(self._check):
                return
            yield part

    def _begin_prediction(self, case: Case) -> None:
        self._study.create_array(case.id, ArrayName.PREDICTION)
        for span in self.spans_of(case):
            slices = [
                self._study.read_slice(k.case_id, ArrayName.INITIAL_LABELS, k.axis, k.index)
                for k in span.keys
            ]
            self._write(ArrayName.PREDICTION, span, np.stack(slices))

    def _predict(
        self, parameters: Mapping[str, Tensor], scene: Scene, views: Sequence[View]
    ) -> Tensor:
        return as_planes(
            predict.probabilities(
                self._model, parameters, scene.images, views=views, tile=self._source.tile
            )
        )

    def _weighed(
        self,
        scene: Scene,
        parameters: Mapping[str, Tensor],
        direction: Mapping[str, Tensor],
        weigh: Scores,
        views: Sequence[View],
    ) -> "_Seen":
        """Prediction, weights and trust, all from the same passes through the network."""
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
        return _Seen(probabilities, torch.stack(relative, dim=1), tilted)

    def _maps(self, seen: "_Seen", scene: Scene, part: Span) -> Maps:
        """What is to be written of some slices."""
        hard = scene.to_file(seen.probabilities, part).argmax(dim=1)
        if part.case.labels_path is not None and self.largest_of_right is not None:
            hard = self._with_right_labels(hard, part, self.largest_of_right)
        maps: Maps = {ArrayName.PREDICTION: self._labels(hard)}
        if seen.weights is not None and seen.tilted is not None:
            weights = (
                scene.to_file(seen.weights, part).clamp(max=LARGEST_WEIGHT).half().cpu().numpy()
            )
            maps[ArrayName.META_WEIGHTS_INITIAL] = weights[:, 0]
            maps[ArrayName.META_WEIGHTS_PSEUDO] = weights[:, 1]
            believed = scene.to_file(seen.tilted, part)
            trust = believed.gather(1, hard.unsqueeze(1)).squeeze(1)
            maps[ArrayName.TRUST] = trust.half().cpu().numpy()
            maps[ArrayName.VOTES] = self._labels(believed.argmax(dim=1))
        return maps

    def _with_right_labels(
        self, predicted: Int[Tensor, "slices y x"], part: Span, largest: float
    ) -> Int[Tensor, "slices y x"]:
        """The prediction; imported labels where they are as good as sure to be right."""
        imported = torch.stack([self._imported(key) for key in part.keys])
        return with_right_labels(predicted, imported, largest)

    def _imported(self, key: SliceKey) -> Int[Tensor, "y x"]:
        raw = self._study.read_slice(key.case_id, ArrayName.INITIAL_LABELS, key.axis, key.index)
        return self._source.classes.indices(raw, key)

    def _labels(self, indices: Tensor) -> NDArray[np.uint8]:
        labels: NDArray[np.uint8] = self._source.classes.values[indices.cpu().numpy()]
        return labels

    def _write(self, name: ArrayName, span: Span, slices: NDArray[np.generic]) -> None:
        if not self._study.has_array(span.case.id, name):
            self._study.create_array(span.case.id, name)
        self._study.write_slices(span.case.id, name, span.axis, span.start, slices)

    def _in_focus(self, case_id: str) -> bool:
        return self.focus is not None and self.focus.case_id == case_id


@dataclass(frozen=True)
class _Seen:
    """What was found of a scene, plane by plane; `weights` has one channel a label map."""

    probabilities: Tensor
    weights: Tensor | None
    tilted: Tensor | None

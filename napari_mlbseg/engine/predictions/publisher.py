"""Brings predictions and weight maps up to date, what is on view first."""

import math
from collections.abc import Iterator, Sequence
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
from napari_mlbseg.engine.nets.model import Model, Parameters
from napari_mlbseg.engine.nets.views import View
from napari_mlbseg.engine.predictions.brake import Brake
from napari_mlbseg.engine.steps import predict
from napari_mlbseg.engine.steps.imported_labels import as_shown
from napari_mlbseg.engine.steps.meta_weights import (
    confidence,
    tilted_probabilities,
    weights_of,
)
from napari_mlbseg.engine.steps.weighting.rule import Scores
from napari_mlbseg.project.arrays.building import Unfinished
from napari_mlbseg.project.arrays.store import ArrayName, Block
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study

SLICES_WRITTEN_AT_ONCE = 8
FOCUSED_CASE_FACTOR = 4
NEVER = -(10**9)
LARGEST_WEIGHT = torch.finfo(torch.half).max
"""Beyond it a stored one would be infinite: where a few pixels have all the weight of a slice."""

Maps = dict[ArrayName, NDArray[Any]]

_BEGINS_AS = {
    ArrayName.PREDICTION: ArrayName.INITIAL_LABELS,
    ArrayName.PROPOSED_LABELS: ArrayName.PREDICTION,
}
"""What stands on the slices that were not written yet: nobody may take zeros for labels."""


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
        self.brake = Brake()
        self._study, self._source, self._model = study, source, model
        self._views, self.weigh, self._check = views, weigh, check
        self._unfinished: dict[str, Unfinished] = {}
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

    def in_order_of_need(self, step: int) -> Iterator[Span]:
        """What was last written before a step, what matters most first: time may be short.

        The case on view, then slices that the network may judge, then those that are oldest.
        """
        waiting = [
            span
            for case in self._cases.values()
            for span in self.spans_of(case)
            if (self._steps[case.id][span.start : span.stop] < step).any()
        ]
        waiting.sort(key=self._how_late)
        while waiting:
            focused = (i for i, span in enumerate(waiting) if self._in_focus(span.case.id))
            yield waiting.pop(next(focused, 0))

    def out_of_date(self, step: int) -> list[SliceKey]:
        """The slices that were last written before a step."""
        return [
            SliceKey(case.id, case.axis, int(i))
            for case in self._cases.values()
            for i in np.flatnonzero(self._steps[case.id] < step)
        ]

    def publish(
        self,
        span: Span,
        *,
        parameters: Parameters,
        direction: Parameters | None,
        step: int,
        identity_view_only: bool = False,
    ) -> SlicesPublished:
        """Predict the slices and write them; with a clean gradient `direction`, weigh them too.

        With `identity_view_only` a volume, which takes long, is looked at once; slices are always
        averaged over the views. A prediction begins as a copy of the initial labels, and proposed
        labels as one of the prediction, so that they are never half empty.
        """
        self._begin(ArrayName.PREDICTION, span.case)
        views = self._views[:1] if self._looks_once(identity_view_only) else self._views
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

    def share_of_passes(self, *, identity_view_only: bool) -> float:
        """Share of the passes through the network that a `identity_view_only` look takes."""
        return 1 / len(self._views) if self._looks_once(identity_view_only) else 1.0

    def write_initial_labels(
        self, span: Span, parameters: Parameters, *, step: int
    ) -> SlicesPublished:
        """Predict the slices and write them as initial labels.

        A case that has none gets them with its last slices, all at once: until then nothing is
        published.
        """
        case, name = span.case, ArrayName.INITIAL_LABELS
        scene = self._source.scene(span)
        probabilities = self._predict(parameters, scene, self._views)
        if case.id not in self._unfinished and not self._study.has_array(case.id, name):
            self._unfinished[case.id] = self._study.begin_array(case.id, name, case.axis)
        unfinished = self._unfinished.get(case.id)
        for part in self._written_at_once(span):
            labels = self._labels(scene.to_file(probabilities, part).argmax(dim=1))
            if unfinished is None:
                self._write(name, part, labels)
            else:
                unfinished.write(part.start, labels)
        if unfinished is None:
            return SlicesPublished(case.id, span.axis, span.start, part.stop, (name.value,), step)
        count = case.geometry.shape[case.axis]
        if part.stop < count:
            return SlicesPublished(case.id, span.axis, span.start, part.stop, (), step)
        self._unfinished.pop(case.id).finish()
        return SlicesPublished(case.id, span.axis, 0, count, (name.value,), step)

    def _written_at_once(self, span: Span) -> Iterator[Span]:
        """A few slices at a time; after the first ones no more where somebody interrupts."""
        for part in span.parts(SLICES_WRITTEN_AT_ONCE):
            if part.start > span.start and interrupts(self._check):
                return
            yield part

    def put_back(self, span: Span, *, step: int) -> SlicesPublished | None:
        """Write imported labels where they stand in place of a prediction; needs no network."""
        standing = self.brake.keeps(span)
        if not standing.any() or not self._study.has_array(span.case.id, ArrayName.PREDICTION):
            return None
        for i in np.flatnonzero(standing) + span.start:
            at = span.case.id, ArrayName.INITIAL_LABELS, span.axis, int(i)
            one = Span(span.case, span.axis, int(i), int(i) + 1)
            self._write(ArrayName.PREDICTION, one, self._study.read_slice(*at)[None])
        names = (ArrayName.PREDICTION.value,)
        return SlicesPublished(span.case.id, span.axis, span.start, span.stop, names, step)

    def _begin(self, name: ArrayName, case: Case) -> None:
        """See that a case has an array."""
        if not self._study.has_array(case.id, name):
            origin = _BEGINS_AS.get(name)
            blocks = () if origin is None else self._blocks(origin, case)
            self._study.create_array(case.id, name, blocks, axis=case.axis)

    def _blocks(self, name: ArrayName, case: Case) -> Iterator[Block]:
        """An array, as many slices at a time as are best written at once."""
        count = case.geometry.shape[case.axis]
        for part in Span(case, case.axis, 0, count).parts(SLICES_WRITTEN_AT_ONCE):
            slices = [self._study.read_slice(k.case_id, name, k.axis, k.index) for k in part.keys]
            yield part.start, np.stack(slices)

    def _predict(self, parameters: Parameters, scene: Scene, views: Sequence[View]) -> Tensor:
        return as_planes(
            predict.probabilities(
                self._model, parameters, scene.images, views=views, tile=self._source.tile
            )
        )

    def _weighed(
        self,
        scene: Scene,
        parameters: Parameters,
        direction: Parameters,
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
        if part.case.labels_path is not None:
            hard = self._beside_imported(hard, part)
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
            maps[ArrayName.PROPOSED_LABELS] = self._labels(believed.argmax(dim=1))
        return maps

    def _beside_imported(
        self, predicted: Int[Tensor, "slices y x"], part: Span
    ) -> Int[Tensor, "slices y x"]:
        """The prediction; imported labels where they are better, or where nobody can tell."""
        held = part.case.id in self.brake.imported
        if self.largest_of_right is None and not held:
            return predicted
        imported = torch.stack([self._source.initial_labels(key) for key in part.keys])
        nonsense = self.brake.smallest_of_nonsense if held else math.inf
        shown = as_shown(predicted, imported, self.largest_of_right, nonsense)
        standing = torch.from_numpy(self.brake.keeps(part)).to(shown.device)
        return torch.where(standing[:, None, None], imported, shown)

    def _labels(self, indices: Tensor) -> NDArray[np.uint8]:
        labels: NDArray[np.uint8] = self._source.classes.values[indices.cpu().numpy()]
        return labels

    def _write(self, name: ArrayName, span: Span, slices: NDArray[np.generic]) -> None:
        self._begin(name, span.case)
        self._study.write_slices(span.case.id, name, span.axis, span.start, slices)

    def _how_late(self, span: Span) -> tuple[bool, int]:
        near = self.brake.looked_at.get(span.case.id)
        judged = near is None or bool(near[span.start : span.stop].any())
        return not judged, int(self._steps[span.case.id][span.start : span.stop].min())

    def _looks_once(self, identity_view_only: bool) -> bool:
        return identity_view_only and self._source.tile is not None

    def _in_focus(self, case_id: str) -> bool:
        return self.focus is not None and self.focus.case_id == case_id


@dataclass(frozen=True)
class _Seen:
    """What was found of a scene, plane by plane; `weights` has one channel a label map."""

    probabilities: Tensor
    weights: Tensor | None
    tilted: Tensor | None

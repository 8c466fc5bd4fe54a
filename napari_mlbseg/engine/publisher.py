"""Brings predictions and weight maps up to date, what is on view first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_mlbseg.engine.data import SliceSource
from napari_mlbseg.engine.events import SlicesPublished
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
from napari_mlbseg.project.arrays import ArrayName
from napari_mlbseg.project.cases import Case
from napari_mlbseg.project.slices import SliceKey
from napari_mlbseg.project.study import Study

SLICES_PER_BLOCK = 8
FOCUSED_CASE_FACTOR = 4
NEVER = -(10**9)

Maps = dict[ArrayName, NDArray[Any]]


@dataclass(frozen=True)
class Block:
    """Neighbouring slices of a case, ``start <= index < stop`` along its axis."""

    case: Case
    start: int
    stop: int

    @property
    def keys(self) -> list[SliceKey]:
        """Its slices."""
        return [SliceKey(self.case.id, self.case.axis, i) for i in range(self.start, self.stop)]


def blocks_of(case: Case) -> list[Block]:
    """All slices of a case along its axis, a few at a time."""
    count = case.geometry.shape[case.axis]
    starts = range(0, count, SLICES_PER_BLOCK)
    return [Block(case, start, min(start + SLICES_PER_BLOCK, count)) for start in starts]


class Publisher:
    """The one writer of the prediction and weight arrays of a study.

    Each slice remembers the step at which it was last written; the block with the oldest is next,
    where the case on view ages four times as fast as the others.
    """

    def __init__(
        self,
        study: Study,
        source: SliceSource,
        model: Model,
        *,
        views: Sequence[View],
        weigh: Scores | None,
    ) -> None:
        self.focus: SliceKey | None = None
        self._study, self._source, self._model = study, source, model
        self._views, self.weigh = views, weigh
        self._cases = {case.id: case for case in study.cases}
        self._steps = {
            case.id: np.full(case.geometry.shape[case.axis], NEVER) for case in study.cases
        }

    def focused_slice(self) -> Block | None:
        """The slice on view as a block of one, where it lies along its case's axis."""
        if self.focus is None or self.focus.case_id not in self._cases:
            return None
        case = self._cases[self.focus.case_id]
        if case.axis != self.focus.axis:
            return None
        return Block(case, self.focus.index, self.focus.index + 1)

    def stalest_block(self, step: int, *, youngest: int) -> Block | None:
        """The block of slices that is the most out of date; None where none is `youngest` old."""
        best, best_age = None, youngest - 1
        for case_id, steps in self._steps.items():
            factor = FOCUSED_CASE_FACTOR if self._in_focus(case_id) else 1
            index = int(steps.argmin())
            age = int(step - steps[index])
            if age >= youngest and age * factor > best_age:
                best_age = age * factor
                best = blocks_of(self._cases[case_id])[index // SLICES_PER_BLOCK]
        return best

    def publish(
        self,
        block: Block,
        *,
        parameters: Mapping[str, Tensor],
        direction: Mapping[str, Tensor] | None,
        step: int,
    ) -> SlicesPublished:
        """Predict the slices and write them; with a clean gradient `direction`, weigh them too.

        A prediction begins as a copy of the initial labels, so that it is never half empty.
        """
        if not self._study.has_array(block.case.id, ArrayName.PREDICTION):
            self._begin_prediction(block.case)
        if self.weigh is None or direction is None:
            maps = self._predicted(block.keys, parameters)
        else:
            maps = self._weighed(block.keys, parameters, direction, self.weigh)
        for name, voxels in maps.items():
            self._write(name, block.keys[0], voxels)
        case, start, stop = block.case, block.start, block.stop
        self._steps[case.id][start:stop] = step
        return SlicesPublished(case.id, case.axis, start, stop, tuple(map(str, maps)), step)

    def write_initial_labels(
        self, block: Block, parameters: Mapping[str, Tensor], *, step: int
    ) -> SlicesPublished:
        """Predict the slices and write them as initial labels."""
        key, case, name = block.keys[0], block.case, ArrayName.INITIAL_LABELS
        probabilities = self._predict(parameters, self._source.unmoved(block.keys).images)
        hard = self._source.to_file_pixels(probabilities, key).argmax(dim=1)
        self._write(name, key, self._labels(hard))
        return SlicesPublished(case.id, case.axis, block.start, block.stop, (name.value,), step)

    def _begin_prediction(self, case: Case) -> None:
        self._study.create_array(case.id, ArrayName.PREDICTION)
        for block in blocks_of(case):
            slices = [
                self._study.read_slice(k.case_id, ArrayName.INITIAL_LABELS, k.axis, k.index)
                for k in block.keys
            ]
            self._write(ArrayName.PREDICTION, block.keys[0], np.stack(slices))

    def _predicted(self, keys: Sequence[SliceKey], parameters: Mapping[str, Tensor]) -> Maps:
        probabilities = self._predict(parameters, self._source.unmoved(keys).images)
        hard = self._source.to_file_pixels(probabilities, keys[0]).argmax(dim=1)
        return {ArrayName.PREDICTION: self._labels(hard)}

    def _weighed(
        self,
        keys: Sequence[SliceKey],
        parameters: Mapping[str, Tensor],
        direction: Mapping[str, Tensor],
        weigh: Scores,
    ) -> Maps:
        """Prediction, weights and trust, all from the same passes through the network."""
        batch = self._source.unmoved(keys, [self._source.initial_labels(k) for k in keys])
        probabilities, tilted, scores = predict.look_ahead(
            self._model,
            parameters,
            direction,
            batch.images,
            views=self._views,
            scores=(confidence, tilted_probabilities, weigh),
        )
        hard = self._source.to_file_pixels(probabilities, keys[0]).argmax(dim=1)
        valid = batch.labels != IGNORE
        pseudo = torch.where(valid, probabilities.argmax(dim=1), IGNORE)
        weights = weights_of(scores, batch.labels, pseudo)
        maps: Maps = {ArrayName.PREDICTION: self._labels(hard)}
        maps |= self._weights(predict.relative_weights(*weights, valid=valid), keys[0])
        return maps | self._trust(tilted, hard, keys[0])

    def _predict(self, parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        return predict.probabilities(self._model, parameters, images, views=self._views)

    def _weights(self, weights: Sequence[Tensor], key: SliceKey) -> Maps:
        names = (ArrayName.META_WEIGHTS_INITIAL, ArrayName.META_WEIGHTS_PSEUDO)
        sharp = self._source.to_file_pixels(torch.stack(list(weights), dim=1), key)
        return {name: sharp[:, i].half().cpu().numpy() for i, name in enumerate(names)}

    def _trust(self, tilted: Tensor, shown: Tensor, key: SliceKey) -> Maps:
        believed = self._source.to_file_pixels(tilted, key)
        trust = believed.gather(1, shown.unsqueeze(1)).squeeze(1).half().cpu().numpy()
        return {ArrayName.TRUST: trust, ArrayName.VOTES: self._labels(believed.argmax(dim=1))}

    def _labels(self, indices: Tensor) -> NDArray[np.uint8]:
        labels: NDArray[np.uint8] = self._source.class_values[indices.cpu().numpy()]
        return labels

    def _write(self, name: ArrayName, first: SliceKey, block: NDArray[np.generic]) -> None:
        if not self._study.has_array(first.case_id, name):
            self._study.create_array(first.case_id, name)
        self._study.write_slices(first.case_id, name, first.axis, first.index, block)

    def _in_focus(self, case_id: str) -> bool:
        return self.focus is not None and self.focus.case_id == case_id

"""Network, data and state of a run, and its training steps."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.data.choose import batch_sizes, choose_source
from napari_mlbseg.engine.data.source import CleanSlices, Span
from napari_mlbseg.engine.interruption import Check, let_interrupt, never
from napari_mlbseg.engine.nets.device import choose_device, choose_precision, release_memory
from napari_mlbseg.engine.nets.model import Parameters
from napari_mlbseg.engine.nets.views import View, averaged_views
from napari_mlbseg.engine.steps.imported_labels import largest_right_disagreement, mostly_right
from napari_mlbseg.engine.steps.update import BootstrapGradient
from napari_mlbseg.engine.steps.weighting.rules import RULES
from napari_mlbseg.engine.training.checkpoint import design_in
from napari_mlbseg.engine.training.clean_slices import choose_validation
from napari_mlbseg.engine.training.course import course_of
from napari_mlbseg.engine.training.design import NetworkDesign
from napari_mlbseg.engine.training.earlier_model import EarlierModel, read_earlier_model
from napari_mlbseg.engine.training.known_slices import KnownSlices
from napari_mlbseg.engine.training.labelling import Labelling
from napari_mlbseg.engine.training.memory import Memory, Restored
from napari_mlbseg.engine.training.objective import Objective
from napari_mlbseg.engine.training.precision import differentiable
from napari_mlbseg.engine.training.predicting import predicted_slice
from napari_mlbseg.engine.training.sampler import Sampler
from napari_mlbseg.engine.training.state import TrainingState
from napari_mlbseg.engine.training.steering import (
    DIRECTION_SLICES,
    agreed_direction,
    steering_groups,
)
from napari_mlbseg.engine.training.untrained import is_trained
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study


class Trainer:
    """Holds the network, its data and its state, and trains step by step; no events, no clock.

    `check` is called between the parts of long work and interrupts it by raising. The state is
    then the same as before the step, except for the random generator.
    """

    def __init__(self, study: Study, config: Config, *, check: Check = never) -> None:
        self._study, self._config = study, config
        self.earlier = _model_to_begin_with(study, config)
        existing = self.earlier.design if self.earlier else _design_to_resume(study, config)
        self._cases = {case.id: case for case in study.cases}
        self.device = choose_device(config.device)
        self.weighting = RULES[config.weights]
        self.course = course_of(config.base_steps, config.steps, renews_labels=self.renews_labels)
        volumes = existing.sees_volumes if existing else None
        self.dimensions, self.source = choose_source(
            study, config, self.device, check, volumes=volumes
        )
        self._known = KnownSlices(study, self.source, check)
        name = existing.name if existing else "unet"
        self.design = NetworkDesign(
            name if config.network == "auto" else config.network,
            existing.large if existing else self.device.type != "cpu",
            tuple(int(v) for v in self.source.classes.values),
            self.source.sample,
        )
        if self.earlier is not None:
            self.earlier.require_same_kind(self.design)
        network = let_interrupt(self._fresh_network(), check)
        precision = choose_precision(config.precision, self.device)
        self.model = differentiable(network, precision, self.source.sample, self.device)
        self._batch, clean_batch = batch_sizes(config, self.dimensions, self.device)
        self.state = self._fresh_state(network)
        self.labelling = Labelling(
            study, self.source, self.state, self.course, renews=self.renews_labels
        )
        self._objective = Objective(self.model, config, self.weighting, self.device)
        self._sampler = Sampler(
            self.source,
            self.state,
            batch=self._batch,
            clean_batch=clean_batch,
            views=config.views,
            views_per_step=config.views_per_step,
        )
        self._largest_right_disagreement: float | None = None
        self.memory = Memory(
            study.checkpoint_path,
            self.state,
            design=self.design,
            device=self.device,
            fresh=lambda: self._fresh_state(self._fresh_network()),
        )

    def _fresh_network(self) -> nn.Module:
        torch.manual_seed(self._config.seed)
        network = self.design.build()
        if self.earlier is not None:
            began = self.earlier.parameters_for(network, self.design, self.class_names)
            network.load_state_dict(began)
        return network.to(self.device)

    def _fresh_state(self, network: nn.Module) -> TrainingState:
        rate, seed = self._config.learning_rate, self._config.seed
        return TrainingState.fresh(network, learning_rate=rate, seed=seed, batch=self._batch)

    def restore(self) -> Restored:
        """Resume from the newest checkpoint of the study that is sound and of this network."""
        return self.memory.restore()

    def save(self) -> None:
        """Write a checkpoint, see `Memory.save`."""
        self._study.require_writable()
        self.memory.save()

    def shrink(self) -> None:
        """Halve the batch and free memory, because a step did not fit."""
        self.state.halve_batch()
        self._objective.release()
        release_memory(self.device)

    def read_clean_slices(self) -> None:
        """Read the slices that teach from the catalogue and choose the validation slices."""
        known = self._known.of(self._study.slices.teaching())
        validation = choose_validation(
            {key: one.shown for key, one in known.items()},
            self.state.validation,
            self.state.trained_on,
            share=self._config.validation_share,
        )
        skipped = {r.key for r in self._study.slices.records(state=SliceState.SKIPPED)}
        errors = [one.disagreement for one in known.values() if one.disagreement is not None]
        self._largest_right_disagreement = largest_right_disagreement(errors)
        sees_labels = self.design.sample.label_channels > 0
        images_alone = (
            sees_labels and self.weighting.judges_imported_labels and mostly_right(errors)
        )
        self.state.share_out(frozenset(known), validation, images_alone=images_alone)
        empty = [key for key in self._empty_slices() if key not in known and key not in skipped]
        labels = {key: one.labels for key, one in known.items()}
        self.source.use(
            CleanSlices(
                training={k: v for k, v in labels.items() if k not in validation},
                validation={k: v for k, v in labels.items() if k in validation},
                left_out=frozenset({*skipped, *known, *empty}),
                empty=tuple(empty),
                images_alone=images_alone,
            )
        )

    def _empty_slices(self) -> Iterator[SliceKey]:
        """The slices that are certified to show no class, along the axes of their cases."""
        for (case_id, axis), empty in self._study.extents.certified().items():
            if axis == self._cases[case_id].axis:
                for index in np.flatnonzero(empty).tolist():
                    yield SliceKey(case_id, axis, index)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class index; that of the background is empty."""
        names = {one.value: one.name for one in self._study.classes}
        return tuple(names.get(value, "") for value in self.class_values)

    @property
    def class_values(self) -> tuple[int, ...]:
        """The label value of each class index; index 0 is the background."""
        return self.design.class_values

    @property
    def training_slices(self) -> Mapping[SliceKey, Tensor]:
        """The training slices as class indices."""
        return self.source.clean.training

    @property
    def validation_slices(self) -> Mapping[SliceKey, Tensor]:
        """The validation slices as class indices."""
        return self.source.clean.validation

    @property
    def parameters(self) -> Parameters:
        """Parameters of the newest network: the teacher's if there is one, else the student's."""
        return self.state.teacher if self._config.teacher else self.state.student

    @property
    def learning_rate(self) -> float:
        """The learning rate of the settings, or the limit set after an unstable training."""
        limit = self.state.rate_limit
        wanted = self._config.learning_rate
        return wanted if limit is None else min(wanted, limit)

    @property
    def prediction_parameters(self) -> Parameters:
        """Parameters of the network used for predictions.

        They are the newest, or those of the last model that did well on the validation slices.
        """
        kept = self.state.kept
        return kept.parameters if kept is not None and kept.worse else self.parameters

    @property
    def learns_from_noisy_labels(self) -> bool:
        """Whether there are open slices, whose labels the bootstrapping learns from."""
        ignores = self.renews_labels and not self.weighting.learns_labels
        return self.source.has_open_slices and not ignores

    @property
    def renews_labels(self) -> bool:
        """Whether the bootstrapping learns from pseudo labels that each round renews."""
        return self._config.objective == "self-training"

    @property
    def largest_right_disagreement(self) -> float | None:
        """Largest disagreement with the prediction at which an imported label is kept as correct.

        None if the weighting rule does not judge imported labels.
        """
        return self._largest_right_disagreement if self.weighting.judges_imported_labels else None

    @property
    def prediction_views(self) -> list[View]:
        """Views that predictions are averaged over."""
        return averaged_views(self._config.views)

    def base_step(self, *, learning_rate: float) -> Mapping[str, Tensor]:
        """Take one supervised step on training slices; returns the losses by name."""
        found = self._objective.of_base_model(self.state.student, self._sampler.clean())
        return self._taken(found, learning_rate)

    def bootstrap_step(self, *, learning_rate: float) -> Mapping[str, Tensor]:
        """Take one step on noisy and training slices; on training slices if none is open.

        Returns the losses by name.
        """
        if not self.learns_from_noisy_labels:
            return self.base_step(learning_rate=learning_rate)
        return self._taken(self._bootstrap_gradient(learning_rate), learning_rate)

    def _bootstrap_gradient(self, learning_rate: float) -> BootstrapGradient:
        state, sampler, objective = self.state, self._sampler, self._objective
        noisy = sampler.noisy()
        match self._config.objective:
            case "meta-weights":
                views = sampler.views()
                return objective.of_meta_weights(
                    state.student,
                    state.teacher,
                    noisy,
                    views=views,
                    noise=sampler.noise(views, noisy),
                    clean=sampler.clean(),
                    learning_rate=learning_rate,
                )
            case "copy-paste":
                return objective.of_copy_paste(
                    state.student, state.teacher, noisy, sampler.clean(), state.generator
                )
            case _:
                name = "pseudo labels" if self.renews_labels else "initial labels"
                clean = sampler.clean(at_most=state.batch)
                return objective.of_self_training(state.student, noisy, clean, name=name)

    def _taken(self, found: BootstrapGradient, learning_rate: float) -> Mapping[str, Tensor]:
        """Take an optimiser step along a gradient; returns the losses by name."""
        self.state.apply(found.gradient, learning_rate=learning_rate, decay=self._config.ema_decay)
        return {name: loss.clone() for name, loss in found.losses.items()}

    def direction(self) -> dict[str, Tensor]:
        """The clean direction: where the training slices want the network to move."""
        groups = steering_groups(self.training_slices, DIRECTION_SLICES[self.dimensions])
        size = self._sampler.clean_size
        return agreed_direction(self.model, self.parameters, self.source, groups, at_once=size)

    def predictions_beside(
        self, truth: Mapping[SliceKey, Tensor], parameters: Parameters
    ) -> dict[SliceKey, tuple[Tensor, Tensor]]:
        """Prediction and truth (class indices) of the slices in `truth`."""
        return {key: (self._predicted(key, parameters), mask) for key, mask in truth.items()}

    def _predicted(self, key: SliceKey, parameters: Parameters) -> Tensor:
        span = Span(self._cases[key.case_id], key.axis, key.index, key.index + 1)
        return predicted_slice(self.model, parameters, self.source, span, self.prediction_views)


def _model_to_begin_with(study: Study, config: Config) -> EarlierModel | None:
    """The earlier model of the settings, unless there is a training to resume."""
    if config.begin_with is None or (config.resume and is_trained(study)):
        return None
    return read_earlier_model(Path(config.begin_with))


def _design_to_resume(study: Study, config: Config) -> NetworkDesign | None:
    """The design of the latest checkpoint, which settings left to choice follow; None without."""
    return design_in(study.checkpoint_path) if config.resume else None

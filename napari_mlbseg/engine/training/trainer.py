"""Network, data and state of a run, and the steps that move them."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import groupby

import torch
from torch import Tensor, nn

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.data.choose import batch_sizes, choose_source
from napari_mlbseg.engine.data.source import CleanSlices, Span, as_planes
from napari_mlbseg.engine.interruption import Check, let_interrupt, never
from napari_mlbseg.engine.nets.device import (
    choose_device,
    choose_precision,
    is_out_of_memory,
    release_memory,
)
from napari_mlbseg.engine.nets.network import build_network
from napari_mlbseg.engine.nets.noise import normal
from napari_mlbseg.engine.nets.views import VIEWS, View, averaged_views
from napari_mlbseg.engine.steps.augment import random_appearance
from napari_mlbseg.engine.steps.base_model import clean_gradient
from napari_mlbseg.engine.steps.baselines import copy_paste_gradient, initial_labels_gradient
from napari_mlbseg.engine.steps.clean_direction import clean_direction, mean_gradient
from napari_mlbseg.engine.steps.imported_labels import largest_of_right
from napari_mlbseg.engine.steps.meta_weights import Model, logit_derivative
from napari_mlbseg.engine.steps.predict import probabilities
from napari_mlbseg.engine.steps.update import (
    TEACHER_NOISE,
    Batch,
    BootstrapGradient,
    bootstrap_gradient,
)
from napari_mlbseg.engine.training.clean_slices import choose_validation
from napari_mlbseg.engine.training.cuda_graphs import Graphs
from napari_mlbseg.engine.training.known_slices import KnownSlices
from napari_mlbseg.engine.training.memory import Memory, Restored
from napari_mlbseg.engine.training.state import TrainingState, as_model
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

logger = logging.getLogger(__name__)

DIRECTION_SLICES = {"2d": 16, "2.5d": 16, "3d": 2}
"""As many as can be looked at while somebody waits: a patch takes longer than a slice."""
GROUP = 2


class Trainer:
    """What is trained, what on, and one step of it; knows no events and no clock.

    `check` is called between the parts of whatever takes long, and cuts it off by raising; the
    state is what it was before the step then, but for the random generator.
    """

    def __init__(self, study: Study, config: Config, *, check: Check = never) -> None:
        self._study, self._config, self._check = study, config, check
        self._cases = {case.id: case for case in study.cases}
        self.device = choose_device(config.device)
        self._graphs = Graphs(self.device)
        gpu = self.device.type != "cpu"
        self.dimensions, self.source = choose_source(study, config, self.device, check)
        self._known = KnownSlices(study, self.source, check)
        self.network_name = "unet" if config.network == "auto" else config.network
        self._values = [int(v) for v in self.source.classes.values]
        network = let_interrupt(self._fresh_network(), check)
        self.model = self._differentiable(network, choose_precision(config.precision, self.device))
        self._batch, self._clean_batch = batch_sizes(config, self.dimensions, self.device)
        self.state = self._fresh_state(network)
        fits = {
            "network": f"{self.network_name}, {'large' if gpu else 'small'}",
            "class_values": self._values,
            **self.source.fits,
        }
        self.memory = Memory(
            study.checkpoint_path,
            self.state,
            fits=fits,
            device=self.device,
            fresh=lambda: self._fresh_state(self._fresh_network()),
        )

    def _differentiable(self, network: nn.Module, precision: torch.dtype) -> Model:
        """The network in this precision, or in float32 where torch cannot differentiate it so."""
        model, point = as_model(network, precision), dict(network.named_parameters())
        if self.device.type != "cuda" or precision is torch.float32:
            return model
        side = (32,) * (3 if self.dimensions == "3d" else 2)
        image = torch.zeros(1, self.source.channels, *side, device=self.device)
        try:
            logit_derivative(model, point, point, image)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            logger.warning("%s: networks compute in float32 (%s)", self.device, error)
            return as_model(network)
        return model

    def _fresh_network(self) -> nn.Module:
        torch.manual_seed(self._config.seed)
        return build_network(
            self.network_name,
            channels=self.source.channels,
            classes=len(self._values),
            dims=3 if self.dimensions == "3d" else 2,
            large=self.device.type != "cpu",
        ).to(self.device)

    def _fresh_state(self, network: nn.Module) -> TrainingState:
        rate, seed = self._config.learning_rate, self._config.seed
        return TrainingState.fresh(network, learning_rate=rate, seed=seed, batch=self._batch)

    def restore(self) -> Restored:
        """Go on from the newest checkpoint of the study that is sound and of this network."""
        return self.memory.restore()

    def save(self) -> None:
        """Write a checkpoint, see `Memory.save`."""
        self._study.require_writable()
        self.memory.save()

    def shrink(self) -> None:
        """Go on with half the batch, where the memory does not suffice."""
        self.state.batch //= 2
        self._graphs.forget()
        release_memory(self.device)

    def read_clean_slices(self) -> None:
        """Take the clean slices from the catalogue, and decide which of them validate."""
        known = self._known.of(self._study.slice_records(state=SliceState.CLEAN))
        self.state.validation = choose_validation(
            {key: one.shown for key, one in known.items()},
            self.state.validation,
            self.state.trained_on,
            share=self._config.validation_share,
        )
        self.state.trained_on |= frozenset(known) - self.state.validation
        skipped = {r.key for r in self._study.slice_records(state=SliceState.SKIPPED)}
        self._largest_of_right = largest_of_right(
            one.disagreement for one in known.values() if one.disagreement is not None
        )
        labels = {key: one.labels for key, one in known.items()}
        self.source.clean = CleanSlices(
            training={k: v for k, v in labels.items() if k not in self.state.validation},
            validation={k: v for k, v in labels.items() if k in self.state.validation},
            left_out=frozenset(skipped | set(known)),
        )

    @property
    def class_values(self) -> list[int]:
        """The label value of each class index; index 0 is the background."""
        return self._values

    @property
    def training_slices(self) -> Mapping[SliceKey, Tensor]:
        """The clean training slices."""
        return self.source.clean.training

    @property
    def validation_slices(self) -> Mapping[SliceKey, Tensor]:
        """The clean slices that the network never learns from."""
        return self.source.clean.validation

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """Those that predictions are made with: the teacher's where there is one."""
        return self.state.teacher if self._config.teacher else self.state.student

    @property
    def learning_rate(self) -> float:
        """That of the settings, or a smaller one that the training has not been unstable at."""
        limit = self.state.rate_limit
        wanted = self._config.learning_rate
        return wanted if limit is None else min(wanted, limit)

    @property
    def shown(self) -> Mapping[str, Tensor]:
        """The same, or those of the last model that was good enough where the newest is worse."""
        kept = self.state.kept
        return kept.parameters if kept is not None and kept.worse else self.parameters

    @property
    def learns_from_initial_labels(self) -> bool:
        """Whether the bootstrapping has anything to work on beside the clean slices."""
        return self.source.has_open_slices

    @property
    def largest_of_right(self) -> float | None:
        """How much imported labels may disagree with the network and be right.

        None where they are not judged, because nobody asks for meta-weights.
        """
        return self._largest_of_right if self._config.weights == "meta" else None

    @property
    def prediction_views(self) -> list[View]:
        """Views that predictions are averaged over."""
        return averaged_views(self._config.views)

    def base_step(self, *, learning_rate: float) -> dict[str, Tensor]:
        """One supervised step on clean slices."""
        batch = self._clean()
        gradient, loss = self._graphs.run(
            "base model", partial(clean_gradient, self.model), self.state.student, *batch
        )
        self.state.apply(gradient, learning_rate=learning_rate, decay=self._config.ema_decay)
        return {"clean": loss.clone()}

    def bootstrap_step(self, *, learning_rate: float) -> Mapping[str, Tensor]:
        """One step on noisy and clean slices together; on clean ones where there are no others."""
        if not self.learns_from_initial_labels:
            return self.base_step(learning_rate=learning_rate)
        if self._config.objective != "bootstrapping":
            return self._comparison_step(learning_rate=learning_rate)
        noisy, views = self._noisy(), self._draw_views()
        shape = (len(views) * len(noisy.images), *noisy.images.shape[1:])
        noise = TEACHER_NOISE * normal(shape, self.state.generator, like=noisy.images)
        found = self._graphs.run(
            tuple(view.name for view in views),
            partial(self._bootstrap_gradient, views),
            self.state.student,
            self.state.teacher,
            noisy,
            self._clean(),
            noise,
            torch.full((), learning_rate, device=self.device),
        )
        self.state.apply(found.gradient, learning_rate=learning_rate, decay=self._config.ema_decay)
        return {name: loss.clone() for name, loss in found.losses.items()}

    def _bootstrap_gradient(
        self,
        views: Sequence[View],
        student: Mapping[str, Tensor],
        teacher: Mapping[str, Tensor],
        noisy: Batch,
        clean: Batch,
        noise: Tensor,
        learning_rate: Tensor,
    ) -> BootstrapGradient:
        """What of a step is a function of tensors alone, so that it can be recorded."""
        config = self._config
        return bootstrap_gradient(
            self.model,
            student,
            noisy,
            clean,
            views=views,
            weights=config.weights,
            learning_rate=learning_rate,
            consistency=config.consistency,
            clean_step=config.clean_step,
            teacher=teacher if config.teacher else None,
            teacher_noise=noise,
        )

    def _comparison_step(self, *, learning_rate: float) -> Mapping[str, Tensor]:
        """One step of another method."""
        state, noisy, clean = self.state, self._noisy(), self._clean()
        if self._config.objective == "initial labels":
            found = initial_labels_gradient(self.model, state.student, noisy, clean)
        else:
            found = copy_paste_gradient(
                self.model,
                state.student,
                noisy,
                clean,
                teacher=state.teacher,
                generator=state.generator,
            )
        state.apply(found.gradient, learning_rate=learning_rate, decay=self._config.ema_decay)
        return found.losses

    def direction(self) -> dict[str, Tensor]:
        """Where the training slices want the network to move, for the weight maps on view."""
        found = [self._gradient(keys) for keys in self._groups()]
        loss = torch.stack([loss for _, loss in found]).mean()
        return clean_direction([gradient for gradient, _ in found], loss)

    def _groups(self) -> list[list[SliceKey]]:
        """Some of the training slices (`DIRECTION_SLICES`) in groups that have to agree.

        Pairs of the same case, so that cases agree; a single pair is split.
        """
        keys = sorted(self.training_slices)
        most = DIRECTION_SLICES[self.dimensions]
        chosen = keys[:: max(1, len(keys) // most)][:most]
        cases = [list(group) for _, group in groupby(chosen, key=lambda key: key.case_id)]
        groups = [case[i : i + GROUP] for case in cases for i in range(0, len(case), GROUP)]
        return groups if len(groups) > 1 else [[key] for key in chosen]

    def _gradient(self, keys: Sequence[SliceKey]) -> tuple[dict[str, Tensor], Tensor]:
        """Gradient and clean loss of some slices, no more of them at once than in a step."""
        size = self._clean_batch_size()
        batches = (self.source.steady_batch(keys[i : i + size]) for i in range(0, len(keys), size))
        found = [clean_gradient(self.model, self.parameters, b.images, b.labels) for b in batches]
        if len(found) == 1:
            return found[0]
        loss = torch.stack([loss for _, loss in found]).mean()
        return mean_gradient([gradient for gradient, _ in found]), loss

    def validation_predictions(
        self, parameters: Mapping[str, Tensor]
    ) -> dict[SliceKey, tuple[Tensor, Tensor]]:
        """Prediction and truth (class indices) of the validation slices."""
        return self.predictions_beside(self.validation_slices, parameters)

    def predictions_beside(
        self, truth: Mapping[SliceKey, Tensor], parameters: Mapping[str, Tensor]
    ) -> dict[SliceKey, tuple[Tensor, Tensor]]:
        """Prediction and truth (class indices) of some slices."""
        return {key: (self._predicted(key, parameters), mask) for key, mask in truth.items()}

    def _predicted(self, key: SliceKey, parameters: Mapping[str, Tensor]) -> Tensor:
        span = Span(self._cases[key.case_id], key.axis, key.index, key.index + 1)
        scene = self.source.scene(span)
        found = probabilities(
            self.model,
            parameters,
            scene.images,
            views=self.prediction_views,
            tile=self.source.tile,
        )
        return scene.to_file(as_planes(found), span).argmax(dim=1)[0]

    def _clean(self) -> Batch:
        generator = self.state.generator
        return self._varied(self.source.clean_batch(self._clean_batch_size(), generator))

    def _clean_batch_size(self) -> int:
        """Shrinks with the batch of noisy samples where the memory does not suffice."""
        return max(1, self._clean_batch * self.state.batch // self._batch)

    def _noisy(self) -> Batch:
        return self._varied(self.source.noisy_batch(self.state.batch, self.state.generator))

    def _varied(self, batch: Batch) -> Batch:
        return Batch(random_appearance(batch.images, self.state.generator), batch.labels)

    def _draw_views(self) -> list[View]:
        others = [name for name in self._config.views if name != "identity"]
        count = min(self._config.views_per_step - 1, len(others))
        order = torch.randperm(len(others), generator=self.state.generator)[:count]
        return [VIEWS["identity"], *(VIEWS[others[int(i)]] for i in order)]

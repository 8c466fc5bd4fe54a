"""What a step minimises: the gradient of the method, or of a baseline to compare it with."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Generator, Tensor

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.model import Model, Parameters
from napari_mlbseg.engine.nets.views import View
from napari_mlbseg.engine.steps.base_model import clean_gradient
from napari_mlbseg.engine.steps.baselines import copy_paste_gradient
from napari_mlbseg.engine.steps.self_training import self_training_gradient
from napari_mlbseg.engine.steps.update import (
    BootstrapGradient,
    bootstrap_gradient,
)
from napari_mlbseg.engine.steps.weighting.rule import Weighting
from napari_mlbseg.engine.training.cuda_graphs import Graphs


class Objective:
    """Computes gradients according to the settings of a run; records them on a GPU.

    The next call may overwrite the memory of the returned gradients and losses.
    """

    def __init__(
        self, model: Model, config: Config, weighting: Weighting, device: torch.device
    ) -> None:
        self._model, self._config, self._weighting = model, config, weighting
        self._device, self._graphs = device, Graphs(device)

    def release(self) -> None:
        """Free the memory of the recordings."""
        self._graphs.forget()

    def of_base_model(self, student: Parameters, clean: Batch) -> BootstrapGradient:
        """Gradient of a step of the base model, on training slices alone."""
        function = partial(clean_gradient, self._model)
        gradient, loss = self._graphs.run("base model", function, student, *clean)
        return BootstrapGradient(gradient, {"clean": loss})

    def of_meta_weights(
        self,
        student: Parameters,
        teacher: Parameters,
        noisy: Batch,
        clean: Batch,
        *,
        views: Sequence[View],
        noise: Tensor,
        learning_rate: float,
    ) -> BootstrapGradient:
        """Gradient of a step with meta-weights.

        It depends on tensors alone, so it can be recorded; `teacher` is the mean teacher's
        parameters, and `noise` is added to the images that it sees.
        """
        return self._graphs.run(
            tuple(view.name for view in views),
            partial(self._bootstrap_gradient, views),
            student,
            teacher,
            noisy,
            clean,
            noise,
            torch.full((), learning_rate, device=self._device),
        )

    def of_self_training(
        self, student: Parameters, noisy: Batch, clean: Batch, *, name: str
    ) -> BootstrapGradient:
        """Gradient of a step of self-training; `name` is what the noisy labels are called."""
        function = partial(_self_training, self._model, name)
        return self._graphs.run(name, function, student, noisy, clean)

    def of_copy_paste(
        self,
        student: Parameters,
        teacher: Parameters,
        noisy: Batch,
        clean: Batch,
        generator: Generator,
    ) -> BootstrapGradient:
        """Gradient of a step of bidirectional copy-paste."""
        return copy_paste_gradient(
            self._model, student, noisy, clean, teacher=teacher, generator=generator
        )

    def _bootstrap_gradient(
        self,
        views: Sequence[View],
        student: Parameters,
        teacher: Parameters,
        noisy: Batch,
        clean: Batch,
        noise: Tensor,
        learning_rate: Tensor,
    ) -> BootstrapGradient:
        config = self._config
        return bootstrap_gradient(
            self._model,
            student,
            noisy,
            clean,
            views=views,
            weighting=self._weighting,
            learning_rate=learning_rate,
            consistency=config.consistency,
            clean_step=config.clean_step,
            teacher=teacher if config.teacher else None,
            teacher_noise=noise,
        )


def _self_training(
    model: Model, name: str, student: Parameters, noisy: Batch, clean: Batch
) -> BootstrapGradient:
    return self_training_gradient(model, student, noisy, clean, name=name)

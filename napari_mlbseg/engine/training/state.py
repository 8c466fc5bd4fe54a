"""Everything that a run needs to resume exactly where it stopped."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from napari_mlbseg.engine.events import Stage
from napari_mlbseg.engine.nets.model import Parameters
from napari_mlbseg.engine.nets.teacher import copy_of, follow
from napari_mlbseg.engine.training.course import Course
from napari_mlbseg.former_names import with_new_stage
from napari_mlbseg.project.records.slices import SliceKey

FORMAT = 2

Dices = dict[SliceKey, float | None]
"""Dice of each slice; None if neither truth nor prediction shows anything."""


@dataclass(frozen=True)
class Kept:
    """The last model that did well on the validation slices.

    Attributes
    ----------
    parameters
        Parameters that it predicts with.
    dice
        Dice of each validation slice.
    total
        Number of its training steps.
    worse
        Whether the newest model does worse, so that this one makes the predictions.
    """

    parameters: dict[str, Tensor]
    dice: Dices
    total: int
    worse: bool = False

    def content(self) -> dict[str, Any]:
        """The model as plain data and tensors."""
        return {
            "parameters": self.parameters,
            "dice": _plain_dices(self.dice),
            "total": self.total,
            "worse": self.worse,
        }

    @classmethod
    def read(cls, content: Mapping[str, Any], device: torch.device) -> "Kept":
        """The inverse of `content`."""
        parameters = {name: value.to(device) for name, value in content["parameters"].items()}
        return cls(parameters, _dices(content["dice"]), content["total"], content["worse"])


@dataclass
class TrainingState:
    """Student, teacher, optimiser, random generator and position in the schedule.

    Attributes
    ----------
    step, total
        Optimiser steps within `stage`, and of the whole run.
    validation
        The validation slices.
    trained_on
        The clean slices that the network has learnt from since it was fresh.
    kept
        The last model that did well on the validation slices; None if none was scored yet.
    scored
        The value of `total` at which the validation slices were last scored.
    best
        Dice of each validation slice at the best checkpoint; None if there is no such checkpoint.
    rate_limit
        Largest learning rate allowed, after the training became unstable; None for no limit.
    round
        Number of the current round in the course of the run, or of the next one after a labelling.
    labelled
        The cases that have pseudo labels of this training, the longest since first.
    images_alone
        Whether predictions are made from images alone, see `CleanSlices`.
    began_with
        Number of the run that started this training with a fresh network.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    teacher: dict[str, Tensor]
    generator: torch.Generator
    stage: Stage = Stage.BASE_MODEL
    step: int = 0
    total: int = 0
    batch: int = 1
    validation: frozenset[SliceKey] = field(default_factory=frozenset)
    trained_on: frozenset[SliceKey] = field(default_factory=frozenset)
    kept: Kept | None = None
    scored: int | None = None
    best: Dices | None = None
    rate_limit: float | None = None
    round: int = 0
    labelled: tuple[str, ...] = ()
    images_alone: bool = False
    began_with: int = 0

    @classmethod
    def fresh(
        cls, network: nn.Module, *, learning_rate: float, seed: int, batch: int
    ) -> "TrainingState":
        """The state before the first step."""
        on_gpu = next(network.parameters()).device.type == "cuda"
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=learning_rate, weight_decay=1e-4, fused=on_gpu
        )
        generator = torch.Generator().manual_seed(seed)
        return cls(
            network, optimiser, copy_of(dict(network.named_parameters())), generator, batch=batch
        )

    @property
    def student(self) -> dict[str, Tensor]:
        """The parameters that are optimised, by name."""
        return dict(self.network.named_parameters())

    def apply(self, gradient: Parameters, *, learning_rate: float, decay: float) -> None:
        """Take one optimiser step, then move the teacher with `decay`."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        for name, value in self.network.named_parameters():
            value.grad = gradient[name]
        nn.utils.clip_grad_norm_(self.network.parameters(), max_norm=10.0)
        self.optimiser.step()
        follow(self.teacher, self.student, decay=decay, step=self.total)
        self.step += 1
        self.total += 1

    def begin(self, run_id: int) -> None:
        """Note the run that starts this training with a fresh network."""
        self.began_with = run_id

    def share_out(
        self,
        clean: frozenset[SliceKey],
        validation: frozenset[SliceKey],
        *,
        images_alone: bool,
    ) -> None:
        """Set the validation slices; the network learns from all other clean slices from now on.

        `images_alone` is what the clean slices say of predictions.
        """
        self.validation, self.images_alone = validation, images_alone
        self.trained_on |= clean - validation

    def halve_batch(self) -> None:
        """Use half as many samples per step from now on."""
        self.batch //= 2

    def limit_rate(self, learning_rate: float) -> None:
        """Limit the learning rate from now on."""
        self.rate_limit = learning_rate

    def note_score(self, dice: Dices, parameters: Parameters, *, worse: bool) -> None:
        """Keep the model that was just scored, or note that it is worse than the kept one."""
        if not worse:
            self.kept = Kept(copy_of(parameters), dice, self.total)
        elif self.kept is not None:
            self.kept = replace(self.kept, worse=True)

    def note_scored(self) -> None:
        """Note that the validation slices were scored at the current step."""
        self.scored = self.total

    def note_best(self) -> None:
        """Note that the kept model becomes the best checkpoint."""
        if self.kept is not None:
            self.best = self.kept.dice

    def note_labelled(self, case_id: str) -> None:
        """Note that a case has new pseudo labels."""
        self.labelled = (*(known for known in self.labelled if known != case_id), case_id)

    def keep_to(self, course: Course) -> None:
        """Take the place in this course that the training has reached in another one."""
        self.round = course.place(self.stage, self.round)

    def skip_base_model(self, course: Course) -> None:
        """Take the network for a base model that is done: label the cohort with it first."""
        self.end_round(next_one=course.base_rounds)

    def end_round(self, *, next_one: int) -> None:
        """End a round; the next stage is labelling, and then comes the round of that number."""
        self.round = next_one
        self.enter(Stage.LABELLING)

    def enter(self, stage: Stage) -> None:
        """Enter a stage at its first step."""
        self.stage, self.step = stage, 0

    def content(self, fits: Mapping[str, Any]) -> dict[str, Any]:
        """The state as plain data and tensors; `fits` is the design of the network."""
        return {
            "format": FORMAT,
            "fits": dict(fits),
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "teacher": self.teacher,
            "generator": self.generator.get_state(),
            "stage": self.stage.value,
            "step": self.step,
            "total": self.total,
            "batch": self.batch,
            "validation": _plain(self.validation),
            "trained_on": _plain(self.trained_on),
            "kept": None if self.kept is None else self.kept.content(),
            "scored": self.scored,
            "best": None if self.best is None else _plain_dices(self.best),
            "rate_limit": self.rate_limit,
            "round": self.round,
            "labelled": list(self.labelled),
            "images_alone": self.images_alone,
            "began_with": self.began_with,
        }

    def take(self, content: Mapping[str, Any], device: torch.device) -> None:
        """Return to the state in `content`; old checkpoints may lack its last entries."""
        self.network.load_state_dict(content["network"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.teacher = {name: value.to(device) for name, value in content["teacher"].items()}
        self.generator.set_state(content["generator"])
        self.stage = Stage(with_new_stage(content["stage"]))
        self.step, self.total, self.batch = content["step"], content["total"], content["batch"]
        self.validation = keys_of(content["validation"])
        self.trained_on = keys_of(content["trained_on"])
        kept, best = content.get("kept"), content.get("best")
        self.kept = None if kept is None else Kept.read(kept, device)
        self.best = None if best is None else _dices(best)
        self.scored, self.rate_limit = content.get("scored"), content.get("rate_limit")
        self.round, self.labelled = content.get("round", 0), tuple(content.get("labelled", ()))
        self.images_alone = content.get("images_alone", False)
        self.began_with = content.get("began_with", 0)


def _plain(keys: frozenset[SliceKey]) -> list[list[str | int]]:
    return [[k.case_id, k.axis, k.index] for k in sorted(keys)]


def keys_of(plain: Iterable[Sequence[Any]]) -> frozenset[SliceKey]:
    """Slices as a checkpoint lists them."""
    return frozenset(SliceKey(case_id, int(axis), int(index)) for case_id, axis, index in plain)


def _plain_dices(dices: Dices) -> list[list[str | int | float | None]]:
    return [[k.case_id, k.axis, k.index, dice] for k, dice in sorted(dices.items())]


def _dices(plain: Iterable[Sequence[Any]]) -> Dices:
    return {SliceKey(case_id, axis, index): dice for case_id, axis, index, dice in plain}

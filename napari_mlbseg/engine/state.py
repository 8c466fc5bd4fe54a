"""All that a run must remember to go on exactly where it stopped."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_mlbseg.engine.checkpoint import read_checkpoint
from napari_mlbseg.engine.events import Stage
from napari_mlbseg.engine.nets.teacher import copy_of, follow
from napari_mlbseg.project.slices import SliceKey

_FORMAT = 2


@dataclass
class TrainingState:
    """Student, teacher, optimiser, random numbers and the place in the schedule.

    `step` counts within `stage`; `total` counts all optimiser steps of the run. `taught` are the
    slices that the network has learnt from since it was fresh.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    teacher: dict[str, Tensor]
    generator: torch.Generator
    stage: Stage = Stage.BASE_MODEL
    step: int = 0
    total: int = 0
    batch: int = 1
    held_back: frozenset[SliceKey] = field(default_factory=frozenset)
    taught: frozenset[SliceKey] = field(default_factory=frozenset)

    @classmethod
    def fresh(
        cls, network: nn.Module, *, learning_rate: float, seed: int, batch: int
    ) -> "TrainingState":
        """Before the first step."""
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

    def apply(self, gradient: Mapping[str, Tensor], *, learning_rate: float, decay: float) -> None:
        """One optimiser step, and the teacher after it."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        for name, value in self.network.named_parameters():
            value.grad = gradient[name]
        nn.utils.clip_grad_norm_(self.network.parameters(), max_norm=10.0)
        self.optimiser.step()
        follow(self.teacher, self.student, decay=decay, step=self.total)
        self.step += 1
        self.total += 1

    def enter(self, stage: Stage) -> None:
        """Begin a stage at its first step."""
        self.stage, self.step = stage, 0


def save_checkpoint(path: Path, state: TrainingState, *, fits: Mapping[str, Any]) -> None:
    """Write the state so that a crash leaves either the old file or the new one.

    `fits` describes what the network was built for; `load_checkpoint` refuses another.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    content = {
        "format": _FORMAT,
        "fits": dict(fits),
        "network": state.network.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "teacher": state.teacher,
        "generator": state.generator.get_state(),
        "stage": state.stage.value,
        "step": state.step,
        "total": state.total,
        "batch": state.batch,
        "held_back": _plain(state.held_back),
        "taught": _plain(state.taught),
    }
    with unfinished.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def load_checkpoint(
    path: Path, state: TrainingState, *, fits: Mapping[str, Any], device: torch.device
) -> bool:
    """Bring `state` to where the checkpoint was made; False where it is for another network."""
    content = read_checkpoint(path).content
    if content.get("format") != _FORMAT or content["fits"] != dict(fits):
        return False
    state.network.load_state_dict(content["network"])
    state.optimiser.load_state_dict(content["optimiser"])
    state.teacher = {name: value.to(device) for name, value in content["teacher"].items()}
    state.generator.set_state(content["generator"])
    state.stage = Stage(content["stage"])
    state.step, state.total, state.batch = content["step"], content["total"], content["batch"]
    state.held_back, state.taught = (_keys(content[name]) for name in ("held_back", "taught"))
    return True


def _plain(keys: frozenset[SliceKey]) -> list[list[str | int]]:
    return [[k.case_id, k.axis, k.index] for k in sorted(keys)]


def _keys(plain: list[tuple[str, int, int]]) -> frozenset[SliceKey]:
    return frozenset(SliceKey(case_id, int(axis), int(index)) for case_id, axis, index in plain)


def as_model(
    network: nn.Module, precision: torch.dtype = torch.float32
) -> Callable[[Mapping[str, Tensor], Tensor], Tensor]:
    """The network as a function of its parameters and of images.

    In a lower `precision` than float32 it computes in that, and answers in float32.
    """

    def model(parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        logits: Tensor = torch.func.functional_call(network, dict(parameters), (images,))
        return logits

    def in_lower_precision(parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
        lower = {name: value.to(precision) for name, value in parameters.items()}
        return model(lower, images.to(precision)).float()

    return model if precision is torch.float32 else in_lower_precision

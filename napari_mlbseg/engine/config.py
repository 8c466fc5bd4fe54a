"""The settings of a run: made at the edge, frozen, handed down as plain arguments."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from napari_mlbseg.errors import UserError
from napari_mlbseg.former_names import with_new_names

Device = Literal["auto", "cpu", "cuda", "mps"]
WantedDimensions = Literal["auto", "2d", "2.5d", "3d"]
Precision = Literal["auto", "float32", "bfloat16"]
Network = Literal["auto", "unet", "unet++"]
Weights = Literal["meta", "published", "uniform", "none"]
Objective = Literal["self-training", "meta-weights", "initial labels", "copy-paste"]
ViewName = Literal[
    "identity", "flip_x", "flip_y", "zoom_in", "zoom_out", "rotate_left", "rotate_right"
]

UNMIRRORED: tuple[ViewName, ...] = (
    "identity",
    "zoom_in",
    "zoom_out",
    "rotate_left",
    "rotate_right",
)
"""Anatomy has a left and a right, and a scan shows which is which."""


@dataclass(frozen=True)
class Config:
    """Settings of one run; the window starts from these defaults.

    Attributes
    ----------
    device
        The device that the network runs on; ``auto`` takes CUDA, then MPS, then the CPU.
    precision
        Number format that the network computes in; ``auto`` takes bfloat16 if the device supports
        it in hardware, else float32.
    seed
        Seed of every random choice; stored with the run.
    base_steps, steps
        Optimiser steps of the base model on the training slices, and of the bootstrapping after it,
        which is cut into rounds; after about ten of them the labels hardly change any more.
    minutes
        Time limit of the whole run, however many steps are left; shared between base model,
        bootstrapping and publishing, see `napari_mlbseg.engine.session.budget`. None for no limit.
    network
        ``auto`` is a small U-Net on the CPU and a larger one on a GPU; ``unet++`` is the paper's.
    weights
        How each pixel of the initial and the pseudo labels is weighted, in the maps and by the
        objective ``meta-weights``: ``meta`` by its agreement with the clean slices, ``published``
        the same by the rule of the paper, ``uniform`` equally everywhere, ``none`` uses neither of
        them.
    objective
        What each step after the base model minimises: ``self-training`` the loss on training
        slices and on pseudo labels, which are renewed from round to round; ``meta-weights`` the
        objective of the paper, with every pixel weighted by ``weights``; or a baseline to compare
        them with, see `napari_mlbseg.engine.steps.baselines`.
    label_input
        Whether the network sees imported labels beside the image, so that it learns from the clean
        slices how they are wrong. It also has to do without, in some samples and in cases that
        came without labels.
    views
        Views whose predictions make the pseudo labels; ``identity`` is always one of them. Add
        the mirrored views for a structure that occurs on both sides and looks alike there: then
        samples are mirrored too, and predictions are averaged over the mirrored views.
    views_per_step
        Number of views drawn for each step, the identity view included.
    teacher
        Whether a mean teacher (an exponential moving average of the network) guides the network
        and makes the predictions.
    clean_step
        Whether the loss on the training slices is minimised too, or only steers the weights.
    slice_size
        Side in pixels of the square that slices are resampled to; it also sets the resolution of
        volumes. None for 128 on a CPU and 256 on a GPU.
    dimensions
        What the network sees at once: ``2d`` a slice, ``2.5d`` a slice with a neighbour on either
        side, ``3d`` a patch of the volume. ``auto`` decides by the spacing and the device.
    batch, clean_batch
        Noisy and clean samples per step; None for 4 and 8 slices, or for 2 and 4 patches (1 and 2
        on a CPU).
    learning_rate
        Initial learning rate of AdamW; it follows a cosine schedule.
    ema_decay
        Decay of the teacher's moving average, per step.
    consistency
        Weight of the consistency terms: views agree with each other and with the teacher.
    validation_share
        Share of the clean slices that are validation slices, for an unbiased Dice during training;
        there are none below six clean slices, or where the share is below three slices.
    publish_share
        Largest share of the training time spent on bringing predictions up to date.
    threads
        CPU threads for torch; None for one per core.
    resume
        Resume from the last checkpoint of the study if there is one.
    begin_with
        Another study, or a model that was exported as a bundle. A training that starts afresh
        begins with its network instead of a random one; classes are matched by name.

    Examples
    --------
    >>> config = Config(minutes=20, seed=7)
    >>> config.steps
    5000
    >>> Config.from_dict(config.to_dict()) == config
    True
    >>> Config(weights="some")
    Traceback (most recent call last):
    napari_mlbseg.errors.UserError: weights is 'some'; choose one of meta, published, uniform, none.
    """

    device: Device = "auto"
    precision: Precision = "auto"
    seed: int = 0
    base_steps: int = 700
    steps: int = 5000
    minutes: float | None = None
    network: Network = "auto"
    weights: Weights = "meta"
    objective: Objective = "self-training"
    label_input: bool = True
    views: tuple[ViewName, ...] = UNMIRRORED
    views_per_step: int = 2
    teacher: bool = True
    clean_step: bool = True
    slice_size: int | None = None
    dimensions: WantedDimensions = "auto"
    batch: int | None = None
    clean_batch: int | None = None
    learning_rate: float = 1e-3
    ema_decay: float = 0.99
    consistency: float = 1.0
    validation_share: float = 0.15
    publish_share: float = 0.05
    threads: int | None = None
    resume: bool = True
    begin_with: str | None = None

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            allowed = get_args(kind)
            value = getattr(self, name)
            if allowed and all(isinstance(a, str) for a in allowed) and value not in allowed:
                raise UserError(f"{name} is {value!r}; choose one of {', '.join(allowed)}.")
        _require(
            set(self.views) <= set(get_args(ViewName)), "views", self.views, "known view names"
        )
        _require(self.base_steps >= 1, "base_steps", self.base_steps, "1 or more")
        _require(self.steps >= 0, "steps", self.steps, "0 or more")
        _require(self.minutes is None or self.minutes > 0, "minutes", self.minutes, "more than 0")
        _require(self.views_per_step >= 1, "views_per_step", self.views_per_step, "1 or more")
        _require(
            self.slice_size is None or (self.slice_size >= 32 and self.slice_size % 16 == 0),
            "slice_size",
            self.slice_size,
            "a multiple of 16, 32 or more",
        )
        for name in ("batch", "clean_batch"):
            count = getattr(self, name)
            _require(count is None or count >= 1, name, count, "1 or more")
        _require(self.learning_rate > 0, "learning_rate", self.learning_rate, "more than 0")
        _require(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "from 0 to below 1")
        _require(self.consistency >= 0, "consistency", self.consistency, "0 or more")
        _require(
            0 <= self.validation_share < 1,
            "validation_share",
            self.validation_share,
            "from 0 to below 1",
        )
        _require(0 < self.publish_share < 1, "publish_share", self.publish_share, "between 0 and 1")

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain data that JSON can hold."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Config":
        """The inverse of `to_dict`; accepts former names and refuses unknown ones."""
        plain = with_new_names(values)
        unknown = set(plain) - {f.name for f in fields(cls)}
        if unknown:
            raise UserError(f"Unknown settings: {', '.join(sorted(unknown))}.")
        if "views" in plain:
            plain["views"] = tuple(plain["views"])
        return cls(**plain)


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise UserError(f"{name} is {value!r}; it must be {expected}.")

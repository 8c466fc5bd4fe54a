"""The methods that are compared, all with the same network, slices, steps and augmentation."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from napari_mlbseg.engine.config import Config
from napari_mlbseg.errors import UserError


@dataclass(frozen=True)
class Method:
    """A way to learn from clean slices and initial labels.

    Attributes
    ----------
    about
        One line for a table.
    changes
        Settings that differ from those of the run.
    from_base
        Whether it starts from the base model; otherwise all steps are steps of the base model.
    """

    about: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    from_base: bool = True

    def config(self, config: Config) -> Config:
        """The settings of a run with this method."""
        if not self.from_base:
            steps = config.base_steps + config.steps
            config = replace(config, base_steps=steps, steps=0)
        return replace(config, **self.changes)


# `views_per_step` sets a single view in training: the views of predictions stay the same.
METHODS: Final[Mapping[str, Method]] = {
    "supervised": Method(
        "clean slices only, every step is a step of the base model",
        {"weights": "none"},
        from_base=False,
    ),
    "initial": Method(
        "initial labels trained on as they are",
        {"objective": "initial labels", "weights": "none"},
    ),
    "mean-teacher": Method(
        "clean slices and agreement with the mean teacher",
        {"objective": "meta-weights", "weights": "none", "views_per_step": 1},
    ),
    "uniform": Method(
        "meta-weights with every label of the same weight",
        {"objective": "meta-weights", "weights": "uniform"},
    ),
    "copy-paste": Method(
        "bidirectional copy-paste of clean and noisy slices",
        {"objective": "copy-paste", "weights": "none"},
    ),
    "meta-weights-published": Method(
        "meta-weights by the rule of the paper",
        {"objective": "meta-weights", "weights": "published"},
    ),
    "meta-weights": Method("meta-weights by our rule", {"objective": "meta-weights"}),
    "mlbseg": Method("the loop as the window runs it"),
    "meta-weights-without-views": Method(
        "ablation: pseudo labels from one view",
        {"objective": "meta-weights", "views_per_step": 1},
    ),
    "meta-weights-without-teacher": Method(
        "ablation: no mean teacher", {"objective": "meta-weights", "teacher": False}
    ),
    "meta-weights-without-clean-step": Method(
        "ablation: clean slices only steer the weights",
        {"objective": "meta-weights", "clean_step": False},
    ),
}


def method_named(name: str) -> Method:
    """The method of a name; raises UserError that lists the known names."""
    if name not in METHODS:
        raise UserError(f"There is no method {name!r}; choose from {', '.join(METHODS)}.")
    return METHODS[name]

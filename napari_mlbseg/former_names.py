"""What version 0.1 called things: still read, and still written beside the new names in 0.2."""

from collections.abc import Mapping
from typing import Any, Final

FORMER: Final = {
    "imported_labels_kept": "labels_stand",
    "proposed_labels": "votes",
    "trained_on": "taught",
    "validation": "held_back",
    "validation dice": "held-back dice",
    "validation_dice": "held_back_dice",
    "validation_dice_per_class": "held_back_dice_per_class",
    "validation_dice_uncertainty": "held_back_dice_uncertainty",
    "validation_share": "held_back_share",
    "validation_slices": "held_back_slices",
}
"""The former name of each that has one: settings, keys in JSON and checkpoints, arrays, metrics."""


def with_former_names(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document with what was renamed under its former names as well, for scripts of before.

    >>> with_former_names({"validation_slices": 2, "step": 7})
    {'validation_slices': 2, 'step': 7, 'held_back_slices': 2}
    """
    former = {FORMER[name]: value for name, value in document.items() if name in FORMER}
    return {**document, **former}


def with_new_names(document: Mapping[str, Any]) -> dict[str, Any]:
    """What was written under former names, under the new ones.

    >>> with_new_names({"held_back_share": 0.2, "seed": 1})
    {'validation_share': 0.2, 'seed': 1}
    """
    new = {former: name for name, former in FORMER.items()}
    found = {new.get(name, name): value for name, value in document.items()}
    if found.get("objective") == "bootstrapping":
        found["objective"] = "meta-weights"
    return found


def with_new_stage(stage: str) -> str:
    """The stage of a checkpoint under its present name.

    >>> with_new_stage("initial labels"), with_new_stage("bootstrapping")
    ('labelling', 'bootstrapping')
    """
    return "labelling" if stage == "initial labels" else stage

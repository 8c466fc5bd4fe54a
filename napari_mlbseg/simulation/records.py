"""What a simulation measured, as records in a JSON file that grows while it runs."""

import json
import math
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from napari_mlbseg.errors import UserError

METRICS: Final = ("dice", "surface_dice_1mm", "hd95_mm", "assd_mm")
Job = tuple[str, str, int, int, int]


@dataclass(frozen=True)
class Record:
    """Scores of one class after one budget; means over the cases that show the class.

    Attributes
    ----------
    budget
        Slices corrected so far.
    where
        ``exported``: the labels of the cohort with the corrected slices on top; or ``held_out``:
        predictions for the cases that were kept out of the cohort.
    class_name
        ``class`` in JSON.
    empty
        Number of cases that show the class but have no prediction of it; they count as failures.
    steps, seconds
        Optimiser steps of this budget alone, and their time including all predictions. A base
        model that several methods share counts for each of them.
    estimated_dice
        Dice on the validation slices at the last step; None without any.
    components_filtered
        Whether connected components were removed before measuring.
    """

    method: str
    policy: str
    seed: int
    budget: int
    where: str
    class_name: str
    dice: float
    surface_dice_1mm: float
    hd95_mm: float
    assd_mm: float
    empty: int
    steps: int
    seconds: float
    device: str
    estimated_dice: float | None = None
    components_filtered: bool = False

    @property
    def job(self) -> Job:
        """The run that made this record: method, policy, seed, budget and steps."""
        return self.method, self.policy, self.seed, self.budget, self.steps

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        values = dict(vars(self))
        return {("class" if k == "class_name" else k): v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Record":
        """The inverse of `to_dict`; unknown keys of later versions are ignored."""
        plain = dict(values)
        plain["class_name"] = plain.pop("class")
        return cls(**{k: v for k, v in plain.items() if k in cls.__dataclass_fields__})


def read_records(path: Path) -> list[Record]:
    """The records of a file; an empty list if the file does not exist."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return [Record.from_dict(values) for values in found]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path} does not hold records of a simulation ({error}). Name another file."
        ) from error


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Replace the file; a crash leaves the old one or the new one."""
    unfinished = path.with_name(path.name + ".unfinished")
    text = json.dumps([r.to_dict() for r in records], indent=1, allow_nan=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(text + "\n", encoding="utf-8")
        os.replace(unfinished, path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}). Name another file."
        ) from error


def summarise(records: Sequence[Record]) -> list[dict[str, Any]]:
    """One row for each method, policy, budget, `where` and class: mean and spread over seeds.

    Each metric is a pair of mean and standard deviation (None for a single seed); `empty` and
    `seconds` are the sum and the mean.
    """
    groups: dict[tuple[str, str, int, str, str], list[Record]] = {}
    for r in records:
        groups.setdefault((r.method, r.policy, r.budget, r.where, r.class_name), []).append(r)
    return [
        dict(zip(("method", "policy", "budget", "where", "class"), key, strict=True))
        | {"seeds": len({r.seed for r in group})}
        | {name: mean_and_spread([getattr(r, name) for r in group]) for name in METRICS}
        | {"empty": sum(r.empty for r in group)}
        | {"seconds": math.fsum(r.seconds for r in group) / len(group)}
        for key, group in groups.items()
    ]


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; the latter is None for a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None

"""What a simulation measured, as records in a JSON file that grows while it runs."""

import json
import math
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from napari_mlbseg.errors import UserError

METRICS: Final = ("dice", "surface_dice_1mm", "hd95_mm", "assd_mm")
END: Final = "end"
"""Stands for the mark of records from the end of a timed run."""


class Job(NamedTuple):
    """The run that made a record; `limit` is its number of steps, or its timing."""

    method: str
    policy: str
    seed: int
    budget: int
    limit: str
    ends_marked: bool = False


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
        Dice on the validation slices as the run told it last; None without any.
    components_filtered
        Whether connected components were removed before measuring.
    dice_in_one_piece
        Dice with the largest piece of the class alone; None in records of former versions.
    limit
        The timing of a run of limited time in words; None for a run of so many steps.
    mark_min
        The mark in minutes at which a timed run was measured, None for its end; `seconds` says
        when it was, by the clock of the run.
    published_min
        When a timed run published anything for the first time; None if nothing was so far.
    ends_marked
        Whether the first and last slice of every class were marked in every case.
    contour_mm
        Length of the contours that the annotator has drawn so far, see `effort`; None if unknown.
    clicks
        Clicks for accepted slices and marked ends so far; None in records of former versions.
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
    dice_in_one_piece: float | None = None
    limit: str | None = None
    mark_min: float | None = None
    published_min: float | None = None
    ends_marked: bool = False
    contour_mm: float | None = None
    clicks: int | None = None

    @property
    def job(self) -> Job:
        """The run that made this record."""
        limit = self.limit or of_steps(self.steps)
        return Job(self.method, self.policy, self.seed, self.budget, limit, self.ends_marked)

    @property
    def mark(self) -> float | str | None:
        """The mark in minutes; `END` for the end of a timed run, None for a run of steps."""
        return END if self.limit and self.mark_min is None else self.mark_min

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


def of_steps(steps: int) -> str:
    """The limit of a run of so many steps, as a job names it."""
    return f"{steps} steps"


def summarise(records: Sequence[Record]) -> list[dict[str, Any]]:
    """One row for each method, policy, budget, mark, `where` and class: mean and spread over seeds.

    Each metric is a pair of mean and standard deviation (None for a single seed); `empty` is the
    sum, and `seconds` the mean. Rows of timed runs also have what they told of themselves.
    """
    groups: dict[tuple[object, ...], list[Record]] = {}
    for r in records:
        of = (r.method, r.policy, r.budget, r.ends_marked, r.limit, r.mark, r.where, r.class_name)
        groups.setdefault(of, []).append(r)
    return [_row(group) for group in groups.values()]


def _row(group: Sequence[Record]) -> dict[str, Any]:
    one = group[0]
    row: dict[str, Any] = {name: getattr(one, name) for name in ("method", "policy", "budget")}
    row |= {"ends_marked": one.ends_marked, "limit": one.limit, "mark": one.mark}
    row |= {"where": one.where, "class": one.class_name, "seeds": len({r.seed for r in group})}
    for name in METRICS:
        row[name] = mean_and_spread([getattr(r, name) for r in group])
    for name in ("dice_in_one_piece", "estimated_dice", "published_min", "contour_mm", "clicks"):
        known = [getattr(r, name) for r in group if getattr(r, name) is not None]
        row[name] = mean_and_spread(known) if known else None
    row["empty"] = sum(r.empty for r in group)
    row["seconds"] = math.fsum(r.seconds for r in group) / len(group)
    return row


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; the latter is None for a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None

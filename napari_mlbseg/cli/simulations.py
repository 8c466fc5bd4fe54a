"""The commands about effort: which slice to correct next, and what corrected slices gain."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_mlbseg.cli import output
from napari_mlbseg.cli.progress import follow
from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.predictions.suggestions import Suggestion
from napari_mlbseg.engine.predictions.suggestions import suggest as suggest_slices
from napari_mlbseg.engine.wording import of_end_to_mark
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.extents import End
from napari_mlbseg.project.study import Study
from napari_mlbseg.simulation.clocks import Clock, Timing
from napari_mlbseg.simulation.policies import Policy
from napari_mlbseg.simulation.records import Record, read_records, summarise, write_records
from napari_mlbseg.simulation.simulate import Plan, Simulation

Document = Mapping[str, Any]


def suggest(path: Path, count: int) -> Document:
    """The slices to correct next, with axes and indices of the file's array."""
    with Study.open(path, writable=False) as study:
        return {
            "study": str(study.path),
            "suggestions": [_suggestion(study, one) for one in suggest_slices(study, count)],
        }


def _suggestion(study: Study, one: Suggestion) -> dict[str, Any]:
    case, axis = study.case(one.key.case_id), one.key.axis
    geometry = case.geometry
    names = {found.value: found.name for found in study.classes}
    end = one.asks_for
    if end is not None and geometry.flipped[axis]:
        end = End.LAST if end is End.FIRST else End.FIRST
    return {
        "case": case.name,
        "axis": geometry.file_axes[axis],
        "slice": geometry.file_index(axis, one.key.index),
        "gain": one.gain,
        "doubtful_mm2": one.doubtful_mm2,
        "never_looked_at": one.never_looked_at,
        "asks_for": None if end is None else end.value,
        "classes": [names[value] for value in one.classes],
        "words": "" if end is None else of_end_to_mark(end, [names[v] for v in one.classes]),
    }


def plan(
    budget: str,
    *,
    policy: str,
    method: str,
    seeds: int,
    holdout: str,
    config: Config,
    timing: Timing | None = None,
    ends: bool = False,
) -> Plan:
    """A plan from comma-separated texts."""
    numbers = _parts(budget)
    if not numbers or not all(n.isascii() and n.isdigit() for n in numbers):
        raise UserError(f"{budget!r} is not a list of budgets; write numbers of slices: 4,8,16.")
    unknown = sorted(set(_parts(policy)) - set(Policy))
    if unknown:
        raise UserError(f"There is no policy {unknown[0]!r}; choose from {', '.join(Policy)}.")
    return Plan(
        budgets=tuple(int(n) for n in numbers),
        policies=tuple(Policy(name) for name in _parts(policy)),
        methods=tuple(_parts(method)),
        seeds=tuple(range(seeds)),
        holdout=tuple(_parts(holdout)),
        config=config,
        timing=timing,
        ends=ends,
    )


def timing(marks: str, clock: str) -> Timing:
    """The timing of comma-separated minutes by a clock."""
    try:
        minutes = tuple(float(part) for part in _parts(marks))
    except ValueError:
        raise UserError(
            f"{marks!r} is not a list of marks; write numbers of minutes: 1,4,8,30."
        ) from None
    if clock not in list(Clock):
        raise UserError(f"There is no clock {clock!r}; choose from {', '.join(Clock)}.")
    return Timing(minutes, Clock(clock))


def simulate(path: Path, truth: Path, asked: Plan, file: Path | None) -> list[dict[str, Any]]:
    """Run a plan and return the table of means; records in `file` are not measured again."""
    if file is not None:
        return _simulate(path, truth, asked, file)
    with tempfile.TemporaryDirectory(prefix="mlbseg-") as folder:
        return _simulate(path, truth, asked, Path(folder) / "records.json")


def _simulate(path: Path, truth: Path, asked: Plan, file: Path) -> list[dict[str, Any]]:
    records = read_records(file)
    with Study.open(path, writable=False) as study:
        simulation = Simulation(
            study, truth, asked, folder=file.with_name(file.name + ".work"), watch=follow
        )
        for found in simulation.records(frozenset(r.job for r in records)):
            records = [r for r in records if r.job != found[0].job] + found
            write_records(file, records)
            for record in found:
                if record.where == found[0].where and record.class_name == found[0].class_name:
                    output.note(_told(record))
    return summarise(records)


def _told(record: Record) -> str:
    """One record in words."""
    ends = ", ends marked" if record.ends_marked else ""
    mark = f" at {record.mark:g} min" if record.mark_min is not None else ""
    return (
        f"{record.method}, {record.policy}, seed {record.seed}, {record.budget} slices{ends}: Dice "
        f"{record.dice:.3f} ({record.where} {record.class_name}){mark} after "
        f"{record.seconds:.0f} s"
    )


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]

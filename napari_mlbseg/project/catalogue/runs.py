"""Runs of the engine and what they measured."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from napari_mlbseg.errors import Damaged, UserError
from napari_mlbseg.former_names import FORMER
from napari_mlbseg.project.catalogue import hashes
from napari_mlbseg.project.catalogue.database import Database, sha256_in
from napari_mlbseg.project.catalogue.reading import readable

_NOW = {former: now for now, former in FORMER.items()}


@dataclass(frozen=True)
class RunRecord:
    """One run; `finished_at` and `outcome` are None while it runs, and after it was killed."""

    id: int
    author: str
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    config: Mapping[str, Any]
    seed: int
    device: str


class Runs:
    """The rows about runs and metrics."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._going_on = 0

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """A run goes on in the block: its cases and classes stay as they are."""
        self._going_on += 1
        try:
            yield
        finally:
            self._going_on -= 1

    def require_none(self, what: str) -> None:
        """Raise UserError while a run goes on in this process; others cannot open the study."""
        if self._going_on:
            raise UserError(
                f"A training is going on, and it uses all cases of the study. Stop it first, then "
                f"{what}."
            )

    def start(self, config: Mapping[str, Any], *, seed: int, device: str) -> int:
        """Record the start of a run; returns its number."""
        with self._database.transaction() as write:
            row = (write.author, write.at, None, None, json.dumps(dict(config)), seed, device)
            run_id = hashes.insert(write.connection, "runs", hashes.RUN, row)
            write.note("start run", run=run_id, device=device)
        return run_id

    def finish(self, run_id: int, *, outcome: str) -> None:
        """Record how a run ended."""
        with self._database.transaction() as write:
            [begun] = write.rows(f"SELECT {hashes.RUN} FROM runs WHERE number = ?", run_id)
            row = (*begun[:2], write.at, outcome, *begun[4:])
            write.execute(
                "UPDATE runs SET finished_at = ?, outcome = ?, sha256 = ? WHERE number = ?",
                *(write.at, outcome, hashes.sha256_of(*row), run_id),
            )
            write.note("finish run", run=run_id, outcome=outcome)

    def all(self) -> tuple[RunRecord, ...]:
        """All runs, oldest first, without damaged ones."""
        return tuple(one for one in self._read() if isinstance(one, RunRecord))

    def damaged(self) -> tuple[str, ...]:
        """A sentence for each run that cannot be read."""
        return tuple(str(one) for one in self._read() if isinstance(one, Damaged))

    def _read(self) -> Iterator[RunRecord | Damaged]:
        columns = f"{hashes.RUN}, {sha256_in(self._database)}"
        for number, *row, sha256 in self._database.rows(
            f"SELECT number, {columns} FROM runs ORDER BY number"
        ):
            try:
                with readable(f"run {number}"):
                    hashes.require_sound(tuple(row), sha256)
                    yield _record((number, *row))
            except Damaged as error:
                yield error

    def log(self, run_id: int, step: int, values: Mapping[str, float]) -> None:
        """Record metrics by name; a step that is logged again (after a resume) is replaced."""
        with self._database.transaction() as write:
            for name, value in values.items():
                write.execute(
                    "INSERT OR REPLACE INTO metrics (run, name, step, value) VALUES (?, ?, ?, ?)",
                    *(run_id, name, step, float(value)),
                )

    def curves(self, run_id: int) -> dict[str, list[tuple[int, float]]]:
        """All metrics of a run by name, as pairs of step and value."""
        rows = self._database.rows(
            "SELECT name, step, value FROM metrics WHERE run = ? ORDER BY step", run_id
        )
        found: dict[str, list[tuple[int, float]]] = {}
        for name, step, value in rows:
            pair = step, math.nan if value is None else value
            found.setdefault(_NOW.get(name, name), []).append(pair)
        return found

    def metrics(self, run_id: int, name: str) -> list[tuple[int, float]]:
        """One metric of a run as pairs of step and value."""
        rows = self._database.rows(
            "SELECT step, value FROM metrics WHERE run = ? AND name IN (?, ?) ORDER BY step",
            *(run_id, name, FORMER.get(name, name)),
        )
        return [(step, math.nan if value is None else value) for step, value in rows]


def _record(row: tuple[Any, ...]) -> RunRecord:
    number, author, started, finished, outcome, config, seed, device = row
    return RunRecord(
        id=number,
        author=author,
        started_at=datetime.fromisoformat(started),
        finished_at=None if finished is None else datetime.fromisoformat(finished),
        outcome=outcome,
        config=dict(json.loads(config)),
        seed=seed,
        device=device,
    )

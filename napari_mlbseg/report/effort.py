"""How long people worked on slices, from the times at which they saved them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Final

from napari_mlbseg.project.catalogue.log import AuditEntry
from napari_mlbseg.project.records.slices import SliceKey, SliceRecord, SliceState

BREAK_S: Final = 300.0
"""A person who saves nothing for so long is taken to be away."""
LEAST_S: Final = 1.0
"""Slices that follow each other faster came from a file, not from a hand."""
_BY_PERSONS: Final = ("save slice", "set slice state", "mark extent", "clear extent")


@dataclass(frozen=True)
class Accepted:
    """One slice that became clean: by whom, and after how much work (None: not known)."""

    key: SliceKey
    author: str
    seconds: float | None


@dataclass(frozen=True)
class Effort:
    """What one annotator did.

    Attributes
    ----------
    corrected
        Slices that are clean now and were accepted last by this person.
    seconds_each
        Median of the time for a slice; None if no time is known.
    timed
        For how many slices it is known.
    minutes
        All of that time together.
    last
        When the newest of the slices was accepted.
    """

    author: str
    corrected: int
    seconds_each: float | None
    timed: int
    minutes: float
    last: datetime


def accepted_in(entries: Iterable[AuditEntry]) -> list[Accepted]:
    """The slices that became clean, in order, with the work since the person's last one.

    Time counts between two savings of one person that are less than a break apart.
    """
    found, since, worked = [], dict[str, datetime](), dict[str, float | None]()
    for entry in entries:
        if entry.action not in _BY_PERSONS:
            continue
        author, before = entry.author, since.get(entry.author)
        since[author] = entry.created_at
        gap = None if before is None else (entry.created_at - before).total_seconds()
        if gap is not None and gap <= BREAK_S:
            worked[author] = (worked.get(author) or 0.0) + gap
        if entry.case_id is None or entry.details.get("state") != SliceState.CLEAN:
            continue
        seconds = worked.pop(author, None)
        known = seconds if seconds is not None and seconds >= LEAST_S else None
        key = SliceKey(entry.case_id, entry.details["axis"], entry.details["slice"])
        found.append(Accepted(key, author, known))
    return found


def effort_of(accepted: Iterable[Accepted], clean: Iterable[SliceRecord]) -> tuple[Effort, ...]:
    """What each annotator did, by name."""
    times: dict[str, list[float]] = {}
    for one in accepted:
        if one.seconds is not None:
            times.setdefault(one.author, []).append(one.seconds)
    records: dict[str, list[SliceRecord]] = {}
    for record in clean:
        records.setdefault(record.author, []).append(record)
    return tuple(_of(author, records[author], times) for author in sorted(records))


def _of(author: str, records: list[SliceRecord], times: Mapping[str, list[float]]) -> Effort:
    known = times.get(author, [])
    return Effort(
        author,
        len(records),
        median(known) if known else None,
        len(known),
        sum(known) / 60,
        max(record.created_at for record in records),
    )

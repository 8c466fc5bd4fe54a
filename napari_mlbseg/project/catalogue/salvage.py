"""Makes a sound catalogue of what can be read in a damaged one and in its backups.

Rows are only ever added to a catalogue, so a row has the same number and content wherever it is
found. Which of several is the right one, its hash tells.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.catalogue import hashes, schema
from napari_mlbseg.project.catalogue.checking import REPAIR, is_whole
from napari_mlbseg.project.catalogue.counter import read_count
from napari_mlbseg.project.catalogue.salvaged import (
    Salvaged,
    amendments_in,
    extents_in,
    moves_in,
    reviews_in,
    teaching_in,
)
from napari_mlbseg.project.catalogue.soundness import (
    Row,
    hash_of,
    holds,
    is_blind,
    is_case,
    is_channel,
    is_channel_image,
    is_class,
    is_line,
    is_mask_of,
    is_metric,
    is_revision,
    is_run,
    is_union,
    mask_hash,
)
from napari_mlbseg.project.catalogue.sources import Sources, Table, opened
from napari_mlbseg.project.records.slices import SliceState


def salvage(sources: Sequence[Path], to: Path, *, author: str) -> Salvaged:
    """Write a new catalogue at `to` from damaged ones, of which the first is the newest.

    A revision that is nowhere to be found is replaced by the one before it, as a draft.

    Raises
    ------
    UserError
        If a case or the classes are in none of them; nothing can be saved without.
    """
    readable = [connection for path in sources if (connection := opened(path)) is not None]
    try:
        if not readable:
            raise UserError(
                f"Neither the catalogue in {to.parent} nor a backup in it can be read. Put a "
                "backup of your own in its place."
            )
        found, said = Sources(readable, read_count(to.parent)), Salvaged()
        to.unlink(missing_ok=True)
        to.touch(mode=0o600)
        with closing(sqlite3.connect(to, isolation_level=None)) as new:
            new.execute("PRAGMA journal_mode = WAL")
            schema.migrate(new)
            new.execute("BEGIN")
            _fill(new, found, said)
            _note(new, said, author)
            new.execute("COMMIT")
            new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            if not is_whole(new):
                raise UserError(f"{to} could not be written soundly. Check the disk.")
        return said
    finally:
        for connection in readable:
            connection.close()


def _fill(new: sqlite3.Connection, found: Sources, said: Salvaged) -> None:
    log = found.table("audit", is_line)
    still_missing = found.missing and found.counted - max(log, default=0)
    if still_missing > 0:
        said.told.append(f"The last {still_missing} changes of the study are lost.")
    classes = _classes(found, log)
    cases = found.table("cases", is_case)
    revisions = _revisions(found, log, said)
    masks = {row["mask"]: row.pop("packed") for row in revisions.values() if row["mask"]}
    channels, images = _channels(found, log), found.table("channel_images", is_channel_image)
    lacking = {row["case_id"] for row in revisions.values()} - {row["id"] for row in cases.values()}
    lacking |= _without_channels(cases, channels, images)
    if lacking or (not classes and found.numbers("classes")):
        what = f"the cases {', '.join(sorted(lacking))}" if lacking else "the classes"
        raise UserError(
            f"Neither the catalogue nor a backup holds {what} as they were saved, so that nothing "
            "was changed. Copy the study somewhere safe, and put a backup of your own in its place."
        )
    for number in range(1, max(log, default=0) + 1):
        if number not in log:
            log[number] = _unreadable(number, next(found.candidates("audit", number), {}))
            said.told.append(f"Line {number} of the log is damaged; it is kept as it was found.")
    runs = found.table("runs", is_run)
    metrics = [row for row in found.best("metrics", is_metric) if row["run"] in runs]
    said.told += [
        f"Run {number} cannot be read any more." for number in found.numbers("runs") - set(runs)
    ]
    for table, rows in (
        ("classes", classes),
        ("cases", list(cases.values())),
        ("masks", list(masks.values())),
        ("revisions", [revisions[number] for number in sorted(revisions)]),
        ("audit", [log[number] for number in sorted(log)]),
        ("runs", list(runs.values())),
        ("metrics", metrics),
        *_beside(found, {row["id"] for row in cases.values()}, set(revisions), log, said),
        ("channels", channels),
        ("channel_images", [images[number] for number in sorted(images)]),
    ):
        _insert(new, table, rows)


def _beside(
    found: Sources, cases: set[Any], revisions: set[int], log: Table, said: Salvaged
) -> Iterator[tuple[str, list[Row]]]:
    """What people said beside revisions: tables with their rows."""
    united = found.table("unions", is_union)
    for name, rows in (
        ("extents", extents_in(found, cases, said)),
        ("amendments", amendments_in(found, said)),
        ("moves", moves_in(found, log, said)),
        ("unions", {number: row for number, row in united.items() if row["revision"] in revisions}),
        ("reviews", reviews_in(found, said)),
        ("teaching", teaching_in(found, said)),
        ("blind", found.table("blind", is_blind)),
    ):
        yield name, [rows[number] for number in sorted(rows)]


def _insert(new: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
    """Add rows; of a name that no version has, nothing is taken over."""
    known = [name for _, name, *_ in new.execute(f"PRAGMA table_info({table})").fetchall()]
    for row in rows:
        names = [name for name in known if name in row]
        values = tuple(row[name] for name in names)
        marks = ", ".join("?" * len(names))
        new.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", values)


def _unreadable(number: int, row: Row) -> Row:
    """A line of the log in the place of a damaged one."""
    found = {name: str(value) for name, value in row.items() if name != "sha256"}
    line = {
        "number": number,
        "created_at": datetime.now(UTC).isoformat(),
        "author": REPAIR,
        "action": "damaged line",
        "case_id": None,
        "details": json.dumps({"found": found}),
    }
    return line | {"sha256": hash_of(line, hashes.LINE)}


def _classes(found: Sources, log: Table) -> list[Row]:
    """The classes as the log has them, where it has them."""
    for line in reversed(log.values()):
        if line["action"] == "set classes":
            named = json.loads(line["details"])["classes"]
            return [_class(one) | {"place": place} for place, one in enumerate(named)]
    return found.best("classes", is_class)


def _channels(found: Sources, log: Table) -> list[Row]:
    """The channels as the log has them: they are set once."""
    for line in log.values():
        if line["action"] == "set channels":
            said = {name: line[name] for name in ("author", "created_at")}
            rows = [
                {"number": place + 1, "place": place, "name": name} | said
                for place, name in enumerate(json.loads(line["details"])["channels"])
            ]
            return [row | {"sha256": hash_of(row, hashes.CHANNEL)} for row in rows]
    return found.best("channels", is_channel)


def _without_channels(cases: Table, channels: Sequence[Row], images: Table) -> set[str]:
    """The cases of which an image of a channel is lost."""
    known = {(row["case_id"], row["place"]) for row in images.values()}
    return {
        row["id"]
        for row in cases.values()
        if any((row["id"], place) not in known for place in range(1, len(channels)))
    }


def _class(said: Row) -> Row:
    row = dict(said)
    row["red"], row["green"], row["blue"] = row.pop("color")
    return row


def _note(new: sqlite3.Connection, said: Salvaged, author: str) -> None:
    details = json.dumps({"told": said.told, "lost": said.lost})
    row = (datetime.now(UTC).isoformat(), author, REPAIR, None, details)
    hashes.insert(new, "audit", hashes.LINE, row)


# --- revisions ------------------------------------------------------------------------------------


def _revisions(found: Sources, log: Table, said: Salvaged) -> Table:
    """All revisions by number, each with its mask as `packed`; lost ones are replaced."""
    logged = dict(_logged(log))
    newest: dict[tuple[Any, ...], Row] = {}
    kept: Table = {}
    for number in sorted(found.numbers("revisions") | set(logged)):
        row = _sound_revision(found, number, logged.get(number))
        if row is None:
            said.lost.append(number)
            row = _instead(found, number, logged.get(number), newest, said)
        elif not found.in_newest(row):
            said.told.append(f"Revision {number} was restored.")
        if row is not None:
            kept[number] = row
            newest[row["case_id"], row["axis"], row["slice"]] = row
    return kept


def _sound_revision(found: Sources, number: int, logged: Row | None) -> Row | None:
    """A revision as it was saved, with its mask; None where it is nowhere to be found."""
    for row in found.candidates("revisions", number):
        for attempt in (row, row | logged) if logged else (row,):
            if attempt["mask"] is None:
                if holds(is_revision, attempt):
                    return attempt
                continue
            for mask in found.candidates("masks", attempt["mask"]):
                # The hash of the mask may be what is damaged; the hash of the row tells.
                other = attempt | {"mask_sha256": mask_hash(mask)}
                for revision in (attempt, other) if attempt.get("sha256") else (attempt,):
                    if holds(is_revision, revision) and holds(partial(is_mask_of, revision), mask):
                        return revision | {"packed": mask}
    return _with_new_hash(found, number, logged)


def _with_new_hash(found: Sources, number: int, logged: Row | None) -> Row | None:
    """A revision that the log and the hash of its mask confirm: only its own hash is damaged."""
    for row in found.candidates("revisions", number):
        if logged is None or any(row.get(name) != value for name, value in logged.items()):
            continue
        mended = row | {"sha256": hash_of(row)}
        if row["mask"] is None:
            return mended
        for mask in found.candidates("masks", row["mask"]):
            if row.get("mask_sha256") and holds(partial(is_mask_of, row), mask):
                return mended | {"packed": mask}
    return None


def _instead(
    found: Sources,
    number: int,
    logged: Row | None,
    newest: Mapping[tuple[Any, ...], Row],
    said: Salvaged,
) -> Row | None:
    """A row in the place of a lost revision: the one before it, as a draft."""
    candidates = [logged] if logged else [r for r in found.candidates("revisions", number) if r]
    place = next(((r["case_id"], r["axis"], r["slice"]) for r in candidates), None)
    if place is None:
        said.told.append(f"Revision {number} is lost, and it is not known of which slice.")
        return None
    before = newest.get(place)
    where = f"of slice {place[2]} along axis {place[1]} of {place[0]}"
    advice = "Correct the slice again."
    if before is not None and before["mask"] is not None:
        advice = f"Revision {before['number']} stands in its place, as a draft: check it."
    said.told.append(f"Revision {number} {where} is lost. {advice}")
    mask = None if before is None else before["mask"]
    row = {
        "number": number,
        **dict(zip(("case_id", "axis", "slice"), place, strict=True)),
        "state": (SliceState.UNTOUCHED if mask is None else SliceState.DRAFT).value,
        "mask": mask,
        "author": REPAIR,
        "created_at": datetime.now(UTC).isoformat(),
        "mask_sha256": None if before is None else before.get("mask_sha256"),
    }
    row["sha256"] = hash_of(row)
    return row if before is None or mask is None else row | {"packed": before["packed"]}


def _logged(log: Table) -> Iterator[tuple[int, Row]]:
    """What the log says of revisions, which is what their rows say, but for the mask."""
    for line in log.values():
        if line["action"] in ("save slice", "set slice state"):
            details = json.loads(line["details"])
            row = {name: details.get(name) for name in ("axis", "slice", "state")}
            same = {name: line[name] for name in ("case_id", "author", "created_at")}
            if isinstance(details.get("revision"), int):
                yield details["revision"], {"number": details["revision"]} | row | same

"""Looks at all that a catalogue holds, not only at what counts now."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from typing import Final

from napari_mlbseg.errors import Damaged
from napari_mlbseg.project.catalogue import hashes
from napari_mlbseg.project.catalogue.database import Database
from napari_mlbseg.project.catalogue.newest import RECORDING
from napari_mlbseg.project.catalogue.schema import (
    WITH_AMENDMENTS,
    WITH_CHANNELS,
    WITH_HASHES,
    WITH_REVIEWS,
    WITH_UNIONS,
)

REPAIR: Final = "repair study"
"""The action in the log that tells of a repair; its details hold the revisions that are `lost`."""

_MOST: Final = 100


def flaws_in(database: Database) -> Iterator[str]:
    """A sentence for everything in a catalogue that contradicts something else in it.

    Revisions, lines of the log and runs are left to those who understand them.
    """
    for check in (_structure, _references, _hashes, _numbers):
        yield from _readable(database, check)


def unhashed(database: Database) -> int:
    """How many revisions are from before there were hashes."""
    where = "WHERE sha256 IS NULL" if database.version >= WITH_HASHES else ""
    return int(database.rows(f"SELECT count(*) FROM revisions {where}")[0][0])


def free_pages(database: Database) -> int:
    """Pages of the file that hold nothing."""
    return int(database.rows("PRAGMA freelist_count")[0][0])


def _readable(database: Database, check: Callable[[Database], Iterator[str]]) -> Iterator[str]:
    try:
        yield from check(database)
    except Damaged as error:
        yield str(error)


def _structure(database: Database) -> Iterator[str]:
    for (answer,) in database.rows(f"PRAGMA integrity_check({_MOST})"):
        if answer != "ok":
            yield f"{database.path.name}: {answer}"


def _references(database: Database) -> Iterator[str]:
    for table, number, parent, _ in database.rows("PRAGMA foreign_key_check")[:_MOST]:
        yield f"row {number} of {table} refers to a row of {parent} that is not there"
    used = "SELECT mask FROM revisions WHERE mask IS NOT NULL"
    unused = f"SELECT number FROM masks WHERE number NOT IN ({used})"
    for (number,) in database.rows(f"{unused} LIMIT {_MOST}"):
        yield f"mask {number} belongs to no revision"


def _hashes(database: Database) -> Iterator[str]:
    if database.version < WITH_HASHES:
        return
    tables = {"cases": hashes.CASE, "extents": hashes.EXTENT}
    if database.version >= WITH_AMENDMENTS:
        tables |= {"amendments": hashes.AMENDMENT, "moves": hashes.MOVE}
    if database.version >= WITH_UNIONS:
        tables |= {"unions": hashes.UNION}
    if database.version >= WITH_REVIEWS:
        tables |= {"reviews": hashes.REVIEW, "teaching": hashes.TEACHING, "blind": hashes.BLIND}
    if database.version >= WITH_CHANNELS:
        tables |= {"channels": hashes.CHANNEL, "channel_images": hashes.CHANNEL_IMAGE}
    for table, columns in tables.items():
        for number, *row, sha256 in database.rows(
            f"SELECT number, {columns}, sha256 FROM {table} ORDER BY number"
        ):
            if not hashes.is_sound(tuple(row), sha256):
                yield f"row {number} of {table} is not as it was saved"


def _numbers(database: Database) -> Iterator[str]:
    """Rows that the log names, or that its own numbers leave out."""
    lines = database.rows("SELECT number, action, details FROM audit ORDER BY number")
    if lines and lines[-1][0] != len(lines):
        yield f"the log lacks {lines[-1][0] - len(lines)} of its lines"
    there = {number for (number,) in database.rows("SELECT number FROM revisions")}
    named: set[int] = set()
    lost: set[int] = set()
    for _, action, text in lines:
        try:
            details = json.loads(text)
            if action in RECORDING:
                named.add(int(details["revision"]))
            elif action == REPAIR:
                lost.update(map(int, details["lost"]))
        except (ValueError, TypeError, KeyError):
            continue  # told as a line that cannot be read
    for number in sorted(named - there - lost)[:_MOST]:
        yield f"revision {number}, which the log names, is missing"


def is_whole(connection: sqlite3.Connection) -> bool:
    """Whether SQLite finds a catalogue in order."""
    try:
        return bool(connection.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",))
    except sqlite3.Error:
        return False

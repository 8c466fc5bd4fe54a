"""Hashes of what a person did, by which a damaged row is told from a sound one."""

import hashlib
import json
import sqlite3
from typing import Any, Final

from napari_mlbseg.project.records.masks import PackedMask

CASE: Final = (
    "id, image_path, labels_path, source_format, source_header, source_choice, geometry, intensity"
)
REVISION: Final = "number, case_id, axis, slice, state, mask, author, created_at, mask_sha256"
LINE: Final = "created_at, author, action, case_id, details"
RUN: Final = "author, started_at, finished_at, outcome, config, seed, device"
EXTENT: Final = "case_id, axis, class, first_slice, last_slice, author, created_at"
AMENDMENT: Final = (
    "case_id, name, image_path, labels_path, source_header, source_choice, edition, standing, "
    "author, created_at"
)
MOVE: Final = "class, becomes, masks, author, created_at"
CHANNEL: Final = "place, name, author, created_at"
CHANNEL_IMAGE: Final = (
    "case_id, place, image_path, source_format, source_header, source_choice, intensity, author, "
    "created_at"
)
UNION: Final = "revision, case_id, axis, slice, heads, author, created_at"
REVIEW: Final = "case_id, axis, slice, accepted_by, accepted_at, verdict, note, author, created_at"
BLIND: Final = "case_id, axis, slice, author, created_at"
TEACHING: Final = "only_approved, author, created_at"
"""The columns that the hash of a row is made of; the axis of a case may change."""


def sha256_of(*values: Any) -> bytes:
    """The hash of the values of a row, in their order; each is None, a number, a text or bytes.

    >>> sha256_of("a", 1) == sha256_of("a", 2)
    False
    """
    plain = json.dumps(values, default=lambda value: bytes(value).hex())
    return hashlib.sha256(plain.encode()).digest()


def sha256_of_mask(packed: PackedMask) -> bytes:
    """The hash of a mask as it is stored."""
    return sha256_of(packed.rows, packed.columns, packed.dtype, packed.data)


def is_sound(values: tuple[Any, ...], sha256: Any) -> bool:
    """Whether a row is as it was saved; rows from before there were hashes have None for one."""
    return sha256 is None or sha256 == sha256_of(*values)


def require_sound(values: tuple[Any, ...], sha256: Any) -> None:
    """Raise ValueError for a row that is not as it was saved."""
    if not is_sound(values, sha256):
        raise ValueError("it is not as it was saved")


def insert(connection: sqlite3.Connection, table: str, columns: str, row: tuple[Any, ...]) -> int:
    """Add a row with its hash; returns its number."""
    marks = ", ".join("?" * (len(row) + 1))
    sql = f"INSERT INTO {table} ({columns}, sha256) VALUES ({marks})"
    return int(connection.execute(sql, (*row, sha256_of(*row))).lastrowid or 0)

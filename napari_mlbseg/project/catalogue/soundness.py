"""Which rows of a damaged catalogue are as they were saved: by their hashes, else by their form."""

import json
import zlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

from napari_mlbseg.project.catalogue import hashes
from napari_mlbseg.project.records.masks import PackedMask
from napari_mlbseg.project.records.reviews import Verdict
from napari_mlbseg.project.records.slices import SliceState

Row = dict[str, Any]


def hash_of(row: Row, columns: str = hashes.REVISION) -> bytes:
    """The hash that a row should have."""
    return hashes.sha256_of(*(row.get(name) for name in columns.split(", ")))


def holds(is_sound: Callable[[Row], bool], row: Row) -> bool:
    """Whether a row is sound; one that lacks something, or holds what it cannot, is not."""
    try:
        return is_sound(row)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError, zlib.error):
        return False


def fits(row: Row, columns: str) -> bool:
    """Whether the hash of a row fits, or it is from before there were hashes."""
    return hashes.is_sound(tuple(row.get(name) for name in columns.split(", ")), row.get("sha256"))


def is_revision(row: Row) -> bool:
    """Whether a revision is as it was saved, apart from its mask."""
    _ = SliceState(row["state"]), datetime.fromisoformat(row["created_at"])
    numbers = all(isinstance(row[name], int) for name in ("axis", "slice"))
    return numbers and isinstance(row["case_id"], str) and fits(row, hashes.REVISION)


def is_mask_of(revision: Row, row: Row) -> bool:
    """Whether a mask is the one that a revision was saved with."""
    sha256 = revision.get("mask_sha256")
    if sha256 is not None:
        return bool(mask_hash(row) == sha256)
    unpacker = zlib.decompressobj()  # its own checksum, for want of a hash
    size = row["rows"] * row["columns"]
    return len(unpacker.decompress(row["data"], size + 1)) == size and unpacker.eof


def mask_hash(row: Row) -> bytes | None:
    """The hash of a mask; None for a row that holds what no mask can."""
    try:
        packed = PackedMask(row["rows"], row["columns"], row["dtype"], row["data"])
        return hashes.sha256_of_mask(packed)
    except (KeyError, TypeError):
        return None


def is_case(row: Row) -> bool:
    """Whether a case is as it was saved."""
    _ = [json.loads(row[name]) for name in ("geometry", "intensity")]
    return isinstance(row["id"], str) and row["axis"] in (0, 1, 2) and fits(row, hashes.CASE)


def is_extent(row: Row) -> bool:
    """Whether an extent is as it was saved."""
    _ = datetime.fromisoformat(row["created_at"])
    return isinstance(row["case_id"], str) and fits(row, hashes.EXTENT)


def is_amendment(row: Row) -> bool:
    """Whether an amendment is as it was saved."""
    return isinstance(row["case_id"], str) and fits(row, hashes.AMENDMENT)


def is_move(row: Row) -> bool:
    """Whether a move of a class is as it was saved."""
    return isinstance(row["masks"], int) and fits(row, hashes.MOVE)


def is_union(row: Row) -> bool:
    """Whether a union is as it was saved."""
    return isinstance(json.loads(row["heads"]), list) and fits(row, hashes.UNION)


def is_review(row: Row) -> bool:
    """Whether a review is as it was saved."""
    _ = Verdict(row["verdict"]), datetime.fromisoformat(row["accepted_at"])
    return isinstance(row["case_id"], str) and fits(row, hashes.REVIEW)


def is_teaching(row: Row) -> bool:
    """Whether a choice of the slices that teach is as it was saved."""
    return row["only_approved"] in (0, 1) and fits(row, hashes.TEACHING)


def is_blind(row: Row) -> bool:
    """Whether a slice that is to be corrected blindly is as it was saved."""
    return isinstance(row["case_id"], str) and fits(row, hashes.BLIND)


def is_channel(row: Row) -> bool:
    """Whether the name of a channel is as it was saved."""
    return isinstance(row["place"], int) and fits(row, hashes.CHANNEL)


def is_channel_image(row: Row) -> bool:
    """Whether the image of a channel of a case is as it was saved."""
    return isinstance(row["case_id"], str) and fits(row, hashes.CHANNEL_IMAGE)


def is_class(row: Row) -> bool:
    """Whether a class can be what was saved."""
    numbers = all(isinstance(row[name], int) for name in ("value", "red", "green", "blue"))
    return numbers and isinstance(row["name"], str) and "\ufffd" not in row["name"]


def is_line(row: Row) -> bool:
    """Whether a line of the log can be what was written."""
    _ = datetime.fromisoformat(row["created_at"])
    texts = all(isinstance(row[name], str) for name in ("author", "action"))
    return texts and fits(row, hashes.LINE) and isinstance(json.loads(row["details"]), dict)


def is_run(row: Row) -> bool:
    """Whether a run can be what was written."""
    _ = json.loads(row["config"]), datetime.fromisoformat(row["started_at"])
    values = isinstance(row["seed"], int) and isinstance(row["device"], str)
    return values and fits(row, hashes.RUN)


def is_metric(row: Row) -> bool:
    """Whether a metric can be what was written."""
    return all(isinstance(row[name], int) for name in ("run", "step")) and "name" in row

"""Rescue files: they keep edits that could not be saved to their study until they can be.

A rescue file holds only human work, as JSON: the study, its classes, and for each slice its
position and its compressed mask with a checksum. It is never inside a study.
"""

import base64
import binascii
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.folder.durable import make_folder, new_file
from napari_mlbseg.project.folder.user_folder import user_folder
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

RESCUE_SUFFIX = ".mlbseg-rescue"
_FORMAT = "napari-mlbseg rescue"
_VERSION = 1
_LONGEST_SIDE = 1 << 16


@dataclass(frozen=True)
class Rescue:
    """The content of a rescue file.

    Attributes
    ----------
    study, identity
        The path that the study had, and its identity (`Study.identity`), by which it is recognised
        wherever it is now.
    classes
        Names of the study's classes by label value.
    at
        When the file was written, in UTC.
    masks
        Labels of each slice, uint8, its two display axes in order; values need not be classes.
    damaged
        Number of slices in the file that can no longer be read.
    """

    study: Path
    identity: str
    classes: Mapping[int, str]
    at: datetime
    masks: Mapping[SliceKey, NDArray[np.uint8]]
    damaged: int = 0

    @classmethod
    def of(cls, study: Study, masks: Mapping[SliceKey, NDArray[np.uint8]]) -> "Rescue":
        """The current edits of an open study; its folder may be gone if `identity` was read."""
        try:
            names = {c.value: c.name for c in study.classes}
        except UserError:
            names = {}
        return cls(study.path, study.identity, names, datetime.now(UTC), masks)


@dataclass(frozen=True)
class Restored:
    """The outcome of a rescue: the slices that became drafts, and why others did not."""

    drafts: tuple[SliceKey, ...]
    problems: Mapping[SliceKey, str]


def rescue_folder() -> Path:
    """The folder of this user's rescue files; it may not exist yet."""
    return user_folder() / "rescue"


def new_rescue_path(folder: Path, study: Study) -> Path:
    """A path for a new rescue file in a folder, which no other file has."""
    stem = f"{study.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}"
    names = (f"{stem}{'' if n == 0 else f'-{n}'}{RESCUE_SUFFIX}" for n in range(10_000))
    return next(folder / name for name in names if not (folder / name).exists())


def write_rescue(path: Path, rescue: Rescue) -> None:
    """Write a rescue file completely or not at all; raises OSError on failure."""
    make_folder(path.parent)
    beside = path.with_name(f"{path.name}.new")
    try:
        with new_file(beside) as file:
            file.write(json.dumps(_plain(rescue)).encode())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def read_rescue(path: Path) -> Rescue:
    """Read a rescue file; damaged slices are only counted.

    Raises
    ------
    UserError
        If none of it can be read, or if a newer version wrote it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise ValueError(f"its format is {content['format']!r}")
        version = int(content["version"])
        if version <= _VERSION:
            return _rescue(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} cannot be read as a file of rescued edits ({type(error).__name__}: {error}). "
            "Find another copy of it, or delete it."
        ) from error
    raise UserError(
        f"{path} was written by a newer version of napari-mlbseg (rescue version {version}, this "
        f"one reads up to {_VERSION}). Update napari-mlbseg to restore the edits."
    )


def rescues_in(folder: Path) -> Iterator[tuple[Path, Rescue | UserError]]:
    """Every rescue file of a folder, the oldest first, with its content or the error of reading it.

    Never raises; a missing folder has no files.
    """
    try:
        paths = sorted(folder.glob(f"*{RESCUE_SUFFIX}"), key=lambda p: (p.stat().st_mtime, p.name))
    except OSError:
        return
    for path in paths:
        try:
            yield path, read_rescue(path)
        except UserError as error:
            yield path, error


def changed_since(study: Study, rescue: Rescue) -> tuple[SliceKey, ...]:
    """Slices of a rescue that were saved in the study after the rescue file was written."""
    newest = {record.key: record.created_at for record in study.slices.records()}
    return tuple(key for key in rescue.masks if key in newest and newest[key] > rescue.at)


def restore(study: Study, rescue: Rescue) -> Restored:
    """Save the slices of a rescue as drafts, one by one; the study keeps earlier revisions.

    Raises
    ------
    UserError
        If the rescue belongs to another study.
    """
    if rescue.identity != study.identity:
        raise UserError(
            f"The rescued edits do not belong to {study.path}, but to the study that was at "
            f"{rescue.study}. Open that study."
        )
    drafts, problems = [], {}
    for key, mask in rescue.masks.items():
        try:
            case = study.case(key.case_id)
            if mask.shape != case.slice_shape(key.axis):
                raise UserError(
                    f"Slices of {case.name} along this axis have the shape "
                    f"{case.slice_shape(key.axis)}, but the rescued slice has {mask.shape}."
                )
            study.save_slice(key, mask, SliceState.DRAFT)
            drafts.append(key)
        except (UserError, OSError) as error:
            problems[key] = str(error)
    return Restored(tuple(drafts), problems)


def _plain(rescue: Rescue) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "study": str(rescue.study),
        "identity": rescue.identity,
        "classes": {str(value): name for value, name in rescue.classes.items()},
        "at": rescue.at.isoformat(),
        "slices": [_plain_slice(key, mask) for key, mask in rescue.masks.items()],
    }


def _plain_slice(key: SliceKey, mask: NDArray[np.uint8]) -> dict[str, Any]:
    labels = mask.tobytes()
    return {
        "case": key.case_id,
        "axis": key.axis,
        "index": key.index,
        "shape": list(mask.shape),
        "crc32": zlib.crc32(labels),
        "zlib_base64": base64.b64encode(zlib.compress(labels)).decode("ascii"),
    }


def _rescue(content: Mapping[str, Any]) -> Rescue:
    slices: Sequence[Mapping[str, Any]] = content["slices"]
    masks: dict[SliceKey, NDArray[np.uint8]] = {}
    for one in slices:
        mask = _mask(one)
        if mask is not None:
            masks[SliceKey(str(one["case"]), int(one["axis"]), int(one["index"]))] = mask
    return Rescue(
        study=Path(content["study"]),
        identity=str(content["identity"]),
        classes={int(value): str(name) for value, name in content["classes"].items()},
        at=datetime.fromisoformat(content["at"]),
        masks=masks,
        damaged=len(slices) - len(masks),
    )


def _mask(one: Mapping[str, Any]) -> NDArray[np.uint8] | None:
    """The labels of a slice; None if their bytes are damaged."""
    rows, columns = (int(side) for side in one["shape"])
    if not (0 < rows < _LONGEST_SIDE and 0 < columns < _LONGEST_SIDE):
        return None
    size = rows * columns
    try:
        packed = base64.b64decode(one["zlib_base64"], validate=True)
        # Never unpack more than one byte beyond the size.
        labels = zlib.decompressobj().decompress(packed, size + 1)
    except (binascii.Error, zlib.error):
        return None
    if len(labels) != size or zlib.crc32(labels) != one["crc32"]:
        return None
    return np.frombuffer(labels, np.uint8).reshape(rows, columns).copy()

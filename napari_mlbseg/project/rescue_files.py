"""Rescue files: they keep edits that could not be saved to their study until they can be.

A rescue file holds only human work, as JSON: the study, its classes, and for each slice its
position and its compressed mask with a checksum; then states of slices without a mask, and marked
extents. It is never inside a study.
"""

import base64
import binascii
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.folder.durable import make_folder, new_file
from napari_mlbseg.project.folder.user_folder import user_folder
from napari_mlbseg.project.records.extents import Extent
from napari_mlbseg.project.records.slices import HUMAN, SliceKey, SliceState
from napari_mlbseg.project.rescue import Along, Rescue
from napari_mlbseg.project.study import Study

RESCUE_SUFFIX = ".mlbseg-rescue"
_FORMAT = "napari-mlbseg rescue"
_VERSION = 2
"""Version 1 knew masks only."""
_LONGEST_SIDE = 1 << 16


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
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
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


def _plain(rescue: Rescue) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "study": str(rescue.study),
        "identity": rescue.identity,
        "classes": {str(value): name for value, name in rescue.classes.items()},
        "at": rescue.at.isoformat(),
        "slices": [_plain_slice(key, mask) for key, mask in rescue.masks.items()],
        "states": [{**_place(key), "state": state} for key, state in rescue.states.items()],
        "extents": [
            {
                "case": along.case_id,
                "axis": along.axis,
                "class": along.value,
                "first": extent.first,
                "last": extent.last,
            }
            for along, extent in rescue.extents.items()
        ],
    }


def _plain_slice(key: SliceKey, mask: NDArray[np.uint8]) -> dict[str, Any]:
    labels = mask.tobytes()
    return {
        **_place(key),
        "shape": list(mask.shape),
        "crc32": zlib.crc32(labels),
        "zlib_base64": base64.b64encode(zlib.compress(labels)).decode("ascii"),
    }


def _place(key: SliceKey) -> dict[str, Any]:
    return {"case": key.case_id, "axis": key.axis, "index": key.index}


def _key(one: Mapping[str, Any]) -> SliceKey:
    return SliceKey(str(one["case"]), int(one["axis"]), int(one["index"]))


def _along(one: Mapping[str, Any]) -> Along:
    return Along(str(one["case"]), int(one["axis"]), int(one["class"]))


def _state(one: Mapping[str, Any]) -> SliceState:
    state = SliceState(one["state"])
    if state in HUMAN:
        raise ValueError(f"a slice is {state}, without its labels")
    return state


def _extent(one: Mapping[str, Any]) -> Extent:
    first, last = (None if one[end] is None else int(one[end]) for end in ("first", "last"))
    return Extent(first, last)


def _rescue(content: Mapping[str, Any]) -> Rescue:
    slices: Sequence[Mapping[str, Any]] = content["slices"]
    masks: dict[SliceKey, NDArray[np.uint8]] = {}
    for one in slices:
        mask = _mask(one)
        if mask is not None:
            masks[_key(one)] = mask
    return Rescue(
        study=Path(content["study"]),
        identity=str(content["identity"]),
        classes={int(value): str(name) for value, name in content["classes"].items()},
        at=datetime.fromisoformat(content["at"]),
        masks=masks,
        states={_key(one): _state(one) for one in content.get("states", ())},
        extents={_along(one): _extent(one) for one in content.get("extents", ())},
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

"""Finishes or deletes what interrupted writers left, when a study is next opened for writing."""

import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from napari_mlbseg.project.arrays.store import (
    ARRAYS_NAME,
    IMPORTING,
    ArrayName,
    former_path,
    of_other_editions,
)
from napari_mlbseg.project.folder.durable import before, beside, settle
from napari_mlbseg.project.folder.inside import plain_folders, spelled

CHECKPOINTS_NAME: Final = "checkpoints"
_UNFINISHED_CHECKPOINT: Final = ".unfinished"
_UNFINISHED_CHUNK: Final = ".partial"


def checkpoints_in(folder: Path) -> Iterator[str]:
    """The checkpoints of a study, by their paths in its folder."""
    if (folder / CHECKPOINTS_NAME).is_dir():
        yield from (f"{CHECKPOINTS_NAME}/{n}" for n in os.listdir(folder / CHECKPOINTS_NAME))


def sweep(
    folder: Path, editions: Mapping[str, int], dropped: Collection[str] = (), *, deep: bool
) -> None:
    """Clean up a study whose lock is held; files that cannot be deleted stay.

    `editions` are those of the cases whose arrays are kept, by id, and `dropped` the ids of the
    others.

    A `deep` sweep also goes through the chunks of all arrays, which takes a while in a large study
    and finds something only after a crash.
    """
    for name in checkpoints_in(folder):
        if name.endswith(_UNFINISHED_CHECKPOINT):
            _unlink(folder / name)
    known = {spelled(case_id): number for case_id, number in editions.items()}
    gone = set(map(spelled, dropped))
    for case in plain_folders(folder / ARRAYS_NAME):
        if spelled(case.name) in gone:
            shutil.rmtree(case, ignore_errors=True)
            continue
        if (case / IMPORTING).exists():
            if spelled(case.name) not in known:
                shutil.rmtree(case, ignore_errors=True)
                continue
            _unlink(case / IMPORTING)
        if spelled(case.name) not in known:
            with suppress(OSError):  # left by an interrupted import; others are not empty
                case.rmdir()
                continue
        for array in plain_folders(case):
            path = array.with_suffix(".zarr")
            if array in (beside(path), before(path)):
                with suppress(OSError):
                    settle(path)
        edition = known.get(spelled(case.name))
        for stale in () if edition is None else of_other_editions(case, edition):
            shutil.rmtree(stale, ignore_errors=True)
        _bring_to_new_names(case)
        if deep:
            _sweep_chunks(case)


def _bring_to_new_names(case: Path) -> None:
    for name in ArrayName:
        path = case / f"{name.value}.zarr"
        former = former_path(path)
        if former is not None and former in plain_folders(case) and not path.exists():
            with suppress(OSError):
                former.rename(path)


def _sweep_chunks(case: Path) -> None:
    for parent, _, names in os.walk(case):
        for name in names:
            if name.endswith(_UNFINISHED_CHUNK):
                _unlink(Path(parent) / name)


def _unlink(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)

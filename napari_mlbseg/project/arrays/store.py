"""Machine work on disk: one zarr v3 array per case and kind, all of which can be recomputed."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.former_names import FORMER
from napari_mlbseg.project.arrays.building import Unfinished, explained_array, write_slices
from napari_mlbseg.project.arrays.chunks import (
    EVERY_CHUNK,
    METADATA,
    GuardedStore,
    Shape,
    check_metadata,
    largest_chunk,
    missing_chunks,
)
from napari_mlbseg.project.catalogue.catalogue import Catalogue
from napari_mlbseg.project.folder.durable import before, make_folder
from napari_mlbseg.project.folder.inside import plain_folders, require_case_id, size_of
from napari_mlbseg.project.folder.place import Place
from napari_mlbseg.project.folder.room import within_memory
from napari_mlbseg.project.records.masks import plane
from napari_mlbseg.volume import VoxelSource

ARRAYS_NAME = "arrays"
IMPORTING = ".importing"
"""A file in the folder of a case while it is imported."""

Block = tuple[int, NDArray[Any]]
"""The first of some slices along an axis, and the slices stacked on the first axis."""

# Measured on 300 x 512 x 512 int16 with two idle cores (benchmarks/study_io.py): blocks of this
# shape, with the short side along the annotated axis, read a slice along that axis in about 5 ms
# and across it in 11; cubes of 64 need 13 to 24, shards of cubes of 32 need 30 to 60, and whole
# planes 80 across. LZ4 halves the size; Zstandard saves another third and doubles the time.
_BLOCK_ALONG_AXIS = 32
_BLOCK_ACROSS = 128


_Stamp = tuple[int, int]


class ArrayName(StrEnum):
    """The arrays of a case, all z y x.

    The image has its own dtype, labels are uint8, and weights are float16 in multiples of the
    uniform weight: 1 is the weight of every pixel if all counted the same, 0 means ignored.
    `PSEUDO_LABELS` are what a round of bootstrapping learns from. `TRUST`, float16 from 0 to 1, is
    how far the clean slices bear out the prediction, and `PROPOSED_LABELS` holds the labels that
    they ask for instead. Weights and trust are NaN where none were computed yet. The image is the
    first channel of its case; `CHANNEL_1` and so on are the further ones.
    """

    IMAGE = "image"
    INITIAL_LABELS = "initial_labels"
    PSEUDO_LABELS = "pseudo_labels"
    PREDICTION = "prediction"
    META_WEIGHTS_INITIAL = "meta_weights_initial"
    META_WEIGHTS_PSEUDO = "meta_weights_pseudo"
    TRUST = "trust"
    PROPOSED_LABELS = "proposed_labels"
    CHANNEL_1 = "channel_1"
    CHANNEL_2 = "channel_2"
    CHANNEL_3 = "channel_3"
    CHANNEL_4 = "channel_4"
    CHANNEL_5 = "channel_5"
    CHANNEL_6 = "channel_6"
    CHANNEL_7 = "channel_7"
    CHANNEL_8 = "channel_8"
    CHANNEL_9 = "channel_9"


CHANNELS = (ArrayName.IMAGE, *(name for name in ArrayName if name.value.startswith("channel_")))
"""The arrays that hold the channels of a case, in their order."""


_DTYPES: dict[ArrayName, np.dtype[Any]] = {
    ArrayName.INITIAL_LABELS: np.dtype(np.uint8),
    ArrayName.PSEUDO_LABELS: np.dtype(np.uint8),
    ArrayName.PREDICTION: np.dtype(np.uint8),
    ArrayName.META_WEIGHTS_INITIAL: np.dtype(np.float16),
    ArrayName.META_WEIGHTS_PSEUDO: np.dtype(np.float16),
    ArrayName.TRUST: np.dtype(np.float16),
    ArrayName.PROPOSED_LABELS: np.dtype(np.uint8),
}


class ArrayStore:
    """The folder ``arrays`` of a study: ``CASE/NAME.zarr``.

    Each array has one writer; it can be read at any time, also by other processes. Arrays may come
    from a stranger: only those with the shape of their case are opened. All but the channels
    belong to the edition of their case, which the catalogue knows: those of the next one are built
    beside, and count from one moment to the next.

    Parameters
    ----------
    folder
        Folder of the study.
    place
        The same folder, which is asked before each write.
    catalogue
        Knows the shape (z y x) of each case, and the display axis along which it is annotated.
    """

    def __init__(self, folder: Path, place: Place, catalogue: Catalogue) -> None:
        self._study = Path(os.path.realpath(folder))
        self._folder = self._study / ARRAYS_NAME
        self.place, self._catalogue = place, catalogue
        self._lock = Lock()
        self._open: dict[Path, tuple[_Stamp, zarr.Array[Any]]] = {}
        self._there: dict[Path, tuple[_Stamp, bool]] = {}

    def has(self, case_id: str, name: ArrayName) -> bool:
        """Whether an array is there, with its description and all of its chunks.

        Looks at them once; `flaw` reads them, too.
        """
        path = self._where(case_id, name)
        if not (path / METADATA).is_file():
            return False
        stamp = _stamp(path)
        known = self._there.get(path)
        if known is None or known[0] != stamp:
            known = stamp, self._is_there(path, name, self._catalogue.shape(case_id))
            self._there[path] = known
        return known[1]

    def flaw(self, case_id: str, name: ArrayName) -> str | None:
        """Why an array cannot be read, in a sentence; None for a sound one. Reads all of it."""
        try:
            array = self.open(case_id, name)
            depth = array.chunks[0]
            with explained_array(self._where(case_id, name)):
                for start in range(0, array.shape[0], depth):
                    _ = array[start : start + depth]
        except UserError as error:
            return str(error)
        return None

    def exists(self, case_id: str, name: ArrayName) -> bool:
        """Whether there is anything at all of an array, even if it cannot be read."""
        return os.path.lexists(self._where(case_id, name))

    def open(self, case_id: str, name: ArrayName) -> zarr.Array[Any]:
        """An array (z y x), to be read and, in a writable study, written.

        Raises UserError that says what to do where it is absent.
        """
        path = self._where(case_id, name)
        try:
            stamp = _stamp(path)
        except (FileNotFoundError, NotADirectoryError):
            self.place.check()
            raise UserError(_absent(self._catalogue.name(case_id), name)) from None
        with self._lock:
            known = self._open.get(path)
            if known is None or known[0] != stamp:
                known = stamp, self._opened(path, name, self._catalogue.shape(case_id))
                self._open[path] = known
            return known[1]

    def map_labels(
        self, case_id: str, name: ArrayName, table: NDArray[np.uint8], edition: int
    ) -> None:
        """Copy labels with other values (`table`: for 0 to 255) into another edition."""
        array, path = self.open(case_id, name), self._path(case_id, name, edition)
        along = min(range(3), key=lambda axis: array.chunks[axis])
        shape, depth = self._catalogue.shape(case_id), array.chunks[along]
        with self._begin(path, shape, array.dtype, array.chunks, along).finished() as unfinished:
            for start in range(0, shape[along], depth):
                part = plane(along, start, min(start + depth, shape[along]))
                labels = np.asarray(array[part], np.uint8)
                unfinished.write(start, np.moveaxis(table[labels], along, 0))

    def keep_only(self, case_id: str, edition: int) -> None:
        """Delete the arrays of a case that belong to another edition."""
        for stale in of_other_editions(self._folder / require_case_id(case_id), edition):
            self._delete(stale)

    def begin(self, case_id: str, name: ArrayName, axis: int) -> Unfinished:
        """Begin an array of slices along a display axis; it is there when it is finished."""
        if name not in _DTYPES:
            raise ValueError(f"{name} is imported, not created")
        shape = self._catalogue.shape(case_id)
        # A chunk is one slice: writing one never reads or touches another.
        chunks = tuple(1 if k == axis else n for k, n in enumerate(shape))
        return self._begin(self._path(case_id, name), shape, _DTYPES[name], chunks, axis)

    def create(
        self,
        case_id: str,
        name: ArrayName,
        blocks: Iterable[Block] = (),
        *,
        axis: int | None = None,
    ) -> zarr.Array[Any]:
        """Replace labels, a prediction or weights by slices, once all of them are written.

        `blocks` are pairs of an index along `axis` (by default the case's) and of slices, stacked
        on the first axis, that stand from there on; where there are none, the array is zero.
        """
        self.place.require_writable()
        along = self._catalogue.case(case_id).axis if axis is None else axis
        with self.begin(case_id, name, along).finished() as unfinished:
            for start, block in blocks:
                unfinished.write(start, block)
        return self.open(case_id, name)

    def put(
        self,
        case_id: str,
        name: ArrayName,
        source: VoxelSource,
        axis: int,
        edition: int | None = None,
    ) -> zarr.Array[Any]:
        """Replace an array with a whole volume, stored so that slices along any axis open fast.

        A volume that comes in slabs is never in memory as a whole. It belongs to the edition of
        the case, or to another one, which does not count yet.
        """
        shape = source.geometry.shape
        dtype = _DTYPES.get(name, source.dtype.newbyteorder("="))
        sides = (_BLOCK_ALONG_AXIS if k == axis else _BLOCK_ACROSS for k in range(3))
        z, y, x = (min(side, n) for side, n in zip(sides, shape, strict=True))
        chunks = within_memory((z, y, x), shape, dtype.itemsize)
        path = self._path(case_id, name, edition)
        with self._begin(path, shape, dtype, chunks, axis).finished() as unfinished:
            unfinished.pour(source)
        return self._opened(path, name, shape)

    def read(self, case_id: str, name: ArrayName, axis: int, index: int) -> NDArray[Any]:
        """One slice along a display axis."""
        array = self.open(case_id, name)
        with explained_array(self._path(case_id, name)):
            return np.asarray(array[plane(axis, index)])

    def write(
        self, case_id: str, name: ArrayName, axis: int, start: int, block: NDArray[Any]
    ) -> None:
        """Write slices from `start` on, stacked on the first axis of `block`."""
        self.place.require_writable()
        array = self.open(case_id, name)
        with explained_array(self._path(case_id, name)):
            write_slices(array, axis, start, block)
        self.place.check()

    def remove(self, case_id: str, name: ArrayName) -> None:
        """Delete an array."""
        self._delete(self._path(case_id, name))

    def discard(self, case_id: str) -> None:
        """Delete all arrays of a case."""
        self._delete(self._folder / require_case_id(case_id))

    @contextmanager
    def importing(self, case_id: str) -> Iterator[None]:
        """Surrounds an import: begins with an empty folder and deletes it after an error.

        Until `imported` is called, opening the study deletes the folder if its case is not in the
        catalogue, because nothing else would.
        """
        self.place.require_writable()
        folder = self._folder / require_case_id(case_id)
        size_of(folder, self._study)
        self._delete(folder)
        try:
            with explained_array(folder):
                make_folder(folder)
                (folder / IMPORTING).touch(mode=0o600)
            yield
        except BaseException:
            self.discard(case_id)
            raise

    def imported(self, case_id: str) -> None:
        """Note that the case is in the catalogue."""
        (self._folder / require_case_id(case_id) / IMPORTING).unlink(missing_ok=True)

    def _path(self, case_id: str, name: ArrayName, edition: int | None = None) -> Path:
        number = self._catalogue.edition(case_id) if edition is None else edition
        mark = f".{number}" if number and name not in CHANNELS else ""
        return self._folder / require_case_id(case_id) / f"{name.value}{mark}.zarr"

    def _where(self, case_id: str, name: ArrayName) -> Path:
        """The place of an array, even if a killed process was about to replace it."""
        path = self._path(case_id, name)
        former = former_path(path)
        if former is not None and former.exists() and not path.exists():
            return former
        return before(path) if not path.exists() and before(path).exists() else path

    def _opened(self, path: Path, name: ArrayName, shape: Shape) -> zarr.Array[Any]:
        with explained_array(path):
            whole = check_metadata(path, self._study, shape, _DTYPES.get(name))
            store = GuardedStore(
                path,
                self._study,
                self.place,
                largest_chunk(shape),
                whole=whole,
                read_only=not self.place.writable,
            )
            mode: Literal["r", "r+"] = "r+" if self.place.writable else "r"
            opened = zarr.open_array(store, mode=mode, zarr_format=3).async_array
            return zarr.Array(zarr.AsyncArray(opened.metadata, opened.store_path, EVERY_CHUNK))

    def _is_there(self, path: Path, name: ArrayName, shape: Shape) -> bool:
        try:
            whole = check_metadata(path, self._study, shape, _DTYPES.get(name))
        except (OSError, ValueError):
            return False
        return not whole or next(missing_chunks(path, self._study, shape), None) is None

    def _begin(
        self,
        path: Path,
        shape: Shape,
        dtype: np.dtype[Any],
        chunks: tuple[int, ...],
        axis: int,
    ) -> Unfinished:
        self.place.require_writable()
        return Unfinished.begin(
            path, self._study, self.place, shape=shape, dtype=dtype, chunks=chunks, axis=axis
        )

    def _delete(self, path: Path) -> None:
        """Delete a folder, if it is still this study's and no link leads to it."""
        if not self.place.gone and size_of(path, self._study) is None:
            shutil.rmtree(path, ignore_errors=True)


def of_other_editions(case: Path, edition: int) -> Iterator[Path]:
    """The arrays in the folder of a case that do not belong to its edition."""
    of_labels = {name.value for name in ArrayName if name not in CHANNELS}
    of_labels |= set(FORMER.values())
    for array in plain_folders(case):
        name, _, number = array.stem.partition(".")
        if name in of_labels and array.suffix == ".zarr" and number != str(edition or ""):
            yield array


def _stamp(path: Path) -> _Stamp:
    """Shows when an array was replaced, perhaps by another process."""
    stat = (path / METADATA).stat()
    return stat.st_ino, stat.st_mtime_ns


def former_path(path: Path) -> Path | None:
    """Where version 0.1 kept an array, if elsewhere; opening for writing moves it to its place."""
    return path.with_stem(FORMER[path.stem]) if path.stem in FORMER else None


def _absent(case: str, name: ArrayName) -> str:
    words = name.value.replace("_", " ")
    if name in CHANNELS:
        return (
            f"The {words} of {case} is missing from the study's arrays. Rebuild the arrays from "
            "the source files; corrected slices are not lost."
        )
    return (
        f"There is no array {words!r} of {case}. If it was imported, rebuild the arrays from "
        "the source files; otherwise run the training, which computes it."
    )

"""Arrays of a study for the layers: slices are read from the disk when they come on view.

The store keeps several slices in one row of chunks, and reading one slice costs as much as reading
the whole row. So rows are cached for a while, and a thread fetches the next one ahead. If a slice
takes long, its layer stays empty until the slice arrives, instead of blocking the window.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.project.arrays.store import CHANNELS, ArrayName
from napari_mlbseg.project.labels import along, machine_array
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.extents import Excluded, clear_excluded
from napari_mlbseg.project.records.masks import plane
from napari_mlbseg.project.study import Study

Row = tuple[int, int, int]
"""Display axis, first index and the index after the last."""

_PATIENCE_S: Final = 0.25
_KEPT_BYTES: Final = 48 << 20
_AHEAD_BYTES: Final = 48 << 20
"""Rows up to this size are fetched ahead."""
_PREDICTED: Final = (ArrayName.PREDICTION, ArrayName.PROPOSED_LABELS)
_ALL: Final = (slice(None), slice(None), slice(None))
_LABELS: Final = (ArrayName.INITIAL_LABELS, ArrayName.PREDICTION, ArrayName.PROPOSED_LABELS)


class StoredArray:
    """A read-only array (z y x) for a layer; blank where the study has none (yet): 0, NaN in maps.

    Call all methods on the main thread. Slices that were read do not change until `reload`, so that
    a slice on view does not change unnoticed while the engine writes.
    """

    def __init__(
        self,
        study: Study,
        case: Case,
        name: ArrayName,
        reader: ThreadPoolExecutor,
        late: Callable[[], object],
        excluded: Callable[[], Mapping[int, Excluded]] = dict,
    ) -> None:
        """`excluded` returns what is not shown, along each display axis."""
        self._study, self._case, self.name = study, case, name
        self._reader, self._late, self._excluded = reader, late, excluded
        self._rows: OrderedDict[Row, Future[NDArray[Any]]] = OrderedDict()
        self._awaited: set[Row] = set()
        self._last = (0, 0)
        self.there = False
        self.shape = case.geometry.shape
        self.ndim = 3
        self.size = prod(self.shape)
        self.dtype: np.dtype[Any] = np.dtype(np.uint8 if name in _LABELS else np.float16)
        self._blank: Any = 0 if name in _LABELS or name in CHANNELS else np.nan
        self.look()
        if name is ArrayName.IMAGE or (name in CHANNELS and self.there):
            self.dtype = study.arrays.open(case.id, name).dtype

    def look(self) -> None:
        """Check whether the array exists by now."""
        self.there = self._study.arrays.has(self._case.id, self.name)

    def slice(self, axis: int, index: int) -> NDArray[Any]:
        """Return a copy of one slice; waits for the disk."""
        if not self.there:
            return self._empty(axis)
        row = self._row(axis, index)
        return self._cut(row, self._request(row).result(), index)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Return a copy of a part; a slice that takes long is empty for now, see `arrived`."""
        if not self.there:
            blank = self.dtype.type(self._blank)
            return np.asarray(np.broadcast_to(blank, self.shape)[key]).copy()
        where = _whole_slice(key)
        if where is None:
            stored = self._study.arrays.open(self._case.id, self.name)
            excluded = self._excluded()
            if not excluded:
                return np.asarray(stored[key])
            whole = np.array(stored[:])
            clear_excluded(whole, _ALL, excluded)
            return np.asarray(whole[key])
        axis, index = where
        row = self._row(axis, index)
        future = self._request(row)
        self._fetch_ahead(row, index)
        wait([future], _PATIENCE_S)
        if not future.done():
            self._awaited.add(row)
            self._late()
            return self._empty(axis)
        return self._cut(row, future.result(), index)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:, :, :], dtype=dtype)

    def __deepcopy__(self, memo: object) -> NDArray[Any]:
        return np.asarray(self)  # for napari's "duplicate layer"

    def at(self, voxel: tuple[int, int, int], axis: int, reading: Callable[[], object]) -> Any:
        """Return the value of a voxel (z y x) on a slice across `axis`; None if there is none.

        Nobody waits for a slice that has not been read yet: None, and `reading` is called.
        """
        if not self.there:
            return None
        index = voxel[axis]
        row = next((r for r in self._rows if r[0] == axis and r[1] <= index < r[2]), None)
        future = self._request(self._row(axis, index)) if row is None else self._rows[row]
        if row is None or not future.done():
            reading()
            return None
        if future.exception() is not None:
            return None  # whoever shows the slice says so, and tries again
        return future.result()[(*voxel[:axis], index - row[1], *voxel[axis + 1 :])]

    def ready(self, axis: int, index: int) -> bool:
        """Start to read a slice, wait a moment, and return whether it has been read."""
        if not self.there:
            return True
        future = self._request(self._row(axis, index))
        wait([future], _PATIENCE_S)
        return future.done()

    def expect(self, axis: int, index: int) -> None:
        """Start to read a slice that will be wanted soon, unless it is large; waits for nothing."""
        if not self.there:
            return
        row = self._row(axis, index)
        if row not in self._rows and self._bytes(row) <= _AHEAD_BYTES:
            self._request(row)

    def take_over(self, earlier: "StoredArray") -> None:
        """Take the rows that another one of the same array has read or is reading."""
        self._rows.update(earlier._rows)

    @property
    def awaited(self) -> bool:
        """Whether a slice that was shown empty is still being read."""
        return bool(self._awaited)

    def arrived(self) -> bool:
        """Whether slices that were shown empty have arrived since the last call."""
        here = {row for row in self._awaited if row not in self._rows or self._rows[row].done()}
        self._awaited -= here
        return bool(here)

    def reload(self, axis: int, start: int, stop: int) -> None:
        """Read these slices again from now on."""
        self.look()
        for row in list(self._rows):
            along, first, last = row
            if not self._rows[row].done() or self._rows[row].exception() is not None:
                del self._rows[row]
            elif along != axis:
                self._mend(row, axis, start, stop)
            elif first < stop and start < last:
                del self._rows[row]

    def _mend(self, row: Row, axis: int, start: int, stop: int) -> None:
        """Update a row across the slices, which may be the whole array; read only what is new."""
        along, first, last = row
        where: list[slice] = [slice(None)] * 3
        where[axis] = slice(start, stop)
        kept = tuple(where)
        where[along] = slice(first, last)
        stored = self._study.arrays.open(self._case.id, self.name)
        self._rows[row].result()[kept] = np.asarray(stored[tuple(where)])

    def _row(self, axis: int, index: int) -> Row:
        depth = self._study.arrays.open(self._case.id, self.name).chunks[axis]
        first = index // depth * depth
        return axis, first, min(first + depth, self.shape[axis])

    def _request(self, row: Row) -> Future[NDArray[Any]]:
        future = self._rows.get(row)
        if future is None or (future.done() and future.exception() is not None):
            future = self._reader.submit(self._read, row)
            self._rows[row] = future
        self._rows.move_to_end(row)
        self._forget()
        return future

    def _read(self, row: Row) -> NDArray[Any]:
        return np.array(self._study.arrays.open(self._case.id, self.name)[plane(*row)])

    def _fetch_ahead(self, row: Row, index: int) -> None:
        axis, first, last = row
        before, self._last = self._last, (axis, index)
        step = index - before[1] if before[0] == axis else 0
        following = last if step > 0 else first - 1
        # After a jump the next step cannot be foreseen.
        if not 0 < abs(step) <= 4 or not 0 <= following < self.shape[axis]:
            return
        ahead = self._row(axis, following)
        if self._bytes(ahead) <= _AHEAD_BYTES and ahead not in self._rows:
            self._request(ahead)
            self._rows.move_to_end(row)

    def _forget(self) -> None:
        """Drop the oldest rows beyond the limit; keep at least two small rows, or one large row."""
        held = 0
        for place, row in enumerate(reversed(list(self._rows))):
            held += self._bytes(row)
            if place and held > _KEPT_BYTES and not (place == 1 and held <= 2 * _AHEAD_BYTES):
                del self._rows[row]

    def _bytes(self, row: Row) -> int:
        axis, first, last = row
        return self.dtype.itemsize * self.size // self.shape[axis] * (last - first)

    def _cut(self, row: Row, voxels: NDArray[Any], index: int) -> NDArray[Any]:
        axis, first, _ = row
        cut = np.array(voxels[plane(axis, index - first)])
        clear_in_slice(cut, axis, index, self._excluded())
        return cut

    def _empty(self, axis: int) -> NDArray[Any]:
        side = [n for k, n in enumerate(self.shape) if k != axis]
        return np.full(side, self._blank, self.dtype)


class CaseArrays:
    """The arrays of one case behind its layers, by name.

    `late` is called when a slice is shown empty because it takes long to read; `arrived` says when
    it has been read. `excluded` returns what is excluded along each display axis: predictions do
    not show it, imported labels are shown as they were imported.
    """

    def __init__(
        self,
        study: Study,
        case: Case,
        names: Iterable[ArrayName],
        late: Callable[[], object],
        excluded: Callable[[], Mapping[int, Excluded]] = dict,
    ) -> None:
        self._excluded, self._channel = excluded, ArrayName.IMAGE
        # One thread: disk and store handle one request after another anyway.
        self._reader = ThreadPoolExecutor(1, "mlbseg-reader")
        self._arrays = {
            name: StoredArray(
                study, case, name, self._reader, late, excluded if name in _PREDICTED else dict
            )
            for name in names
        }

    def __getitem__(self, name: ArrayName) -> StoredArray:
        return self._arrays[name]

    def look_through(self, channel: ArrayName) -> None:
        """From now on this channel is the image on view."""
        self._channel = channel

    @property
    def image(self) -> StoredArray:
        """The channel on view."""
        return self._arrays[self._channel]

    def intensities(self, axis: int, index: int) -> NDArray[Any]:
        """Return a copy of one slice of the channel on view; waits for the disk."""
        return self.image.slice(axis, index)

    def behind(self, name: ArrayName) -> StoredArray:
        """The array that the layer of this name shows: of the image, the channel on view."""
        return self.image if name is ArrayName.IMAGE else self._arrays[name]

    @property
    def machine(self) -> StoredArray:
        """The prediction if there is one, otherwise the initial labels."""
        name = machine_array(lambda name: self._arrays[name].there)
        return self._arrays[name or ArrayName.INITIAL_LABELS]  # zeros if the study has none

    def machine_slice(self, axis: int, index: int) -> NDArray[np.uint8]:
        """Return a copy of one slice of `machine` within the extents; waits for the disk."""
        return self.labels(self.machine.name, axis, index)

    def labels(self, name: ArrayName, axis: int, index: int) -> NDArray[np.uint8]:
        """Return a copy of one slice of labels within the extents; waits for the disk."""
        labels: NDArray[np.uint8] = self._arrays[name].slice(axis, index)
        clear_in_slice(labels, axis, index, self._excluded())
        return labels

    def reload(self, names: Iterable[ArrayName], axis: int, start: int, stop: int) -> None:
        """Read slices of these arrays again; other names are ignored."""
        for name in self._arrays.keys() & set(names):
            self._arrays[name].reload(axis, start, stop)

    def expect(self, shown: Iterable[ArrayName], axis: int, index: int) -> None:
        """Read what a slice will need ahead: the image, the machine's labels, what is shown."""
        for name in {self.image.name, self.machine.name, *shown}:
            self._arrays[name].expect(axis, index)

    def arrived(self) -> list[ArrayName]:
        """Return the arrays in which a slice that was shown empty has arrived."""
        return [name for name, array in self._arrays.items() if array.arrived()]

    @property
    def awaited(self) -> bool:
        """Whether a slice that was shown empty is still being read, in any array."""
        return any(array.awaited for array in self._arrays.values())

    def take_over(self, earlier: "CaseArrays") -> None:
        """Take the rows that others of the same case have read or are reading, and end those."""
        for name in self._arrays.keys() & earlier._arrays.keys():
            self._arrays[name].take_over(earlier[name])
        earlier._reader.shutdown(wait=False)

    def close(self) -> None:
        """Stop reading."""
        self._reader.shutdown(wait=False, cancel_futures=True)


def clear_in_slice(
    labels: NDArray[Any], axis: int, index: int, excluded: Mapping[int, Excluded]
) -> None:
    """Set classes that are excluded from a slice, or from a part of it, to background, in place."""
    clear_excluded(np.expand_dims(labels, axis), along(axis, index, index + 1), excluded)


def _whole_slice(key: Any) -> tuple[int, int] | None:
    """Return axis and index if a key means one whole slice, the only key napari uses in 2-D."""
    if not isinstance(key, tuple) or len(key) != 3:
        return None
    numbers = [k for k, part in enumerate(key) if isinstance(part, int | np.integer)]
    rest = [part for part in key if isinstance(part, slice)]
    if len(numbers) != 1 or any(part != slice(None) for part in rest) or len(rest) != 2:
        return None
    return numbers[0], int(key[numbers[0]])

"""The history of a case, for undo and redo: named steps, limited in memory.

A step holds whole slices, compressed, so that undo and redo depend on nothing but the step.
"""

import zlib
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.project.records.extents import Extent
from napari_mlbseg.project.records.slices import SliceKey, SliceState

# A brush stroke on a slice of 512 x 512 takes about 5 kB.
_CASE_BYTES = 64_000_000
_STUDY_BYTES = 256_000_000
_STEP_BYTES = 1_000


@dataclass(frozen=True)
class Packed:
    """The labels of a slice, compressed."""

    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def pack(cls, labels: NDArray[np.uint8]) -> Self:
        """Compress labels, for speed rather than for size."""
        return cls(labels.shape, zlib.compress(labels.tobytes(), 1))

    def unpack(self) -> NDArray[np.uint8]:
        """Return a copy of the labels."""
        flat = np.frombuffer(zlib.decompress(self.data), np.uint8)
        return flat.reshape(self.shape).copy()


@dataclass(frozen=True)
class Look:
    """The state and the labels of a slice at one time.

    Attributes
    ----------
    labels
        A person's labels; None if the machine's labels are shown.
    above
        Axis and index of a person's slices that crossed this one and lay over it.
    """

    state: SliceState
    labels: Packed | None = None
    above: tuple[tuple[int, int], ...] = ()

    @classmethod
    def human(cls, state: SliceState, labels: NDArray[np.uint8]) -> Self:
        """Return the look of a slice with a person's labels, on top of all others."""
        return cls(state, Packed.pack(labels))


@dataclass(frozen=True)
class Change:
    """One slice before and after a step.

    Attributes
    ----------
    painted_over
        What the slice showed before somebody painted on it; None if a command changed it.
    """

    key: SliceKey
    before: Look
    after: Look
    painted_over: Packed | None = None

    @property
    def size(self) -> int:
        """Size in bytes."""
        held = (self.before.labels, self.after.labels, self.painted_over)
        return sum(len(labels.data) for labels in held if labels is not None)


@dataclass(frozen=True)
class Marking:
    """The extent of a class (by its value) along an axis, before and after a step."""

    axis: int
    value: int
    before: Extent
    after: Extent

    size = 0


@dataclass(frozen=True)
class Step:
    """A step that is undone as one; `name` completes "Undo ...", `where` is the slice to show.

    `in_volume` if a clean-up of the whole volume made it.
    """

    name: str
    where: SliceKey
    changes: tuple[Change | Marking, ...]
    in_volume: bool = False

    @property
    def size(self) -> int:
        """Approximate size in bytes."""
        return _STEP_BYTES + sum(change.size for change in self.changes)


class History:
    """The steps of one case; the oldest are dropped when they take too much memory."""

    def __init__(self, limit_bytes: int = _CASE_BYTES) -> None:
        self._limit = limit_bytes
        self._done: deque[Step] = deque()
        self._undone: list[Step] = []
        self.size = 0

    @property
    def last(self) -> Step | None:
        """The step that undo would undo."""
        return self._done[-1] if self._done else None

    @property
    def next(self) -> Step | None:
        """The step that redo would redo."""
        return self._undone[-1] if self._undone else None

    def before_strokes(self, key: SliceKey) -> NDArray[np.uint8] | None:
        """Return what a slice showed before the strokes since the last command that changed it.

        None if there are no strokes since then.
        """
        found: Packed | None = None
        for step in reversed(self._done):
            changes = [one for one in step.changes if isinstance(one, Change) and one.key == key]
            if any(one.painted_over is None for one in changes):
                break
            found = changes[0].painted_over if changes else found
        return None if found is None else found.unpack()

    def drafted_in_volume(self) -> frozenset[SliceKey]:
        """Return the slices that a clean-up of the whole volume changed last."""
        last = {
            one.key: step.in_volume
            for step in self._done
            for one in step.changes
            if isinstance(one, Change)
        }
        return frozenset(key for key, in_volume in last.items() if in_volume)

    def add(self, step: Step) -> None:
        """Add a step; steps that were undone before can no longer be redone."""
        self.size += step.size - sum(gone.size for gone in self._undone)
        self._undone.clear()
        self._done.append(step)
        while self.size > self._limit and len(self._done) > 1:
            self.size -= self._done.popleft().size

    def went(self, *, back: bool) -> None:
        """Take note that the last step was undone, or the next one redone."""
        if back:
            self._undone.append(self._done.pop())
        else:
            self._done.append(self._undone.pop())


class Histories:
    """The histories of the cases of a study while it is open."""

    def __init__(self, limit_bytes: int = _STUDY_BYTES) -> None:
        self._limit = limit_bytes
        self._cases: OrderedDict[str, History] = OrderedDict()

    def of(self, case_id: str) -> History:
        """Return the history of a case; may drop those of the least recently viewed cases."""
        history = self._cases.setdefault(case_id, History())
        self._cases.move_to_end(case_id)
        while sum(h.size for h in self._cases.values()) > self._limit and len(self._cases) > 1:
            self._cases.popitem(last=False)
        return history

"""What was done to the slices of a case, step by step: back and forth, named and bounded.

Steps hold whole slices, compressed, so that going back and forth depends on nothing but the step.
"""

import zlib
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.project.records.slices import SliceKey, SliceState

# A brush stroke on a slice of 512 x 512 takes about 5 kB.
_CASE_BYTES = 64_000_000
_STUDY_BYTES = 256_000_000
_STEP_BYTES = 1_000


@dataclass(frozen=True)
class Packed:
    """Labels of a slice, compressed."""

    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def pack(cls, labels: NDArray[np.uint8]) -> Self:
        """Compress; quickly rather than well."""
        return cls(labels.shape, zlib.compress(labels.tobytes(), 1))

    def unpack(self) -> NDArray[np.uint8]:
        """The labels, a copy."""
        flat = np.frombuffer(zlib.decompress(self.data), np.uint8)
        return flat.reshape(self.shape).copy()


@dataclass(frozen=True)
class Look:
    """How a slice stood at one time.

    Attributes
    ----------
    labels
        A person's labels; None where the machine's are shown.
    above
        Axis and index of slices of a person's that cross this one and lay over it.
    """

    state: SliceState
    labels: Packed | None = None
    above: tuple[tuple[int, int], ...] = ()

    @classmethod
    def human(cls, state: SliceState, labels: NDArray[np.uint8]) -> Self:
        """A slice with a person's labels, above all others."""
        return cls(state, Packed.pack(labels))


@dataclass(frozen=True)
class Change:
    """One slice before and after a step."""

    key: SliceKey
    before: Look
    after: Look

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return sum(len(x.labels.data) for x in (self.before, self.after) if x.labels is not None)


@dataclass(frozen=True)
class Step:
    """Something that was done at once; `name` reads on after "Undo", `where` shows it."""

    name: str
    where: SliceKey
    changes: tuple[Change, ...]

    @property
    def size(self) -> int:
        """Bytes that it holds, roughly."""
        return _STEP_BYTES + sum(change.size for change in self.changes)


class History:
    """The steps of one case; the oldest are forgotten where they take too much memory."""

    def __init__(self, limit_bytes: int = _CASE_BYTES) -> None:
        self._limit = limit_bytes
        self._done: deque[Step] = deque()
        self._undone: list[Step] = []
        self.size = 0

    @property
    def last(self) -> Step | None:
        """The step that undo takes back."""
        return self._done[-1] if self._done else None

    @property
    def next(self) -> Step | None:
        """The step that redo does again."""
        return self._undone[-1] if self._undone else None

    def add(self, step: Step) -> None:
        """Something was done; what was undone before can no longer be done again."""
        self.size += step.size - sum(gone.size for gone in self._undone)
        self._undone.clear()
        self._done.append(step)
        while self.size > self._limit and len(self._done) > 1:
            self.size -= self._done.popleft().size

    def went(self, *, back: bool) -> None:
        """The last step was undone, or the next one done again."""
        if back:
            self._undone.append(self._done.pop())
        else:
            self._done.append(self._undone.pop())


class Histories:
    """The histories of the cases of a study, for as long as it is open."""

    def __init__(self, limit_bytes: int = _STUDY_BYTES) -> None:
        self._limit = limit_bytes
        self._cases: OrderedDict[str, History] = OrderedDict()

    def of(self, case_id: str) -> History:
        """A case's history; those of cases that nobody looked at for longest may be forgotten."""
        history = self._cases.setdefault(case_id, History())
        self._cases.move_to_end(case_id)
        while sum(h.size for h in self._cases.values()) > self._limit and len(self._cases) > 1:
            self._cases.popitem(last=False)
        return history

"""The states of the slices of the case on view, in memory to avoid disk access."""

from collections import deque
from collections.abc import Mapping

from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.slices import HUMAN, SliceKey, SliceRecord, SliceState
from napari_mlbseg.project.study import Study

_DONE = (SliceState.CLEAN, SliceState.SKIPPED)


class SliceStates:
    """The newest state of every slice of a case; the study stores them, or is about to."""

    def __init__(self, study: Study, case: Case) -> None:
        self._shape = case.geometry.shape
        self._records = {r.key: r for r in study.slices.records(case.id)}
        self._expected: dict[SliceKey, deque[SliceState]] = {}

    def __getitem__(self, key: SliceKey) -> SliceState:
        """Return the state of a slice."""
        if key in self._expected:
            return self._expected[key][-1]
        record = self._records.get(key)
        return record.state if record else SliceState.UNTOUCHED

    def along(self, axis: int) -> tuple[SliceState, ...]:
        """Return the states of all slices along an axis."""
        states = [SliceState.UNTOUCHED] * self._shape[axis]
        for key in {**self._records, **self._expected}:
            if key.axis == axis:
                states[key.index] = self[key]
        return tuple(states)

    def human(self) -> list[tuple[int, int]]:
        """Return axis and index of the slices that show a person's labels."""
        return [(k.axis, k.index) for k, r in self._records.items() if r.state in HUMAN]

    def open_after(self, axis: int, index: int) -> int | None:
        """Return the next open slice, continuing from the first after the last; None if none."""
        states = self.along(axis)
        around = [*range(index + 1, len(states)), *range(index)]
        return next((i for i in around if states[i] not in _DONE), None)

    def keep(self, record: SliceRecord) -> None:
        """Take a newer revision of a slice."""
        self._records[record.key] = record

    @property
    def expected(self) -> Mapping[SliceKey, SliceState]:
        """The states of slices that are not in the study yet."""
        return {key: states[-1] for key, states in self._expected.items()}

    def expect(self, key: SliceKey, state: SliceState) -> None:
        """Take a state that the study will store later."""
        self._expected.setdefault(key, deque()).append(state)

    def arrived(self, key: SliceKey) -> None:
        """Take note that the study stores the first of the states that were expected of a slice."""
        self._expected[key].popleft()
        if not self._expected[key]:
            del self._expected[key]

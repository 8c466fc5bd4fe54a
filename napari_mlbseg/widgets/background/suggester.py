"""Suggestions for the window: found in the background, and kept until something changes."""

import time
from collections.abc import Sequence
from dataclasses import replace

from qtpy.QtCore import QObject, Signal

from napari_mlbseg.engine.events import Event, Finished, SlicesPublished
from napari_mlbseg.engine.predictions.suggestions import Suggestion
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.extents import End
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background import jobs
from napari_mlbseg.widgets.background.task import BackgroundTask, timer

SHOWN = 10
# The best part of a batch is a batch, too: ten slices can be corrected before a new search.
BATCH = 2 * SHOWN
# A new search pays off when this share of the cohort's slices has new predictions.
FRESH_SHARE = 0.5
# After a search, rest this many times as long: searching takes at most 1/11 of the time.
REST = 10.0
_AFTER_MS = 300
_STOP_S = 0.5
_CLOSED = (SliceState.CLEAN, SliceState.SKIPPED)


class Suggester(QObject):
    """Keeps a list of the slices that are worth correcting next.

    It searches again when a slice that it did not suggest becomes clean, when a clean or skipped
    slice is reopened, when an extent changes, when half of a batch is used up, when half of the
    predictions have changed, and when a training has ended; never while the last batch is still
    valid.

    Signals
    -------
    changed()
        `best` has changed, or a search has begun.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._study: Study | None = None
        self._total = 0
        self._closed: set[SliceKey] = set()
        self._fresh: set[tuple[str, int]] = set()
        self._batch: tuple[Suggestion, ...] = ()
        self._problem = ""
        self._task: BackgroundTask | None = None
        self._rest_until = 0.0
        self._timer = timer(self, _AFTER_MS, self._look, single_shot=True)

    @property
    def best(self) -> Sequence[Suggestion]:
        """Up to `SHOWN` suggestions, best first; no slice to correct is clean or skipped."""
        return self._batch[:SHOWN]

    @property
    def looking(self) -> bool:
        """Whether a search is running or about to start."""
        return self._task is not None or (self._timer.isActive() and not self._batch)

    @property
    def problem(self) -> str:
        """Why the last search failed, for the annotator; empty if it succeeded."""
        return self._problem

    def after(self, key: SliceKey | None) -> SliceKey | None:
        """Return the suggestion after the slice on view; the best one if that is not suggested."""
        keys = list(dict.fromkeys(one.key for one in self.best))  # both ends may be on one slice
        if not keys:
            return None
        return keys[(keys.index(key) + 1) % len(keys)] if key in keys else keys[0]

    # --- what happens ----------------------------------------------------------------------------

    def set_study(self, study: Study | None) -> None:
        """Suggest slices of this study from now on; None for no study."""
        self._timer.stop()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            task.wait(_STOP_S)
        self._study = study
        self._batch, self._problem, self._rest_until = (), "", 0.0
        self._fresh.clear()
        self._closed.clear()
        if study is not None:
            self._total = sum(case.geometry.shape[case.axis] for case in study.cases)
            self._closed |= {r.key for r in study.slices.records() if r.state in _CLOSED}
            self.refresh()
        self.changed.emit()

    def refresh(self) -> None:
        """Search again soon."""
        if self._study is None:
            return
        rest_s = self._rest_until - time.monotonic() if self._batch else 0.0
        after_ms = max(_AFTER_MS, round(1000 * rest_s))
        if not self._timer.isActive() or after_ms < self._timer.remainingTime():
            self._timer.start(after_ms)
            self.changed.emit()

    def slices_changed(self, keys: Sequence[SliceKey]) -> None:
        """Take note that a person changed the states of slices."""
        for key in keys:
            self._slice_changed(key)

    def _slice_changed(self, key: SliceKey) -> None:
        record = self._study.slices.record(key) if self._study is not None else None
        state = record.state if record is not None else SliceState.UNTOUCHED
        if state not in _CLOSED:
            if key in self._closed:
                self._closed.discard(key)
                self.refresh()
            return
        self._closed.add(key)
        kept = tuple(one for one in self._batch if one.key != key or one.asks_for is not None)
        if len(kept) < len(self._batch):
            self._batch = kept
            self.changed.emit()
            if len(kept) < SHOWN or _asks_for_ends(kept, key.case_id):
                self.refresh()
        elif state is SliceState.CLEAN:
            self.refresh()

    def extent_changed(self, case_id: str) -> None:
        """Take note that a person marked an end in a case, or took a mark away."""
        study = self._study
        if study is None:
            return
        marks = {
            (one.case_id, one.axis, one.value, end)
            for one in study.extents.of(case_id)
            for end in End
            if one.extent.at(end) is not None
        }
        self._batch = tuple(left for one in self._batch if (left := _without(one, marks)))
        self.changed.emit()
        self.refresh()

    def hear(self, event: Event) -> None:
        """Take an engine event."""
        if isinstance(event, SlicesPublished) and ArrayName.PREDICTION in event.arrays:
            self._fresh |= {(event.case_id, i) for i in range(event.start, event.stop)}
            if len(self._fresh) >= FRESH_SHARE * self._total:
                self.refresh()
        elif isinstance(event, Finished) and self._fresh:
            self.refresh()

    # --- inside ----------------------------------------------------------------------------------

    def _look(self) -> None:
        study = self._study
        if study is None:
            return
        if self._task is not None:
            self._timer.start(_AFTER_MS)
            return
        began = time.monotonic()
        self._fresh.clear()

        def ended(result: tuple[Suggestion, ...] | None, error: BaseException | None) -> None:
            task.deleteLater()
            if self._task is not task:
                return
            self._task = None
            self._rest_until = time.monotonic() + REST * (time.monotonic() - began)
            if result is not None:
                self._batch = tuple(
                    one for one in result if one.asks_for or one.key not in self._closed
                )
            prefix = "" if isinstance(error, UserError) else "Unexpected error: "
            self._problem = "" if error is None else f"{prefix}{error}"
            self.changed.emit()

        self._task = task = BackgroundTask(
            jobs.suggesting(study.path, BATCH), "mlbseg-suggestions", self
        )
        task.ended.connect(ended)
        task.start()
        self.changed.emit()


def _asks_for_ends(batch: Sequence[Suggestion], case_id: str) -> bool:
    """Whether an end in a case is asked for, which an accepted slice may make known."""
    return any(one.asks_for is not None and one.key.case_id == case_id for one in batch)


def _without(one: Suggestion, marks: set[tuple[str, int, int, End]]) -> Suggestion | None:
    """The suggestion without the classes whose end is marked; None if nothing is left of it."""
    if one.asks_for is None:
        return one
    case_id, axis = one.key.case_id, one.key.axis
    left = tuple(v for v in one.classes if (case_id, axis, v, one.asks_for) not in marks)
    return replace(one, classes=left) if left else None

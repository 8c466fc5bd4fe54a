"""Which slices are published next: the slice on view first, then the oldest predictions."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.engine.data.source import Source, Span, spans_of
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.coverage import LookedAt
from napari_mlbseg.project.records.slices import SliceKey

FOCUSED_CASE_FACTOR = 4
NEVER = -(10**9)


class Schedule:
    """Remembers at which step each slice was last predicted, and last published with its maps.

    The span with the oldest maps is next; those of the case on view age four times as fast as
    the others.
    """

    def __init__(self, cases: Sequence[Case], source: Source) -> None:
        self._cases, self._source = {case.id: case for case in cases}, source
        self._focus: SliceKey | None = None
        self._predicted, self._mapped = (
            {case.id: np.full(case.geometry.shape[case.axis], NEVER) for case in cases}
            for _ in range(2)
        )

    @property
    def focus(self) -> SliceKey | None:
        """The slice on view."""
        return self._focus

    def look_at(self, key: SliceKey | None) -> None:
        """Set the slice on view."""
        self._focus = key

    def published(self, span: Span, *, step: int) -> None:
        """Note that slices were published at `step`, with their maps."""
        self.labelled(span, step=step)
        self._mapped[span.case.id][span.start : span.stop] = step

    def labelled(self, span: Span, *, step: int) -> None:
        """Note that slices were predicted at `step`, without maps."""
        self._predicted[span.case.id][span.start : span.stop] = step

    def forget(self) -> None:
        """Treat every slice as out of date."""
        for steps in (*self._predicted.values(), *self._mapped.values()):
            steps[:] = NEVER

    def focused_slice(self) -> Span | None:
        """The slice on view as a span of one; None unless it lies along its case's axis."""
        if self._focus is None or self._focus.case_id not in self._cases:
            return None
        case = self._cases[self._focus.case_id]
        if case.axis != self._focus.axis:
            return None
        return Span(case, case.axis, self._focus.index, self._focus.index + 1)

    def stalest_span(self, step: int, *, youngest: int) -> Span | None:
        """The span with the oldest maps; None if no slice's are `youngest` steps old."""
        best, best_age = None, youngest - 1
        for case_id, steps in self._mapped.items():
            factor = FOCUSED_CASE_FACTOR if self._in_focus(case_id) else 1
            index = int(steps.argmin())
            age = int(step - steps[index])
            if age >= youngest and age * factor > best_age:
                case = self._cases[case_id]
                best_age = age * factor
                best = spans_of(self._source, case)[index // self._source.span_size(case)]
        return best

    def in_order_of_need(self, step: int, looked_at: LookedAt) -> Iterator[Span]:
        """Yield the spans that were last published before `step`, the most important first.

        These are the case on view, then slices with a clean slice near them, whose labels the
        network may change, then the oldest: time may be short.
        """
        waiting = [
            span
            for case in self._cases.values()
            for span in spans_of(self._source, case)
            if (self._mapped_at(span) < step).any()
        ]
        waiting.sort(
            key=lambda span: (not _judged(span, looked_at), int(self._mapped_at(span).min()))
        )
        while waiting:
            focused = (i for i, span in enumerate(waiting) if self._in_focus(span.case.id))
            yield waiting.pop(next(focused, 0))

    def out_of_date(self, step: int) -> list[SliceKey]:
        """The slices that were last predicted before `step`."""
        return [
            SliceKey(case.id, case.axis, int(i))
            for case in self._cases.values()
            for i in np.flatnonzero(self._predicted[case.id] < step)
        ]

    def _mapped_at(self, span: Span) -> NDArray[np.int_]:
        return self._mapped[span.case.id][span.start : span.stop]

    def _in_focus(self, case_id: str) -> bool:
        return self._focus is not None and self._focus.case_id == case_id


def _judged(span: Span, looked_at: LookedAt) -> bool:
    near = looked_at.get(span.case.id)
    return near is None or bool(near[span.start : span.stop].any())

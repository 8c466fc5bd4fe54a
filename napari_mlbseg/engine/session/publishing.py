"""Labelling the cohort before a round of bootstrapping, and publishing every slice at the end."""

from collections import deque
from collections.abc import Generator, Iterator

from napari_mlbseg.engine.data.source import Span, spans_of
from napari_mlbseg.engine.events import Event, OutOfTime, Stage, StageStarted
from napari_mlbseg.engine.interruption import CutOffError
from napari_mlbseg.engine.session.parts import Parts
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.slices import SliceKey


class Publishing:
    """Publishes span after span, however often it is interrupted, until the time is up."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def labelling(self) -> Generator[Event, None, bool]:
        """Label the cases that the next round learns from; returns whether all of them are done."""
        parts = self._parts
        cases = parts.trainer.labelling.cases()
        spans = deque(span for case in cases for span in self._spans_of(case))
        count = len(spans)
        began = parts.budget.now()
        yield StageStarted(Stage.LABELLING, count)
        parts.pace.restart()
        yield from parts.between.heeding(parts.upkeep.decide_on_imported)
        while spans:
            yield from parts.between.steps()
            if parts.attention.stop:
                return False
            if parts.budget.left_s <= 0:
                yield OutOfTime(tuple(self._keys_of_cases(spans)))
                return False
            try:
                event = parts.showing.label(spans[0])
            except CutOffError:
                continue
            yield event
            if event.stop < spans[0].stop:
                continue
            case = spans.popleft().case
            if not spans or spans[0].case != case:
                parts.trainer.labelling.note(case)
            done = count - len(spans)
            progress = parts.pace.step_done(
                {}, stage=Stage.LABELLING, step=done, steps=count, later_steps=0
            )
            if progress is not None:
                yield progress
        parts.budget.labelled(parts.budget.now() - began)
        return True

    def everything(self) -> Iterator[Event]:
        """Bring every slice of every case up to date with the network, as time allows."""
        parts = self._parts
        step = parts.trainer.state.total + 1
        spans = sum(len(self._spans_of(case)) for case in parts.study.cases)
        yield StageStarted(Stage.PUBLISHING, spans)
        parts.pace.restart()
        parts.showing.forget_direction()  # use the direction of the final network
        yield from parts.between.heeding(parts.upkeep.decide_on_imported)
        if parts.attention.stop:
            return
        yield from self._put_back(step)
        for done, span in enumerate(parts.showing.in_order_of_need(step), start=1):
            whole = yield from self._whole(span, step)
            if not whole:
                return
            progress = parts.pace.step_done(
                {}, stage=Stage.PUBLISHING, step=done, steps=spans, later_steps=0
            )
            if progress is not None:
                yield parts.budget.within(progress)

    def _whole(self, span: Span, step: int) -> Generator[Event, None, bool]:
        """Publish a span, however often it is interrupted; False on a stop or if time is up."""
        parts = self._parts
        while True:
            yield from parts.between.steps()
            if parts.attention.stop:
                return False
            if not parts.budget.suffices_for(span.stop - span.start):
                yield OutOfTime(tuple(parts.showing.out_of_date(step)))
                return False
            try:
                event = parts.showing.publish(span, step=step)
            except CutOffError:
                continue
            yield event
            if event.stop == span.stop:
                return True

    def _put_back(self, step: int) -> Iterator[Event]:
        """Write the imported labels that are kept, before using the network: time may be short."""
        parts = self._parts
        for case in parts.study.cases if parts.budget.limited else ():
            for span in self._spans_of(case):
                if parts.budget.left_s <= 0:
                    return
                event = parts.showing.put_back(span, step=step)
                if event is not None:
                    yield event

    def _keys_of_cases(self, spans: deque[Span]) -> list[SliceKey]:
        """Every slice of the cases of some spans: initial labels are written case by case."""
        cases = dict.fromkeys(span.case for span in spans)
        return [key for case in cases for span in self._spans_of(case) for key in span.keys]

    def _spans_of(self, case: Case) -> list[Span]:
        return spans_of(self._parts.trainer.source, case)

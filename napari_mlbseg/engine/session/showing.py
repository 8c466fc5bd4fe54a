"""Predictions and maps of the current training, brought up to date as time allows."""

from collections.abc import Iterator

from napari_mlbseg.engine.data.source import Span, spans_of
from napari_mlbseg.engine.events import Event, SlicesPublished, Stage
from napari_mlbseg.engine.interruption import Check, CutOffError, never
from napari_mlbseg.engine.nets.model import Parameters
from napari_mlbseg.engine.predictions.publisher import Publisher
from napari_mlbseg.engine.session.braking import Braking
from napari_mlbseg.engine.session.budget import Budget
from napari_mlbseg.engine.session.timer import Timer
from napari_mlbseg.engine.training.finite import require_finite
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study

FOCUS_EVERY_S = 1.0
DIRECTION_EVERY_STEPS = 25
YOUNGEST_STEPS = 50


class Showing:
    """Publishes predictions and maps without taking much time from the training.

    Raises `UnstableError` instead of publishing anything made with non-finite numbers.

    Parameters
    ----------
    share
        Largest share of the time that background publishing may take.
    """

    def __init__(
        self,
        study: Study,
        trainer: Trainer,
        braking: Braking,
        budget: Budget,
        *,
        share: float,
        check: Check = never,
    ) -> None:
        self._trainer, self._braking, self._budget = trainer, braking, budget
        self._share, self._began, self._publishing_s = share, budget.now(), 0.0
        self._publisher = Publisher(
            study,
            trainer.source,
            trainer.model,
            views=trainer.prediction_views,
            weigh=trainer.weighting.scores,
            check=check,
        )
        self._timer = Timer(budget.now)
        self._direction: tuple[int, Parameters] | None = None

    def look_at(self, key: SliceKey | None) -> None:
        """Set the slice on view; if it is another one, it is due at once."""
        if key != self._publisher.schedule.focus:
            self._publisher.schedule.look_at(key)
            self._timer.at_once("focus")

    def clean_slices_changed(self) -> None:
        """Bring the brake and the weights up to date; the slice on view is due at once."""
        self._braking.clean_slices_changed()
        self.forget_direction()
        self._timer.at_once("focus")

    def forget_direction(self) -> None:
        """Compute the clean direction again before the next weight maps."""
        self._direction = None

    def gone_back(self) -> None:
        """Publish everything again, because the network has returned to an older state."""
        self.forget_direction()
        self._publisher.schedule.forget()
        self._timer.at_once("focus")

    def before_step(self, stage: Stage) -> Iterator[Event]:
        """Publish the slice on view, about once a second and whenever it or a clean slice changes.

        This comes before the step, not after it: whoever has just accepted a slice waits for it.
        """
        focused = self._publisher.schedule.focused_slice()
        if stage is not Stage.BOOTSTRAPPING or focused is None:
            return
        if self._timer.due("focus", FOCUS_EVERY_S):
            try:
                event = self.publish(
                    focused, step=self._trainer.state.total, identity_view_only=True
                )
            except CutOffError:
                self._timer.at_once("focus")
                raise
            self._timer.ended("focus")
            yield event

    def publish_some(self) -> Event | None:
        """Publish the slices that are most out of date, within their share of the time."""
        step = self._trainer.state.total
        if self._publishing_s < self._share * (self._budget.now() - self._began):
            span = self._publisher.schedule.stalest_span(step, youngest=YOUNGEST_STEPS)
            if span is not None:
                return self.publish(span, step=step, identity_view_only=True)
        return None

    def publish(
        self, span: Span, *, step: int, identity_view_only: bool = False
    ) -> SlicesPublished:
        """Write the predictions of some slices and, if the weighting rule has any, their maps."""
        began, parameters = self._budget.now(), self._braking.guard.parameters
        brake = self._braking.in_force()
        require_finite(parameters, "the network")
        try:
            direction = self._clean_direction()
            prepared = self._budget.now()
            event = self._publisher.publish(
                span,
                parameters=parameters,
                direction=direction,
                step=step,
                brake=brake,
                identity_view_only=identity_view_only,
            )
        finally:
            self._publishing_s += self._budget.now() - began
        whole = event.stop == span.stop
        # A single slice takes longer than its share of a span, and would distort the speed.
        if whole and span in spans_of(self._trainer.source, span.case):
            share = self._publisher.share_of_passes(identity_view_only=identity_view_only)
            seconds = self._budget.now() - prepared
            self._budget.published(span.stop - span.start, seconds, share=share)
        return event

    def put_back(self, span: Span, *, step: int) -> Event | None:
        """Write the imported labels that are kept, without using the network."""
        return self._publisher.put_back(span, brake=self._braking.in_force(), step=step)

    def label(self, span: Span) -> SlicesPublished:
        """Predict slices for the next round to learn from; a case is written as a whole."""
        trainer, parameters = self._trainer, self._braking.guard.parameters
        brake = self._braking.in_force()
        require_finite(parameters, "the network")
        return self._publisher.label(
            span,
            parameters=parameters,
            step=trainer.state.total,
            arrays=trainer.labelling.arrays(span.case),
            brake=brake,
            quick=not trainer.labelling.is_learnt_from,
        )

    def in_order_of_need(self, step: int) -> Iterator[Span]:
        """Spans that were last published before `step`, the most important first."""
        looked_at = self._braking.looked_at
        return self._publisher.schedule.in_order_of_need(step, looked_at)

    def out_of_date(self, step: int) -> list[SliceKey]:
        """The slices that were last published before `step`."""
        return self._publisher.schedule.out_of_date(step)

    def _clean_direction(self) -> Parameters | None:
        """Where the training slices want the network to move.

        None for a rule without maps, or without training slices.
        """
        if self._trainer.weighting.scores is None or not self._trainer.training_slices:
            return None
        step = self._trainer.state.total
        if self._direction is None or step - self._direction[0] >= DIRECTION_EVERY_STEPS:
            self._direction = step, self._trainer.direction()
        return self._direction[1]

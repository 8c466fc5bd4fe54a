"""One run from start to end: which stage comes when."""

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.data.source import Span
from napari_mlbseg.engine.events import (
    BatchShrunk,
    CheckpointSaved,
    CleanSlicesChanged,
    Event,
    Finished,
    Inbox,
    OnlyCleanSlicesLeft,
    OutOfTime,
    RunStarted,
    Stage,
    StageStarted,
    StepDone,
)
from napari_mlbseg.engine.interruption import CutOffError
from napari_mlbseg.engine.nets.device import is_out_of_memory
from napari_mlbseg.engine.nets.network import count_parameters
from napari_mlbseg.engine.session.attention import Attention
from napari_mlbseg.engine.session.budget import Budget
from napari_mlbseg.engine.session.pace import Pace
from napari_mlbseg.engine.session.recovery import Falls, told_of
from napari_mlbseg.engine.session.upkeep import Upkeep, Work
from napari_mlbseg.engine.training.clean_slices import check_enough
from napari_mlbseg.engine.training.finite import UnstableError
from napari_mlbseg.engine.training.memory import Restored
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.study import Study

LAST_LEARNING_RATE_SHARE = 0.02

Step = Callable[..., Mapping[str, Tensor]]


class Run:
    """The stages in order; the last event of a run that ends well is `Finished`."""

    def __init__(self, study: Study, config: Config, inbox: Inbox, budget: Budget) -> None:
        self._budget, self._began = budget, budget.now()
        check_enough(study)
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self._study, self._config = study, config
        budget.slices = sum(case.geometry.shape[case.axis] for case in study.cases)
        self._attention = Attention(inbox)
        self._trainer = Trainer(study, config, check=self._attention.check)
        self._pace = Pace()
        self._gave_way = self._only_clean = False
        self._falls = Falls(self._trainer)

    def events(self) -> Iterator[Event]:
        """Everything that happens, from `RunStarted` to `Finished`."""
        trainer, state = self._trainer, self._trainer.state
        trainer.memory.sweep()
        restored = trainer.restore() if self._config.resume else Restored()
        device = str(trainer.device)
        run_id = self._study.start_run(
            self._config.to_dict(), seed=self._config.seed, device=device
        )
        if not restored:
            state.began_with = run_id
        self._upkeep = Upkeep(
            self._study,
            self._config,
            trainer,
            self._budget,
            run_id=run_id,
            check=self._attention.check,
        )
        outcome = "failed"
        try:
            yield from self._heeding(self._read_clean_slices)
            yield RunStarted(
                run_id,
                device,
                f"{trainer.dimensions} {trainer.design.name}",
                count_parameters(state.network),
                len(trainer.training_slices),
                len(trainer.validation_slices),
                state.total if restored else 0,
            )
            if restored.passed_over:
                yield told_of(restored, trainer)
            yield from self._stages()
            outcome = "stopped" if self._attention.stop else "finished"
        finally:
            self._study.finish_run(run_id, outcome=outcome)
        seconds = self._budget.now() - self._began
        yield Finished(run_id, state.total, self._attention.stop, seconds)

    def _stages(self) -> Iterator[Event]:
        """What is left of the run; where it becomes unstable, from an older state."""
        while True:
            try:
                yield from self._remaining_stages()
                return
            except UnstableError:
                yield self._falls.back()
                self._attention.clean_slices_changed = True  # others may have validated then
                self._upkeep.gone_back()
                if self._attention.stop:
                    return

    def _remaining_stages(self) -> Iterator[Event]:
        state, config, trainer = self._trainer.state, self._config, self._trainer
        if state.stage is Stage.BASE_MODEL:
            yield from self._train(config.base_steps, trainer.base_step, later_steps=config.steps)
            if not self._attention.stop:
                state.enter(Stage.INITIAL_LABELS)
        if state.stage is Stage.INITIAL_LABELS and not self._attention.stop:
            whole = yield from self._write_initial_labels()
            if whole:
                state.enter(Stage.BOOTSTRAPPING)
        if state.stage is Stage.BOOTSTRAPPING and not self._attention.stop:
            yield from self._train(config.steps, trainer.bootstrap_step, later_steps=0)
            if not self._attention.stop:
                state.enter(Stage.BOOTSTRAPPING)  # a later run adds its steps to a finished one
        if trainer.memory.has_news:
            yield self._upkeep.save()
            self._falls.saved()
        if not self._attention.stop and state.stage is Stage.BOOTSTRAPPING:
            yield from self._publish_all()

    def _train(self, steps: int, step: Step, *, later_steps: int) -> Iterator[Event]:
        state = self._trainer.state
        stage = state.stage
        yield StageStarted(stage, steps)
        self._pace.restart()
        self._budget.begin_stage()
        for work in self._upkeep.before_first_step(stage, last=state.step == steps):
            yield from self._heeding(work)
        while state.step < steps:
            yield from self._between_steps()
            done = max(state.step / steps, self._budget.share_of(stage))
            if self._attention.stop or done >= 1:
                break
            if stage is Stage.BOOTSTRAPPING:
                yield from self._tell_what_is_left()
            try:
                yield from self._upkeep.before_step(stage)
                losses = yield from self._try(step, self._trainer.learning_rate * cosine(done))
            except CutOffError:
                continue
            progress = self._pace.step_done(
                losses, stage=stage, step=state.step, steps=steps, later_steps=later_steps
            )
            if progress is not None:
                _require_finite_losses(progress)
                progress = self._within_time(progress)
                yield progress
                self._upkeep.log(progress)
            yield from self._after_step(stage, last=state.step == steps)
        if state.step < steps and not self._attention.stop:  # the time is over, not the steps
            for work in self._upkeep.judge(stage):
                yield from self._heeding(work)

    def _after_step(self, stage: Stage, *, last: bool) -> Iterator[Event]:
        if stage is Stage.BOOTSTRAPPING:  # a base model in the making is worse than rough labels
            yield from self._publish_in_background()
        for work in self._upkeep.after_step(stage, last=last):
            for event in self._heeding(work):
                if isinstance(event, CheckpointSaved):
                    self._falls.saved()
                yield event

    def _publish_in_background(self) -> Iterator[Event]:
        """Some slices; a slice that was just accepted cuts this off, but not twice in a row."""
        event: Event | None = None
        try:
            if self._gave_way:
                self._gave_way = False
                event = self._upkeep.publish_some()
            else:
                with self._attention.giving_way():
                    event = self._upkeep.publish_some()
        except CutOffError:
            self._gave_way = True
        if event is not None:
            yield event

    def _tell_what_is_left(self) -> Iterator[Event]:
        """Say it, once, where nothing rough is left for the bootstrapping to improve."""
        before, self._only_clean = self._only_clean, not self._trainer.learns_from_initial_labels
        if self._only_clean and not before:
            yield OnlyCleanSlicesLeft(
                "Every slice is clean or skipped: no rough labels are left to learn from. The "
                "training goes on with the clean slices alone."
            )

    def _write_initial_labels(self) -> Generator[Event, None, bool]:
        """Label what came without labels; whether that came to its end."""
        cases = [case for case in self._study.cases if case.labels_path is None]
        publisher = self._upkeep.publisher
        spans = deque(span for case in cases for span in publisher.spans_of(case))
        count = len(spans)
        yield StageStarted(Stage.INITIAL_LABELS, count)
        while spans:
            yield from self._between_steps()
            if self._attention.stop:
                return False
            if self._budget.left_s <= 0:
                left = list(dict.fromkeys(span.case for span in spans))
                whole = [span for case in left for span in publisher.spans_of(case)]
                yield OutOfTime(tuple(key for span in whole for key in span.keys))
                return False
            try:
                event = self._upkeep.write_initial_labels(spans[0])
            except CutOffError:
                continue
            yield event
            if event.stop < spans[0].stop:
                continue
            spans.popleft()
            progress = self._pace.step_done(
                {},
                stage=Stage.INITIAL_LABELS,
                step=count - len(spans),
                steps=count,
                later_steps=0,
            )
            if progress is not None:
                yield progress
        return True

    def _publish_all(self) -> Iterator[Event]:
        """Bring every slice of every case to the state of the final network, as time allows."""
        step = self._trainer.state.total + 1
        publisher = self._upkeep.publisher
        spans = sum(len(publisher.spans_of(case)) for case in self._study.cases)
        yield StageStarted(Stage.PUBLISHING, spans)
        self._pace.restart()
        self._upkeep.forget_direction()  # that of the final network, whenever it was last asked for
        yield from self._put_back(step)
        for done, span in enumerate(publisher.in_order_of_need(step), start=1):
            whole = yield from self._publish_whole(span, step)
            if not whole:
                return
            progress = self._pace.step_done(
                {}, stage=Stage.PUBLISHING, step=done, steps=spans, later_steps=0
            )
            if progress is not None:
                yield self._within_time(progress)

    def _publish_whole(self, span: Span, step: int) -> Generator[Event, None, bool]:
        """Publish a span, however often it is cut off; False after a stop or without time."""
        while True:
            yield from self._between_steps()
            if self._attention.stop:
                return False
            if not self._budget.suffices_for(span.stop - span.start):
                yield OutOfTime(tuple(self._upkeep.publisher.out_of_date(step)))
                return False
            try:
                event = self._upkeep.publish(span, step=step)
            except CutOffError:
                continue
            yield event
            if event.stop == span.stop:
                return True

    def _put_back(self, step: int) -> Iterator[Event]:
        """Imported labels where they stand, before the network is asked: time may be short."""
        publisher = self._upkeep.publisher
        for case in self._study.cases if self._budget.limited else ():
            for span in publisher.spans_of(case):
                if self._budget.left_s <= 0:
                    return
                event = self._upkeep.put_back(span, step=step)
                if event is not None:
                    yield event

    def _within_time(self, progress: StepDone) -> StepDone:
        """No more time left than the run may take."""
        return replace(progress, remaining_s=self._budget.remaining_s(progress.remaining_s))

    def _heeding(self, work: Work) -> Iterator[Event]:
        """What a piece of work tells; what a pause cuts off begins anew, after a stop nothing."""
        while not self._attention.stop:
            try:
                event = work()
            except CutOffError:
                yield from self._between_steps()
                continue
            if event is not None:
                yield event
            return

    def _between_steps(self) -> Iterator[Event]:
        """Heed the inbox; a pause is spent here."""
        attention = self._attention
        while True:
            for event in attention.attend():
                yield event
                self._pace.restart()
            self._upkeep.look_at(attention.focus)
            if attention.stop or not attention.clean_slices_changed:
                return
            attention.clean_slices_changed = False
            try:
                yield from self._take_clean_slices()
            except CutOffError:
                attention.clean_slices_changed = True

    def _take_clean_slices(self) -> Iterator[Event]:
        """Go on with the clean slices of now, or with those of before where too few are left."""
        try:
            check_enough(self._study)
        except UserError:
            return
        self._read_clean_slices()
        trainer = self._trainer
        yield CleanSlicesChanged(len(trainer.training_slices), len(trainer.validation_slices))

    def _read_clean_slices(self) -> None:
        self._trainer.read_clean_slices()
        self._upkeep.clean_slices_changed()

    def _try(
        self, step: Step, learning_rate: float
    ) -> Generator[Event, None, Mapping[str, Tensor]]:
        """A step; where the memory does not suffice, smaller batches until it does.

        A step that is cut off leaves everything as it was, the random numbers included.
        """
        state, device = self._trainer.state, self._trainer.device
        randomness = state.generator.get_state()
        while True:
            try:
                return step(learning_rate=learning_rate)
            except CutOffError:
                state.generator.set_state(randomness)
                raise
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if state.batch == 1:
                    raise UserError(
                        f"The memory of {device} does not suffice for a single "
                        f"{self._trainer.source.unit}. Choose a smaller slice size, a smaller "
                        "network or another device."
                    ) from error
            self._trainer.shrink()
            yield BatchShrunk(
                state.batch, f"Out of memory: going on with a batch of {state.batch}."
            )


def cosine(done: float) -> float:
    """Share of the learning rate that is left after `done` (0 to 1) of a stage."""
    wave = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return LAST_LEARNING_RATE_SHARE + (1 - LAST_LEARNING_RATE_SHARE) * wave


def _require_finite_losses(progress: StepDone) -> None:
    broken = [name for name, value in progress.losses.items() if not math.isfinite(value)]
    if broken:
        raise UnstableError(f"the loss of {', '.join(broken)}")

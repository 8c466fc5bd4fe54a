"""One run from start to end: the order of its stages."""

from collections.abc import Generator, Iterator

import torch

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import (
    EarlierModelChosen,
    Event,
    Finished,
    Inbox,
    RunStarted,
    Stage,
)
from napari_mlbseg.engine.nets.network import count_parameters
from napari_mlbseg.engine.session.budget import Budget
from napari_mlbseg.engine.session.learning import Learning
from napari_mlbseg.engine.session.parts import assemble
from napari_mlbseg.engine.session.publishing import Publishing
from napari_mlbseg.engine.session.recovery import resumed_from_older
from napari_mlbseg.engine.training.clean_slices import check_enough
from napari_mlbseg.engine.training.finite import UnstableError
from napari_mlbseg.engine.training.memory import Restored
from napari_mlbseg.project.study import Study


class Run:
    """Runs the stages in order; the last event of a run that ends well is `Finished`."""

    def __init__(self, study: Study, config: Config, inbox: Inbox, budget: Budget) -> None:
        self._began, self._config = budget.now(), config
        check_enough(study, has_model=config.begin_with is not None)
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        slices = sum(case.geometry.shape[case.axis] for case in study.cases)
        budget.share_among(slices, base_alone=config.steps == 0)
        self._parts = assemble(study, config, inbox, budget)
        self._learning, self._publishing = Learning(self._parts), Publishing(self._parts)

    def events(self) -> Iterator[Event]:
        """Yield every event of the run, from `RunStarted` to `Finished`."""
        parts, trainer, state = self._parts, self._parts.trainer, self._parts.trainer.state
        trainer.memory.sweep()
        restored = trainer.restore() if self._config.resume else Restored()
        run_id = parts.journal.open(self._config, str(trainer.device))
        if not restored:
            state.begin(run_id)
            earlier = trainer.earlier
            if earlier is not None and earlier.knows(trainer.class_names):
                state.skip_base_model(trainer.course)
        outcome = "failed"
        try:
            yield from parts.between.heeding(parts.between.read_clean_slices)
            yield self._started(run_id, restored)
            yield from self._earlier_model()
            yield parts.braking.coverage()
            if restored.passed_over:
                yield resumed_from_older(restored, trainer)
            yield from self._stages()
            outcome = "stopped" if parts.attention.stop else "finished"
        finally:
            parts.journal.close(outcome)
        seconds = parts.budget.now() - self._began
        yield Finished(run_id, state.total, parts.attention.stop, seconds)

    def _started(self, run_id: int, restored: Restored) -> RunStarted:
        trainer = self._parts.trainer
        return RunStarted(
            run_id,
            str(trainer.device),
            f"{trainer.dimensions} {trainer.design.name}",
            count_parameters(trainer.state.network),
            len(trainer.training_slices),
            len(trainer.validation_slices),
            trainer.state.total if restored else 0,
        )

    def _earlier_model(self) -> Iterator[Event]:
        """Tell what becomes of the earlier model that the settings name."""
        trainer, wanted = self._parts.trainer, self._config.begin_with
        if trainer.earlier is not None:
            told = trainer.earlier.told(trainer.design, trainer.class_names)
            yield EarlierModelChosen(told, used=True)
        elif wanted is not None:
            yield EarlierModelChosen(
                f"The training of this study goes on, and the model of {wanted} is not used. Start "
                "afresh to begin with it.",
                used=False,
            )

    def _stages(self) -> Iterator[Event]:
        """Run the remaining stages; if the training becomes unstable, from an older state."""
        parts = self._parts
        while True:
            try:
                yield from self._remaining_stages()
                return
            except UnstableError:
                yield parts.recovery.back()
                parts.attention.clean_slices_are_due()  # validation slices may have differed then
                parts.showing.gone_back()
                if parts.attention.stop:
                    return

    def _remaining_stages(self) -> Iterator[Event]:
        parts, attention = self._parts, self._parts.attention
        whole = yield from self._rounds()
        if parts.trainer.memory.has_news or not parts.trainer.training_slices:
            yield parts.upkeep.save()
            parts.recovery.saved()
        if whole and not attention.stop:
            yield from self._publishing.everything()

    def _rounds(self) -> Generator[Event, None, bool]:
        """Learn and label in turn; returns whether neither a stop nor the time cut it short.

        A run that ends well leaves the next one at a labelling, followed by bootstrapping.
        """
        parts, trainer = self._parts, self._parts.trainer
        state, course, rounds = trainer.state, trainer.course, trainer.course.rounds
        state.keep_to(course)
        if state.stage is Stage.BOOTSTRAPPING and not trainer.labelling.is_done:
            state.enter(Stage.LABELLING)
        while True:
            if state.stage is Stage.LABELLING:
                whole = yield from self._publishing.labelling()
                if not whole:
                    return False
                if not trainer.training_slices:  # nothing to learn from yet
                    return True
                state.enter(rounds[state.round].stage)
            yield from self._learning.round()
            if parts.attention.stop:
                return False
            following = self._round_after(state.round)
            if following is None:
                state.end_round(next_one=course.base_rounds)
                return True
            state.end_round(next_one=following)

    def _round_after(self, number: int) -> int | None:
        """The next round for which there is time; None if there is none.

        The base model is always followed by a labelling.
        """
        course, budget = self._parts.trainer.course, self._parts.budget
        following = number + 1
        if following < course.base_rounds and budget.share_of(Stage.BASE_MODEL) >= 1:
            following = course.base_rounds
        wanted = following < len(course.rounds)
        in_time = number < course.base_rounds or budget.has_time_for_another_round()
        return following if wanted and in_time else None

"""One run from start to end: the order of its stages."""

from collections.abc import Iterator

import torch

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import Event, Finished, Inbox, RunStarted, Stage
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
        check_enough(study)
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
        outcome = "failed"
        try:
            yield from parts.between.heeding(parts.between.read_clean_slices)
            yield self._started(run_id, restored)
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
        parts, config = self._parts, self._config
        trainer, state, attention = parts.trainer, parts.trainer.state, parts.attention
        if state.stage is Stage.BASE_MODEL:
            steps, later = config.base_steps, config.steps
            yield from self._learning.stage(steps, trainer.base_step, later_steps=later)
            if not attention.stop:
                state.enter(Stage.INITIAL_LABELS)
        if state.stage is Stage.INITIAL_LABELS and not attention.stop:
            whole = yield from self._publishing.initial_labels()
            if whole:
                state.enter(Stage.BOOTSTRAPPING)
        if state.stage is Stage.BOOTSTRAPPING and not attention.stop:
            yield from self._learning.stage(config.steps, trainer.bootstrap_step, later_steps=0)
            if not attention.stop:
                state.enter(Stage.BOOTSTRAPPING)  # a later run adds its steps to a finished one
        if trainer.memory.has_news:
            yield parts.upkeep.save()
            parts.recovery.saved()
        if not attention.stop and state.stage is Stage.BOOTSTRAPPING:
            yield from self._publishing.everything()

"""Resuming from an older state: why, from which one, and how the annotator is told."""

from napari_mlbseg.engine.events import FellBack
from napari_mlbseg.engine.training.memory import Restored
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.errors import UserError

CAUTION = 0.3
"""Factor on the learning rate each time the training becomes unstable."""
MOST = 5
"""Attempts before the run fails; by then the learning rate is a four-hundredth."""


def resumed_from_older(restored: Restored, trainer: Trainer) -> FellBack:
    """The event that says which checkpoint a run resumes from instead of the newest, and why."""
    step = trainer.state.total
    going_on = "The training starts afresh"
    if restored.path is not None:
        going_on = f"The training resumes from {restored.path.name}, step {step}"
    return FellBack(
        f"{going_on}: {'; '.join(restored.passed_over)}. No annotation is lost.",
        str(restored.path or ""),
        step,
        trainer.learning_rate,
    )


class Recovery:
    """Brings an unstable training back to a good state, with a smaller learning rate each time.

    It returns to the newest checkpoint. If the training becomes unstable again before another
    checkpoint was saved, it returns to the one before, and so on.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._count, self._since_saved = 0, 0

    def saved(self) -> None:
        """Note that a checkpoint was saved: the next fall returns to the newest one."""
        self._since_saved = 0

    def back(self) -> FellBack:
        """Return to an older state and lower the learning rate.

        Raises
        ------
        UserError
            If that did not help `MOST` times.
        """
        trainer, rate = self._trainer, self._trainer.learning_rate
        if self._count == MOST:
            raise UserError(
                "The training became unstable again and again, most recently with a learning rate "
                f"of {rate:.2g}. Look for images with odd intensities, or start afresh with a "
                "smaller learning rate. The last good checkpoint and every slice are safe."
            )
        path = trainer.memory.go_back(self._since_saved)
        trainer.state.limit_rate(CAUTION * rate)
        self._count, self._since_saved = self._count + 1, self._since_saved + 1
        step = trainer.state.total
        where = "afresh" if path is None else f"from {path.name}, step {step},"
        return FellBack(
            f"The training became unstable. It resumes {where} with the smaller learning rate "
            f"{trainer.learning_rate:.2g}.",
            str(path or ""),
            step,
            trainer.learning_rate,
        )

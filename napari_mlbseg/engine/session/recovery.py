"""Going on from an older state: why, from which, and how it is told."""

from napari_mlbseg.engine.events import FellBack
from napari_mlbseg.engine.training.memory import Restored
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.errors import UserError

CAUTION = 0.3
"""By how much the learning rate is lowered where the training became unstable."""
MOST = 5
"""After that many times the learning rate is a four-hundredth."""


def told_of(restored: Restored, trainer: Trainer) -> FellBack:
    """Which checkpoint a run begins with in place of the newest one, and why."""
    step = trainer.state.total
    going_on = "Training begins afresh"
    if restored.path is not None:
        going_on = f"Training goes on from {restored.path.name}, step {step}"
    return FellBack(
        f"{going_on}: {'; '.join(restored.passed_over)}. No annotation is lost.",
        str(restored.path or ""),
        step,
        trainer.learning_rate,
    )


class Falls:
    """Brings a training that became unstable back to a good state, more careful each time.

    It is the newest checkpoint's; where it becomes unstable again before another one was saved,
    that of the checkpoint before, and so on.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._count, self._since_saved = 0, 0

    def saved(self) -> None:
        """The newest checkpoint is one from after the last fall."""
        self._since_saved = 0

    def back(self) -> FellBack:
        """Go back, and lower the learning rate.

        Raises
        ------
        UserError
            If that has been of no avail `MOST` times.
        """
        trainer, rate = self._trainer, self._trainer.learning_rate
        if self._count == MOST:
            raise UserError(
                "The training became unstable again and again, at last with a learning rate of "
                f"{rate:.2g}. Look for images with odd intensities, or start afresh with a "
                "smaller learning rate. The last good checkpoint and every slice are safe."
            )
        path = trainer.memory.go_back(self._since_saved)
        trainer.state.limit_rate(CAUTION * rate)
        self._count, self._since_saved = self._count + 1, self._since_saved + 1
        step = trainer.state.total
        where = "afresh" if path is None else f"from {path.name}, step {step},"
        return FellBack(
            f"The training became unstable. It goes on {where} with the smaller learning rate "
            f"{trainer.learning_rate:.2g}.",
            str(path or ""),
            step,
            trainer.learning_rate,
        )

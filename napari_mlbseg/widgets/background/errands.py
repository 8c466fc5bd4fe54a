"""Long work on files, one job at a time, with progress and a way to cancel it."""

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_mlbseg.errors import UserError
from napari_mlbseg.widgets.background.task import BackgroundTask, CancelledError, Report


class Errands(QObject):
    """Runs functions of `jobs` in the background.

    Signals
    -------
    busy(str, int, int)
        A long operation: its name, how many items are done, and of how many (0: unknown). An
        empty text ends it.
    can_cancel(bool)
        Whether `cancel` would end the current operation.
    failed(str), told(str)
        Messages of failure and of success for the annotator.
    """

    busy = Signal(str, int, int)
    can_cancel = Signal(bool)
    failed = Signal(str)
    told = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._task: BackgroundTask | None = None
        self._cancellable = self._cancelled = self._keeping = False

    def run(
        self,
        work: Callable[[Report], Any],
        done: Callable[[Any], None],
        *,
        otherwise: Callable[[], None] | None = None,
        cancelled: str = "",
        keeping: bool = True,
        doing: str = "Working",
    ) -> None:
        """Start a job, and say what it does; `done` gets the result on the main thread.

        `otherwise` is called instead if it fails or is cancelled. It can be cancelled if there is
        something to say then, `cancelled`. See `keeping`.
        """
        if self._task is not None:
            raise UserError(
                "Another import, export or clean-up is running. Wait until it has finished."
            )

        def ended(result: object, error: BaseException | None) -> None:
            self._task = None
            task.deleteLater()
            self.busy.emit("", 0, 0)
            self.can_cancel.emit(False)
            if error is not None and otherwise is not None:
                otherwise()
            if error is None:
                done(result)
            elif isinstance(error, CancelledError):
                self.told.emit(cancelled)
            else:
                prefix = "" if isinstance(error, UserError) else "Unexpected error: "
                self.failed.emit(f"{prefix}{error}")

        self._task = task = BackgroundTask(work, "mlbseg-files", self)
        task.reported.connect(lambda progress: self.busy.emit(*progress))
        task.ended.connect(ended)
        self._cancellable, self._cancelled, self._keeping = bool(cancelled), False, keeping
        self.busy.emit(doing, 0, 0)
        self.can_cancel.emit(bool(cancelled))
        task.start()

    @property
    def running(self) -> bool:
        """Whether a job is running."""
        return self._task is not None

    @property
    def keeping(self) -> bool:
        """Whether the job needs the open study until it ends; making a new study does not."""
        return self._task is not None and (self._cancelled or self._keeping)

    def cancel(self) -> None:
        """Cancel the running job, if it can be cancelled."""
        if self._task is not None and self._cancellable:
            self._cancelled = True
            self._task.cancel()
            self.can_cancel.emit(False)
            self.busy.emit("Cancelling", 0, 0)

    def finish(self, timeout_s: float) -> None:
        """Cancel the job if possible, and wait for its end."""
        self.cancel()
        if self._task is not None:
            self._task.wait(timeout_s)

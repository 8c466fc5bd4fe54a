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
        self._cancellable = self._cancelled = False

    def run(
        self,
        work: Callable[[Report], Any],
        done: Callable[[Any], None],
        *,
        otherwise: Callable[[], None] | None = None,
        cancellable: bool = False,
        doing: str = "Working",
    ) -> None:
        """Start a job, and say what it does; `done` gets the result on the main thread.

        `otherwise` is called instead if it fails or is cancelled.
        """
        if self._task is not None:
            raise UserError("Another import or export is running. Wait until it has finished.")

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
                self.told.emit("Cancelled. Nothing was imported, and nothing changed.")
            else:
                prefix = "" if isinstance(error, UserError) else "Unexpected error: "
                self.failed.emit(f"{prefix}{error}")

        self._task = task = BackgroundTask(work, "mlbseg-files", self)
        task.reported.connect(lambda progress: self.busy.emit(*progress))
        task.ended.connect(ended)
        self._cancellable, self._cancelled = cancellable, False
        self.busy.emit(doing, 0, 0)
        self.can_cancel.emit(cancellable)
        task.start()

    @property
    def running(self) -> bool:
        """Whether a job is running."""
        return self._task is not None

    @property
    def keeping(self) -> bool:
        """Whether the job needs the open study until it ends; making a new study does not."""
        return self._task is not None and (self._cancelled or not self._cancellable)

    def cancel(self) -> None:
        """Cancel a running import as if it had never begun."""
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

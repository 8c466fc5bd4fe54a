"""Work in a thread of its own, with reports on the main thread.

The thread puts its reports into a queue and never touches Qt; a timer on the main thread empties
the queue. So no report can reach a deleted widget, a RuntimeError (every torch error is one) cannot
be mistaken for a deleted worker, and a thread with many reports cannot starve the window.
"""

import logging
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from qtpy.QtCore import QObject, QTimer, Signal

from napari_mlbseg.errors import UserError

_POLL_MS = 30
_BUDGET_S = 0.015

_log = logging.getLogger(__name__)

Report = Callable[[object], None]


class CancelledError(Exception):
    """The work was cancelled."""


class BackgroundTask(QObject):
    """Runs ``work(report)`` in a thread; every signal is emitted on the main thread.

    Signals
    -------
    reported(object)
        Everything that `work` passed to `report`, in order.
    ended(object, object)
        Result and None, or None and the exception. Always the last signal, exactly once. After
        `cancel` the exception is `CancelledError`, unless the work was already done.
    """

    reported = Signal(object)
    ended = Signal(object, object)

    def __init__(
        self, work: Callable[[Report], object], name: str, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._work = work
        self._queue: SimpleQueue[object] = SimpleQueue()
        self._cancelled = threading.Event()
        self._result: object = None
        self._error: BaseException | None = None
        # A daemon: a run that ignores a request to stop must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._timer = timer(self, _POLL_MS, self._deliver)

    def start(self) -> None:
        """Start the work; returns immediately."""
        self._thread.start()
        self._timer.start()

    def cancel(self) -> None:
        """Make the next report raise `CancelledError` in the thread; returns immediately."""
        self._cancelled.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the thread to end, and deliver its reports. False if it is still running."""
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        self._deliver(budget_s=float("inf"))
        return True

    def _run(self) -> None:
        # The boundary of the thread: report every error, let none escape.
        try:
            self._result = self._work(self._report)
        except (CancelledError, UserError) as error:
            self._error = error
        except BaseException as error:
            _log.exception("%s failed", self._thread.name)
            self._error = error

    def _report(self, what: object) -> None:
        if self._cancelled.is_set():
            raise CancelledError
        self._queue.put(what)

    def _deliver(self, *, budget_s: float = _BUDGET_S) -> None:
        ended = not self._thread.is_alive()
        deadline = time.perf_counter() + budget_s
        try:
            while time.perf_counter() < deadline:
                self.reported.emit(self._queue.get_nowait())
        except Empty:
            if ended and self._timer.isActive():
                self._timer.stop()
                self.ended.emit(self._result, self._error)


def timer(
    parent: QObject, interval_ms: int, slot: Callable[[], object], *, single_shot: bool = False
) -> QTimer:
    """Return a timer that is not running yet."""
    made = QTimer(parent)
    made.setInterval(interval_ms)
    made.setSingleShot(single_shot)
    made.timeout.connect(slot)
    return made

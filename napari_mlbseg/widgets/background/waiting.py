"""Waits for something to end while the window stays responsive."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from qtpy.QtCore import QObject, Signal

from napari_mlbseg.widgets.background.task import timer

_POLL_MS: Final = 30


@dataclass(frozen=True)
class _Awaited:
    ended: Callable[[], bool]
    go: Callable[[], object]
    stay: Callable[[], object]


class Waiting(QObject):
    """Waits for one thing at a time.

    Signals
    -------
    begun(str, str)
        A wait has begun: for what, and what not to wait for it means.
    over()
        The wait is over.
    """

    begun = Signal(str, str)
    over = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._awaited: _Awaited | None = None
        self._timer = timer(self, _POLL_MS, self._look)

    def until(
        self,
        ended: Callable[[], bool],
        what: str,
        go: Callable[[], object],
        stay: Callable[[], object],
        at_once: str,
    ) -> None:
        """Call `go` as soon as `ended()` is true, or `stay` if the wait is given up.

        `what` and `at_once` say what is waited for, and what follows if it is not.
        """
        self.give_up()
        if ended():
            go()
            return
        self._awaited = _Awaited(ended, go, stay)
        self._timer.start()
        self.begun.emit(what, at_once)

    def go_on(self) -> None:
        """Stop waiting, and call `go`."""
        awaited = self._stop()
        if awaited is not None:
            awaited.go()

    def give_up(self) -> None:
        """Stop waiting, and call `stay`."""
        awaited = self._stop()
        if awaited is not None:
            awaited.stay()

    def _look(self) -> None:
        if self._awaited is not None and self._awaited.ended():
            self.go_on()

    def _stop(self) -> _Awaited | None:
        self._timer.stop()
        awaited, self._awaited = self._awaited, None
        if awaited is not None:
            self.over.emit()
        return awaited

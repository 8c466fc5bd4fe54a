"""Waiting for an end while the window stays at hand."""

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
    """One thing that is waited for.

    Signals
    -------
    begun(str)
        It is waited, for what.
    over()
        It is not waited any more.
    """

    begun = Signal(str)
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
    ) -> None:
        """Call `go` once `ended` says so, at once where it does; `stay` if nobody waits so long."""
        self.give_up()
        if ended():
            go()
            return
        self._awaited = _Awaited(ended, go, stay)
        self._timer.start()
        self.begun.emit(what)

    def go_on(self) -> None:
        """Do not wait any longer for the end, go on without it."""
        awaited = self._stop()
        if awaited is not None:
            awaited.go()

    def give_up(self) -> None:
        """Do not go on at all."""
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

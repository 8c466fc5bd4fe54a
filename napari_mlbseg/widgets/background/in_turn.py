"""Work in a thread, one piece after the other; whoever asks waits for it only a moment.

Writing to a study can take long: another program may hold it, or the disk may be busy. As a rule it
is done at once, and then asking for it looks like doing it. Otherwise the window goes on, and hears
of it when it is done.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any, Final, Generic, TypeVar

from qtpy.QtCore import QObject, Signal

from napari_mlbseg.widgets.background.task import timer

_PATIENCE_S: Final = 0.25
_POLL_MS: Final = 30
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 10.0

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Done(Generic[T]):
    """What a piece of work returned."""

    result: T


@dataclass
class _Piece:
    work: Callable[[], Any]
    landed: Callable[[Any], object]
    kept: bool
    """Whoever asked has gone on, so that it is tried until it is done."""
    done: Event = field(default_factory=Event)
    result: Any = None
    error: BaseException | None = None


class InTurn(QObject):
    """Does pieces of work in the order in which they were asked for.

    A piece that fails at once raises its error where it was asked for, and is gone. Once `put` has
    returned, a piece is never dropped: if it fails, it is tried again, and those behind it wait.

    Signals
    -------
    changed()
        `waiting` or `problem` has changed.
    """

    changed = Signal()

    def __init__(self, name: str, parent: QObject | None = None) -> None:
        """Begin with nothing to do; `name` is that of the thread, which lives as long as work."""
        super().__init__(parent)
        self._name = name
        self._lock = Lock()
        self._todo: deque[_Piece] = deque()
        self._at_work = False
        self._problem = ""
        self._given_up = Event()
        # Of the main thread: pieces that nobody waited for, in order.
        self._kept: deque[_Piece] = deque()
        self._told = (0, "")
        self._timer = timer(self, _POLL_MS, self._deliver)

    @property
    def waiting(self) -> int:
        """Number of pieces that are not done although whoever asked has gone on."""
        return len(self._kept)

    @property
    def problem(self) -> str:
        """Why the first of them could not be done when it was last tried; empty if unknown."""
        return self._problem

    def put(self, work: Callable[[], T], landed: Callable[[T], object]) -> Done[T] | None:
        """Do work in the thread, and wait for it a moment, unless others are waiting already.

        Returns
        -------
        Done or None
            What it returned; None if it is not done yet. Then `landed` gets the result on the main
            thread, as soon as it is.
        """
        piece = _Piece(work, landed, kept=bool(self._kept))
        with self._lock:
            self._todo.append(piece)
            begin, self._at_work = not self._at_work, True
        if begin:
            Thread(target=self._run, name=self._name, daemon=True).start()
        if not piece.kept:
            if not self._given_up.is_set():  # or nothing is ever said to be done
                piece.done.wait(_PATIENCE_S)
            with self._lock:
                piece.kept = not piece.done.is_set()
        if piece.kept:
            self._kept.append(piece)
            self._timer.start()  # tells it, too: whoever asked has not taken note of it yet
            return None
        if piece.error is not None:
            raise piece.error
        return Done(piece.result)

    def do(self, work: Callable[[], T], then: Callable[[T], object]) -> None:
        """Do work in the thread, and pass its result to `then`: now, or as soon as it is done."""
        done = self.put(work, then)
        if done is not None:
            then(done.result)

    def settle(self, timeout_s: float) -> bool:
        """Wait until everything is done, and deliver it. False if something is not."""
        deadline = time.monotonic() + timeout_s
        for piece in tuple(self._kept):
            piece.done.wait(max(0.0, deadline - time.monotonic()))
        self._deliver()
        return not self._kept

    def give_up(self) -> None:
        """Try nothing again: the window ends. What waits is not done; `waiting` still counts it."""
        self._given_up.set()
        self._timer.stop()
        with self._lock:
            self._todo.clear()

    # --- inside ----------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = _FIRST_PAUSE_S
        while (piece := self._next()) is not None:
            # The boundary of the thread: keep every error, let none escape.
            try:
                piece.result, error = piece.work(), None
            except BaseException as raised:
                error = raised
            if self._ended(piece, error):
                pause = _FIRST_PAUSE_S
            else:
                _log.warning("%s: tried again in %g s", self._name, pause, exc_info=error)
                self._given_up.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _next(self) -> _Piece | None:
        with self._lock:
            self._at_work = bool(self._todo)
            return self._todo[0] if self._todo else None

    def _ended(self, piece: _Piece, error: BaseException | None) -> bool:
        """Take note of how a try ended; False if it has to be tried again."""
        with self._lock:
            given_up = self._given_up.is_set()
            if error is not None and piece.kept and not given_up:
                self._problem = str(error)
                return False
            self._problem, piece.error = "", error
            if not given_up:
                self._todo.popleft()
                piece.done.set()
            return True

    def _deliver(self) -> None:
        while self._kept and self._kept[0].done.is_set() and not self._given_up.is_set():
            piece = self._kept.popleft()
            piece.landed(piece.result)
        if not self._kept:
            self._timer.stop()
        self._tell()

    def _tell(self) -> None:
        now = self.waiting, self.problem
        if now != self._told:
            self._told = now
            self.changed.emit()

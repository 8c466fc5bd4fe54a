"""Shows the questions of the workbench to the annotator, and passes the answers back."""

from collections.abc import Callable

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QWidget

from napari_mlbseg.widgets.keeping.holding import Unsaved
from napari_mlbseg.widgets.lifetime.questions import (
    Question,
    UnsavedQuestion,
    WaitQuestion,
    ask_closing,
    ask_rescue,
)
from napari_mlbseg.widgets.lifetime.rescues import FoundRescue, Rescues
from napari_mlbseg.widgets.workbench import Workbench


class Asking(QObject):
    """Asks one question at a time, in front of the window.

    Attributes
    ----------
    closing
        Whether somebody wants to close the window; questions then name what ends with it.
    """

    def __init__(
        self,
        bench: Workbench,
        rescues: Rescues,
        window: Callable[[], QWidget],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.closing = False
        self._bench, self._rescues, self._window = bench, rescues, window
        self._unsaved: UnsavedQuestion | None = None
        self._wait: Question | None = None
        bench.holding.asked.connect(self._ask_unsaved)
        bench.holding.answered.connect(self._close_unsaved)
        bench.leaving.waiting.begun.connect(self._show_wait)
        bench.leaving.waiting.over.connect(self._close_wait)
        rescues.offered.connect(self._ask_rescue)

    def begin_closing(self) -> None:
        """Take note that somebody wants to close the window."""
        self.closing = True

    def end_closing(self) -> None:
        """Take note that the window stays open, or closes now."""
        self.closing = False

    def ask_closing(self, yes: Callable[[], object], no: Callable[[], object]) -> None:
        """Ask whether to close the window although the training is running."""
        ask_closing(yes, no, self._window())

    def _ask_unsaved(self, unsaved: Unsaved) -> None:
        if self._unsaved is not None:
            self._unsaved.show_unsaved(unsaved)
            return
        training = self.closing and self._bench.bridge.running
        also = "The training stops when the window closes." if training else ""
        self._unsaved = question = UnsavedQuestion(unsaved, also, self._window())
        holding = self._bench.holding
        question.try_again.connect(holding.try_again)
        question.save_elsewhere.connect(holding.save_elsewhere)
        question.leave_copy.connect(holding.leave_copy)
        question.discard.connect(holding.discard)
        question.stay.connect(holding.stay)
        question.open()

    def _close_unsaved(self) -> None:
        question, self._unsaved = self._unsaved, None
        if question is not None:
            question.finish()

    def _show_wait(self, what: str, at_once: str) -> None:
        waiting = self._bench.leaving.waiting
        go_on = waiting.go_on if self.closing else None
        self._wait = WaitQuestion(what, waiting.give_up, go_on, at_once, self._window())
        self._wait.open()

    def _close_wait(self) -> None:
        question, self._wait = self._wait, None
        if question is not None:
            question.finish()

    def _ask_rescue(self, found: FoundRescue) -> None:
        rescues = self._rescues
        ask_rescue(
            found,
            lambda: rescues.take_back(found),
            lambda: rescues.discard(found),
            rescues.put_off,
            self._window(),
        )

"""Before a case or a study is left: save it, and end all work on it."""

from collections.abc import Callable

from qtpy.QtCore import QObject

from napari_mlbseg.engine.events import Stop
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background.bridge import EngineBridge
from napari_mlbseg.widgets.background.errands import Errands
from napari_mlbseg.widgets.background.in_turn import InTurn
from napari_mlbseg.widgets.background.waiting import Waiting
from napari_mlbseg.widgets.case.saving import waits_in_words
from napari_mlbseg.widgets.keeping.holding import Holding

Step = Callable[[], object]

_STOPPED = "Corrected slices are saved; what the network learnt since the last checkpoint is lost."
_WAITING = (
    "What waits is kept in a copy, which is offered the next time: labels as drafts, skipped "
    "slices and marked ends as they are."
)


class Leaving(QObject):
    """Makes sure that everything is saved, and all work on it has ended, before it is left.

    Attributes
    ----------
    saves
        What the window writes to the study, in turn.
    holding
        Keeps edits that could not be saved, and asks before they are left.
    waiting
        Waits until a training, an export or an import has ended.
    """

    def __init__(
        self, bridge: EngineBridge, errands: Errands, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.saves = InTurn("mlbseg-saves", self)
        self.holding = Holding(self.saves, self)
        self.waiting = Waiting(self)
        self._bridge, self._errands = bridge, errands
        self._let_go: list[Study] = []

    def case(self, go: Step, stay: Step) -> None:
        """Save the case on view, then `go`; `stay` if the annotator chooses to stay."""
        self.holding.leave(lambda: self.saved(go, stay), stay)

    def saved(self, go: Step, stay: Step) -> None:
        """Wait until the study has everything that was saved, then `go`."""
        saves = self.saves
        if not saves.waiting:
            go()
            return
        what = waits_in_words(saves.waiting, saves.problem)
        self.waiting.until(lambda: not saves.waiting, what, go, stay, _WAITING)

    def study(self, go: Step, stay: Step) -> None:
        """Save the case on view, stop the training, wait for an export, then `go`."""
        self.case(lambda: self._stop(go, stay), stay)

    def everything(self, go: Step, stay: Step) -> None:
        """Do the same as `study`, and cancel a running import."""

        def cancelled() -> None:
            self._errands.cancel()
            self._stop(go, stay)

        self.case(cancelled, stay)

    @property
    def at_work(self) -> bool:
        """Whether leaving everything now would need a wait or a question."""
        unsaved = self.holding.unsaved is not None or self.saves.waiting > 0
        return self._bridge.running or self._errands.running or unsaved

    def now(self, wait_s: float) -> None:
        """End all work and wait at most this long for it, without asking.

        What still waits to be saved then stays in the rescue file.
        """
        self.waiting.give_up()
        self._bridge.send(Stop())
        self._errands.finish(wait_s)
        self._bridge.stop(wait_s)
        if not self.saves.settle(wait_s):
            self.holding.keep_last_copy()
        self.saves.give_up()

    def close(self, study: Study) -> None:
        """Close a study; if a training still uses it, close it when the training ends."""
        if self._bridge.running:
            self._let_go.append(study)
            self._bridge.abandon(study.close)
        else:
            study.close()

    def close_let_go(self) -> None:
        """Close studies that a training still uses: the process ends, and the training with it."""
        while self._let_go:
            self._let_go.pop().close()

    def _stop(self, go: Step, stay: Step) -> None:
        bridge, errands = self._bridge, self._errands
        what = "Stopping the training" if bridge.running else "Finishing work on files"
        bridge.send(Stop())
        self.waiting.until(
            lambda: not (bridge.running or errands.keeping), what, go, stay, _STOPPED
        )

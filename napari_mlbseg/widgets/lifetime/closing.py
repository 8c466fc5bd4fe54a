"""The closing of the window: asks once, while everything is still in place."""

from qtpy.QtCore import QEvent, QObject, Signal
from qtpy.QtWidgets import QMainWindow

from napari_mlbseg.widgets.case.annotation import Annotation
from napari_mlbseg.widgets.lifetime.asking import Asking
from napari_mlbseg.widgets.workbench import Workbench


class Closing(QObject):
    """Intercepts a window's close event.

    If no training is running and everything is saved, the window closes as usual. Otherwise it
    stays open, asks, and closes once the chosen action is done.

    Signals
    -------
    closed()
        The window closes now; the study has been released.
    """

    closed = Signal()

    def __init__(self, bench: Workbench, asking: Asking, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._bench, self._asking = bench, asking
        self.window: QMainWindow | None = None
        self._sure = False
        self._delivering = False

    def guard(self, window: QMainWindow) -> None:
        """Watch this window from now on."""
        if window is not self.window:
            self.window = window
            window.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Ask before the window gets its close event, or pass the event on."""
        if event is None or watched is not self.window or event.type() != QEvent.Type.Close:
            return False
        if self._delivering:
            return False
        if self._may_close():
            self._deliver(event)
        else:
            event.ignore()
            self._ask()
        return True

    def _may_close(self) -> bool:
        bench = self._bench
        bench.view.show(Annotation.flush)
        # A viewer closed by a program removes its layers first, and cannot be kept open.
        gone = bench.annotation is not None and not bench.annotation.layers.any_left
        return self._sure or gone or not bench.leaving.at_work

    def _deliver(self, event: QEvent) -> None:
        window, sure = self.window, self._sure
        assert window is not None
        self._sure, self._delivering = False, True
        try:
            window.event(event)
        finally:
            self._delivering = False
        if event.isAccepted():
            if sure:
                self._bench.shut_down(wait_s=0.0)
            else:
                self._bench.shut_down()
            self.window = None
            self.closed.emit()

    def _ask(self) -> None:
        if self._asking.closing:
            return
        self._asking.begin_closing()
        bench = self._bench
        if bench.bridge.running and bench.holding.unsaved is None:
            self._asking.ask_closing(self._leave, self._stay)
        else:
            self._leave()

    def _leave(self) -> None:
        self._bench.leaving.everything(self._close, self._stay)

    def _stay(self) -> None:
        self._asking.end_closing()

    def _close(self) -> None:
        self._asking.end_closing()
        self._sure = True
        if self.window is not None:
            # Not napari's own `close`: it forgets whether the application ends with the window.
            QMainWindow.close(self.window)

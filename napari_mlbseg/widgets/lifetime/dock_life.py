"""The life of the dock, from its first place in a window to the end of the window.

napari hides a dock (eye icon, Plugins menu) or takes it out of the window (x icon). Either way the
dock keeps its study, and the same dock comes back when it is opened again. The study is released
when it is closed, or with the window.
"""

from napari.utils.notifications import show_info
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QApplication, QMainWindow, QWidget

from napari_mlbseg.widgets.background.task import timer
from napari_mlbseg.widgets.lifetime.asking import Asking
from napari_mlbseg.widgets.lifetime.closing import Closing
from napari_mlbseg.widgets.lifetime.rescues import Rescues
from napari_mlbseg.widgets.workbench import Workbench

NAME = "MLB-Seg (MLB-Seg)"
"""napari's name for the dock, by which the Plugins menu knows whether the dock is open."""


class Lifetime(QObject):
    """Follows where the dock is.

    Attributes
    ----------
    rescues
        Unsaved edits from last time, offered when the dock is made and with their study.
    closing
        The closing of the window.
    """

    def __init__(self, dock: QWidget, bench: Workbench) -> None:
        super().__init__(dock)
        self._dock, self._bench = dock, bench
        self.rescues = Rescues(bench, self)
        asking = Asking(bench, self.rescues, self._main_window, self)
        self.closing = Closing(bench, asking, self)
        self._placed = timer(self, 0, self.find_window, single_shot=True)
        self._offer = timer(self, 0, self.rescues.offer_all, single_shot=True)
        self._offer.start()
        dock.installEventFilter(self)
        self._connect_last_ends()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Notice when the dock is added to a window or taken out of it."""
        if event is not None and event.type() == QEvent.Type.ParentChange:
            self._placed.start()
        return False

    def find_window(self) -> None:
        """Guard the window of the dock; if the dock has none any more, say what continues."""
        window = self._main_window()
        if isinstance(window, QMainWindow):
            self.closing.guard(window)
        if self._dock.parentWidget() is None and self._bench.study is not None:
            goes_on = " and the training continues" if self._bench.bridge.running else ""
            show_info(f"The study stays open{goes_on}. Plugins > {NAME} brings the panel back.")

    def _main_window(self) -> QWidget:
        """Return the window of the dock, or its window before the dock was closed."""
        widget: QWidget | None = self._dock
        while widget is not None and not isinstance(widget, QMainWindow):
            widget = widget.parentWidget()
        return widget or self.closing.window or self._dock

    def _connect_last_ends(self) -> None:
        """Shut down with the dock or the application if the window gets no close event."""
        # Methods, not functions: Qt would keep whatever a function refers to, even the viewer, out
        # of reach of Python's garbage collection.
        self._dock.destroyed.connect(self._bench.lose_window)
        app = QApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self._bench.end)

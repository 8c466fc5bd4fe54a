"""The reading layout: napari's side panels are folded away, and the image has their room."""

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QDockWidget, QMainWindow

PANELS = ("layer list", "layer controls")
"""Names of napari's own side panels."""


class SidePanels(QObject):
    """Folds the side panels of a window away, and brings those back that were there.

    napari keeps at the end how its window looks, so that panels come back before it closes.

    Parameters
    ----------
    window
        Finds the window.
    changed
        Called with whether they are folded away now.
    """

    def __init__(
        self,
        window: Callable[[], QMainWindow | None],
        changed: Callable[[bool], object],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._find_window, self._changed = window, changed
        self._window: QMainWindow | None = None
        self._folded: tuple[str, ...] = ()

    def toggle(self) -> None:
        """Fold the panels away, or bring them back."""
        if self._window is not None:
            self.bring_back()
        else:
            self._fold()

    def bring_back(self) -> None:
        """Show the panels that were folded away."""
        window, names = self._window, self._folded
        if window is None:
            return
        self._forget()
        window.removeEventFilter(self)
        window.destroyed.disconnect(self._forget)
        for panel in _side_panels(window):
            if panel.objectName() in names:
                panel.show()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Bring the panels back when the window is about to close."""
        if event is not None and event.type() == QEvent.Type.Close:
            self.bring_back()
        return False

    def _fold(self) -> None:
        window = self._find_window()
        panels = [] if window is None else [p for p in _side_panels(window) if not p.isHidden()]
        if window is not None and panels:
            self._window, self._folded = window, tuple(p.objectName() for p in panels)
            window.installEventFilter(self)
            window.destroyed.connect(self._forget)
            for panel in panels:
                panel.hide()
        self._changed(bool(panels))

    def _forget(self) -> None:
        self._window, self._folded = None, ()
        self._changed(False)


def _side_panels(window: QMainWindow) -> list[QDockWidget]:
    return [each for each in window.findChildren(QDockWidget) if each.objectName() in PANELS]

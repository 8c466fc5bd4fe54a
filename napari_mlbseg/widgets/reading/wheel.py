"""The wheel goes through the slices and Ctrl+wheel zooms; in napari it is the other way round."""

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QWidget

from napari_mlbseg.widgets.preferences import wheel_scrolls
from napari_mlbseg.widgets.reading.canvas_filter import CanvasFilter

_NOTCH = 120
"""What Qt reports for one notch of a wheel; touchpads report parts of it."""


class Wheel(CanvasFilter):
    """Scrolls slices and zooms, while a slice is on view and somebody prefers it so.

    Parameters
    ----------
    scroll
        Goes on by a number of slices; returns False if no slice is on view.
    """

    def __init__(self, scroll: Callable[[int], bool], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._scroll = scroll
        self._turned = 0.0
        self._zooming = False

    def takes(self, canvas: QWidget, event: QEvent) -> bool:
        """Take the wheel with and without Ctrl; with other keys it stays napari's."""
        if self._zooming or not isinstance(event, QWheelEvent) or not event.angleDelta().y():
            return False
        keys = event.modifiers()
        if keys == Qt.KeyboardModifier.NoModifier:
            taken = wheel_scrolls() and self._turn(event)
        else:
            ctrl = keys == Qt.KeyboardModifier.ControlModifier
            taken = ctrl and wheel_scrolls() and self._scroll(0)
            if taken:
                self._zoom(canvas, event)
        if taken:
            event.accept()
        return taken

    def _turn(self, event: QWheelEvent) -> bool:
        """Go on by a slice for each notch, at most one at a time, as napari does."""
        notches = max(-1.0, min(1.0, event.angleDelta().y() / _NOTCH))
        turned = self._turned + (notches if event.inverted() else -notches)
        whole = int(turned)
        self._turned = turned - whole
        return self._scroll(whole)

    def _zoom(self, canvas: QWidget, event: QWheelEvent) -> None:
        """Let napari zoom, as it does by the wheel alone."""
        plain = QWheelEvent(
            event.position(),
            event.globalPosition(),
            event.pixelDelta(),
            event.angleDelta(),
            event.buttons(),
            Qt.KeyboardModifier.NoModifier,
            event.phase(),
            event.inverted(),
        )
        self._zooming = True
        try:
            QApplication.sendEvent(canvas, plain)
        finally:
            self._zooming = False

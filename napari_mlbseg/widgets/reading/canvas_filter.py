"""Mouse events of the canvas, seen before napari sees them."""

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QWidget


class CanvasFilter(QObject):
    """Sees what happens on a canvas from `attach` to `release`.

    napari has no way for a plugin to keep a mouse button or the wheel from the tool in use.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._canvas: QWidget | None = None

    def attach(self, canvas: QWidget) -> None:
        """See the events of this canvas from now on."""
        self._canvas = canvas
        canvas.installEventFilter(self)
        canvas.destroyed.connect(self._forget)

    def release(self) -> None:
        """Leave the canvas to napari again."""
        if self._canvas is not None:
            self._canvas.removeEventFilter(self)
            self._canvas.destroyed.disconnect(self._forget)
            self._forget()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Pass on what is not taken."""
        canvas = self._canvas
        return event is not None and canvas is not None and self.takes(canvas, event)

    def takes(self, canvas: QWidget, event: QEvent) -> bool:
        """Act on an event of the canvas, and return whether napari must not see it."""
        raise NotImplementedError

    def _forget(self) -> None:
        self._canvas = None

"""Grey levels by dragging: to the side for the width, up and down for the level."""

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QWidget

from napari_mlbseg.widgets.case.carried import Limits
from napari_mlbseg.widgets.reading.canvas_filter import CanvasFilter

_DOUBLES_PX = 200.0
"""How far to the right a drag doubles the width."""
_WIDTH_PX = 400.0
"""How far down a drag raises the level by the width."""
_BUTTONS = (Qt.MouseButton.RightButton, Qt.MouseButton.MiddleButton)


def dragged(limits: Limits, right_px: float, down_px: float) -> Limits:
    """Return the grey levels after a drag: to the right softer, upwards brighter.

    >>> dragged((-160.0, 240.0), 200.0, 0.0)
    (-360.0, 440.0)
    >>> dragged((-160.0, 240.0), 0.0, 100.0)
    (-60.0, 340.0)
    """
    width = limits[1] - limits[0]
    level = (limits[0] + limits[1]) / 2 + width * down_px / _WIDTH_PX
    half = width * 2 ** (right_px / _DOUBLES_PX) / 2
    return level - half, level + half


class GreyLevelDrag(CanvasFilter):
    """Changes grey levels while the right or the middle button is held down without other keys.

    napari's tools see nothing of it, so that nothing is painted.

    Parameters
    ----------
    levels
        The grey levels on view, or None where this button is not for them.
    show, reset
        Show other grey levels; show those of the case itself.
    """

    def __init__(
        self,
        levels: Callable[[Qt.MouseButton], Limits | None],
        show: Callable[[Limits], None],
        reset: Callable[[], None],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._levels, self._show, self._reset = levels, show, reset
        self._held: Qt.MouseButton | None = None
        self._from: tuple[QPointF, Limits] | None = None

    def release(self) -> None:
        """Leave the canvas to napari again, in the middle of a drag too."""
        self._held = self._from = None
        super().release()

    def takes(self, canvas: QWidget, event: QEvent) -> bool:
        """Take everything from the press of one of the buttons to its release."""
        if not isinstance(event, QMouseEvent):
            return False
        if self._held is not None:
            return self._goes_on(event, self._held)
        pressed = (QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonDblClick)
        if event.type() not in pressed or not _meant(event) or self._levels(event.button()) is None:
            return False
        if event.type() == QEvent.Type.MouseButtonDblClick:
            self._reset()
        levels = self._levels(event.button())
        self._held = event.button()
        self._from = None if levels is None else (QPointF(event.pos()), levels)
        return True

    def _goes_on(self, event: QMouseEvent, held: Qt.MouseButton) -> bool:
        moves = event.type() == QEvent.Type.MouseMove
        if moves and not event.buttons() & held:  # released where nobody noticed
            self._held = self._from = None
            return False
        if moves and self._from is not None:
            place, levels = self._from
            moved = QPointF(event.pos()) - place
            self._show(dragged(levels, moved.x(), moved.y()))
        if event.type() == QEvent.Type.MouseButtonRelease and event.button() == held:
            self._held = self._from = None
        return True


def _meant(event: QMouseEvent) -> bool:
    """Whether one of the buttons is pressed, with no other button and no key."""
    alone = event.buttons() == event.button()
    plain = event.modifiers() == Qt.KeyboardModifier.NoModifier
    return event.button() in _BUTTONS and alone and plain

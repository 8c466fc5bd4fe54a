"""A short tour: one sentence after the other, each beside the control that it is about."""

from collections.abc import Sequence

from qtpy.QtCore import QPoint, QRect, Qt
from qtpy.QtGui import QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from napari_mlbseg.widgets.panels.style import SUGGESTED, arrow, button, legible, plain

_FRAME_PX = 3

Station = tuple[QWidget, str]
"""A control, and what to say of it."""


class Tour(QWidget):
    """Goes from stop to stop; takes no room before it begins and after it has ended."""

    def __init__(self, dock: QWidget, stops: Sequence[Station]) -> None:
        super().__init__()
        self._stops, self._at = tuple(stops), 0
        self._frame = _Frame(dock)
        self.text = plain()
        self.text.setWordWrap(True)
        self.next = button("Next", "Go on with the tour", self._go_on)
        self.next.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.close_button = arrow("×", "End the tour", self.end)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.text, 1)
        row.addWidget(self.next)
        row.addWidget(self.close_button)
        self.hide()

    def begin(self) -> None:
        """Begin with the first stop."""
        self._at = 0
        self.show()
        self._show_stop()

    def end(self) -> None:
        """Go away."""
        self.hide()
        self._frame.hide()

    def _go_on(self) -> None:
        self._at += 1
        if self._at == len(self._stops):
            self.end()
        else:
            self._show_stop()

    def _show_stop(self) -> None:
        control, text = self._stops[self._at]
        self.text.setText(f"{self._at + 1} of {len(self._stops)}. {text}")
        self.next.setText("Done" if self._at + 1 == len(self._stops) else "Next")
        self._frame.surround(control)


class _Frame(QWidget):
    """A frame around a control of a dock; the mouse goes through it."""

    def __init__(self, dock: QWidget) -> None:
        super().__init__(dock)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    def surround(self, control: QWidget) -> None:
        """Lie around a control."""
        dock = self.parentWidget()
        assert dock is not None
        place = QRect(control.mapTo(dock, QPoint(0, 0)), control.size())
        self.setGeometry(place.adjusted(-_FRAME_PX, -_FRAME_PX, _FRAME_PX, _FRAME_PX))
        self.show()
        self.raise_()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the frame."""
        painter = QPainter(self)
        painter.setPen(QPen(legible(SUGGESTED, self.palette()), _FRAME_PX))
        painter.drawRect(self.rect().adjusted(1, 1, -2, -2))
        painter.end()

"""All slices of a case side by side, coloured by state; click a slice to go there."""

from collections.abc import Iterable, Sequence

from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import (
    QBrush,
    QColor,
    QHelpEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
)
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_mlbseg.project.records.slices import NEVER_LOOKED_AT, SliceState
from napari_mlbseg.widgets.panels.style import STATE_COLORS, STATE_TEXTS, SUGGESTED

_GAP_FROM_PX = 5.0
_MARKER = QColor(255, 255, 255)
_UNSEEN = _RIM = QColor(0, 0, 0)
_OUTSIDE = QBrush(QColor(225, 230, 240, 170), Qt.BrushStyle.BDiagPattern)
_EMPTY = QColor(20, 24, 32, 150)
_END = QColor(225, 230, 240)
_END_PX = 2.0
_TRIANGLE_PX = 9.0
_UNSEEN_PX = 3.0
_RETURNED, _BLIND, _ASKED_PX = QColor(150, 20, 30), QColor(30, 60, 200), 6.0


class SliceStrip(QWidget):
    """A bar with one cell per slice.

    Signals
    -------
    chosen(int)
        Somebody clicked or dragged to this slice.
    """

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._states: tuple[SliceState, ...] = ()
        self._suggested: frozenset[int] = frozenset()
        self._unseen: frozenset[int] = frozenset()
        self._outside: frozenset[int] = frozenset()
        self._empty: frozenset[int] = frozenset()
        self._returned: frozenset[int] = frozenset()
        self._blind: frozenset[int] = frozenset()
        self._class = ""
        self._current = 0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setToolTip(
            "All slices of this case. Green: clean; amber: draft; light grey: skipped; dark:"
            " untouched. Below, dark red: sent back; blue: to be corrected blindly. Blue triangle:"
            " suggested. Dark line on top:"
            f" {NEVER_LOOKED_AT} (no clean slice nearby). Hatched: outside of the class to paint"
            " with; darker: outside of every class, so certified empty. Click to go to a slice."
        )

    def sizeHint(self) -> QSize:
        """As wide as the dock allows, and as high as a line of text."""
        return QSize(240, 26)

    def set_states(self, states: Sequence[SliceState]) -> None:
        """Show these slices."""
        self._states = tuple(states)
        self.update()

    def set_current(self, index: int) -> None:
        """Mark the slice on view."""
        self._current = index
        self.update()

    def set_suggested(self, indices: Iterable[int]) -> None:
        """Mark the slices that are worth correcting next."""
        self._suggested = frozenset(indices)
        self.update()

    def set_never_looked_at(self, indices: Iterable[int]) -> None:
        """Mark the slices with no clean slice nearby."""
        self._unseen = frozenset(indices)
        self.update()

    def set_outside(self, name: str, outside: Iterable[int], empty: Iterable[int]) -> None:
        """Mark the slices outside of the class of this name, and those outside of every class."""
        self._class, self._outside, self._empty = name, frozenset(outside), frozenset(empty)
        self.update()

    def set_asked(self, returned: Iterable[int], blind: Iterable[int]) -> None:
        """Mark the slices that a reviewer sent back, and those that are to be corrected blindly."""
        self._returned, self._blind = frozenset(returned), frozenset(blind)
        self.update()

    def said_of(self, index: int) -> str:
        """Describe a slice in a few words."""
        words = [STATE_TEXTS[self._states[index]]]
        words += [NEVER_LOOKED_AT] if self._is_unseen(index) else []
        words += [f"outside of '{self._class}'"] if index in self._outside else []
        words += ["certified empty"] if index in self._empty else []
        words += ["sent back"] if index in self._returned else []
        words += ["to be corrected blindly"] if index in self._blind else []
        words += ["suggested"] if index in self._suggested else []
        return f"Slice {index}: {', '.join(words)}"

    @property
    def suggested(self) -> frozenset[int]:
        """The slices that are marked as suggested."""
        return self._suggested

    def index_at(self, x: float) -> int | None:
        """Return the slice at a horizontal position in pixels; None without slices."""
        if not self._states or self.width() <= 0:
            return None
        return int(min(max(x / self.width(), 0.0), 0.999999) * len(self._states))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw one cell per slice and a frame around the current one."""
        painter = QPainter(self)
        count = len(self._states)
        if count == 0:
            painter.fillRect(self.rect(), STATE_COLORS[SliceState.UNTOUCHED].darker(140))
            return
        width = self.width() / count
        gap = 1.0 if width >= _GAP_FROM_PX else 0.0
        for index, state in enumerate(self._states):
            cell = QRectF(index * width, 3, width - gap, self.height() - 6)
            painter.fillRect(cell, STATE_COLORS[state])
            if self._is_unseen(index):
                painter.fillRect(QRectF(cell.left(), 3, cell.width(), _UNSEEN_PX), _UNSEEN)
            for asked, ink in ((self._blind, _BLIND), (self._returned, _RETURNED)):
                if index in asked:
                    low = QRectF(
                        cell.left(), self.height() - 3 - _ASKED_PX, cell.width(), _ASKED_PX
                    )
                    painter.fillRect(low, ink)
        self._mark_outside(painter, width)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        wide = max(width, 5.0)
        left = min(max((self._current + 0.5) * width - wide / 2, 2.0), self.width() - wide - 2)
        for ink, line in ((_RIM, 4), (_MARKER, 2)):  # to be seen on every state, in every theme
            painter.setPen(QPen(ink, line))
            painter.drawRoundedRect(QRectF(left, 2, wide, self.height() - 4), 1.5, 1.5)
        self._mark_suggested(painter, width)

    def _is_unseen(self, index: int) -> bool:
        """Whether to mark a slice as never looked at: not if it is a draft, clean or skipped."""
        return index in self._unseen and self._states[index] is SliceState.UNTOUCHED

    def _mark_outside(self, painter: QPainter, width: float) -> None:
        """Darken what is certified empty, hatch what is outside, and draw a line where it ends."""
        high, count = self.height() - 6, len(self._states)
        for first, last in _runs(self._empty):
            painter.fillRect(QRectF(first * width, 3, (last - first + 1) * width, high), _EMPTY)
        for first, last in _runs(self._outside):
            painter.fillRect(QRectF(first * width, 3, (last - first + 1) * width, high), _OUTSIDE)
            for edge, inside in ((first, first > 0), (last + 1, last < count - 1)):
                if inside:
                    left = edge * width - _END_PX / 2
                    painter.fillRect(QRectF(left, 3, _END_PX, high), _END)

    def _mark_suggested(self, painter: QPainter, width: float) -> None:
        painter.setPen(QPen(QColor(20, 24, 32), 1))
        painter.setBrush(SUGGESTED)
        half, high = _TRIANGLE_PX / 2, self.height() - 1.0
        for index in sorted(self._suggested):
            if index < len(self._states):
                middle = (index + 0.5) * width
                corners = ((-half, high), (half, high), (0.0, high - _TRIANGLE_PX))
                painter.drawPolygon(QPolygonF([QPointF(middle + x, y) for x, y in corners]))

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Go to the slice under the pointer."""
        self._choose(event)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Follow a drag."""
        self._choose(event)

    def event(self, event: QEvent | None) -> bool:
        """Name the slice under the pointer in the tooltip."""
        if isinstance(event, QHelpEvent):
            index = self.index_at(event.pos().x())
            if index is not None:
                text = f"{self.said_of(index)}. {self.toolTip()}"
                QToolTip.showText(event.globalPos(), text, self)
                return True
        return super().event(event)

    def _choose(self, event: QMouseEvent | None) -> None:
        if event is not None and event.buttons() & Qt.MouseButton.LeftButton:
            index = self.index_at(event.pos().x())
            if index is not None and index != self._current:
                self.chosen.emit(index)


def _runs(indices: frozenset[int]) -> list[tuple[int, int]]:
    """The first and the last of each run of consecutive indices.

    >>> _runs(frozenset({0, 1, 5, 6, 7}))
    [(0, 1), (5, 7)]
    """
    firsts = sorted(i for i in indices if i - 1 not in indices)
    lasts = sorted(i for i in indices if i + 1 not in indices)
    return list(zip(firsts, lasts, strict=True))

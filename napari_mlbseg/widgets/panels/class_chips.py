"""The classes side by side, each with its colour, a padlock and an eye."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from qtpy.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, QSize, Qt, Signal
from qtpy.QtGui import (
    QColor,
    QHelpEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.widgets.panels.style import faint, plain_tip
from napari_mlbseg.widgets.shortcuts import CLASS_KEYS

_LEAST_PX: Final = 112
_MOST_PX: Final = 180
_HIGH_PX: Final = 24
_MARK_PX: Final = 17
_SWATCH_PX: Final = 9
_ARROW_PX: Final = 14
_NOTCH: Final = 120
"""What a mouse wheel tells of one notch."""
_LOCK_TIP: Final = "No brush, fill, tool or command replaces pixels of a locked class"
_EYE_TIP: Final = "Shown on labels and predictions, or hidden there; what is saved stays the same"


class ClassChips(QWidget):
    """A row of chips, one for each class; it scrolls by the wheel and by the arrows at its ends.

    Signals
    -------
    chosen(int)
        The class of this value is to be painted with.
    lock_asked(int), eye_asked(int)
        Lock or unlock a class; hide or show it.
    """

    chosen = Signal(int)
    lock_asked = Signal(int)
    eye_asked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._classes: tuple[LabelClass, ...] = ()
        self._current = 0
        self._locked: Collection[int] = ()
        self._hidden: Collection[int] = ()
        self._first = 0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setToolTip("The classes: click one to paint with it, its padlock or its eye")

    def sizeHint(self) -> QSize:
        """As wide as the dock allows, and as high as a line of text."""
        return QSize(240, max(_HIGH_PX, self.fontMetrics().height() + 8))

    def set_classes(self, classes: Sequence[LabelClass]) -> None:
        """Show these classes."""
        self._classes = tuple(classes)
        self._bring_current()

    def set_current(self, value: int) -> None:
        """Mark the class to paint with, and scroll to it."""
        if value != self._current:
            self._current = value
            self._bring_current()

    def set_marks(self, locked: Collection[int], hidden: Collection[int]) -> None:
        """Show which classes are locked and which are hidden."""
        self._locked, self._hidden = locked, hidden
        self.update()

    # --- where they are --------------------------------------------------------------------------

    def on_view(self) -> list[tuple[LabelClass, QRect]]:
        """Return the classes that are on view, and where."""
        left, wide = (
            (_ARROW_PX, self.width() - 2 * _ARROW_PX) if self._scrolls else (0, self.width())
        )
        shown = self._classes[self._first : self._first + self._room]
        each = min(wide // max(len(shown), 1), _MOST_PX)
        return [
            (one, QRect(left + place * each, 1, each - 2, self.height() - 2))
            for place, one in enumerate(shown)
        ]

    def lock_of(self, chip: QRect) -> QRect:
        """Return where the padlock of a chip is."""
        return QRect(chip.right() - 2 * _MARK_PX, chip.top(), _MARK_PX, chip.height())

    def eye_of(self, chip: QRect) -> QRect:
        """Return where the eye of a chip is."""
        return QRect(chip.right() - _MARK_PX, chip.top(), _MARK_PX, chip.height())

    @property
    def _scrolls(self) -> bool:
        return len(self._classes) * _LEAST_PX > self.width()

    @property
    def _room(self) -> int:
        """How many chips fit."""
        if not self._scrolls:
            return len(self._classes)
        return max((self.width() - 2 * _ARROW_PX) // _LEAST_PX, 1)

    def _arrows(self) -> Iterator[tuple[int, QRect]]:
        """The arrows: by how many chips they scroll, and where they are."""
        if self._scrolls:
            right = self.width() - _ARROW_PX
            yield -self._room, QRect(0, 0, _ARROW_PX, self.height())
            yield self._room, QRect(right, 0, _ARROW_PX, self.height())

    def _scroll_to(self, first: int) -> None:
        self._first = max(0, min(first, len(self._classes) - self._room))
        self.update()

    def _bring_current(self) -> None:
        places = [k for k, one in enumerate(self._classes) if one.value == self._current]
        first = self._first
        if places:
            first = min(max(first, places[0] - self._room + 1), places[0])
        self._scroll_to(first)

    # --- what a person does ----------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Choose the class under the pointer, or switch its padlock or eye."""
        if event is None or event.button() != Qt.MouseButton.LeftButton:
            return
        for by, where in self._arrows():
            if where.contains(event.pos()):
                self._scroll_to(self._first + by)
        for one, chip in self.on_view():
            if self.lock_of(chip).contains(event.pos()):
                self.lock_asked.emit(one.value)
            elif self.eye_of(chip).contains(event.pos()):
                self.eye_asked.emit(one.value)
            elif chip.contains(event.pos()):
                self.chosen.emit(one.value)

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Scroll by a chip for each notch, where there are more than fit."""
        if event is None or not self._scrolls:
            return super().wheelEvent(event)
        self._scroll_to(self._first - round(event.angleDelta().y() / _NOTCH))
        event.accept()
        return None

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Keep the class to paint with on view."""
        super().resizeEvent(event)
        self._bring_current()

    def event(self, event: QEvent | None) -> bool:
        """Tell the whole name under the pointer, and what a click does there."""
        if isinstance(event, QHelpEvent):
            QToolTip.showText(event.globalPos(), plain_tip(self.said_at(event.pos())), self)
            return True
        return super().event(event)

    def said_at(self, place: QPoint) -> str:
        """Return the tooltip of a place."""
        for one, chip in self.on_view():
            if not chip.contains(place):
                continue
            if self.lock_of(chip).contains(place):
                state = "locked" if one.value in self._locked else "not locked"
                return f"{one.name}: {state}. {_LOCK_TIP}"
            if self.eye_of(chip).contains(place):
                state = "hidden" if one.value in self._hidden else "shown"
                return f"{one.name}: {state}. {_EYE_TIP}"
            number = self._classes.index(one)
            key = f" ({CLASS_KEYS[number].replace('-', '+')})" if number < len(CLASS_KEYS) else ""
            return f"{one.value}  {one.name}: paint with it{key}"
        return self.toolTip()

    # --- looks -----------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the chips on view."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink, pale = self.palette().windowText().color(), faint(self.palette())
        for one, chip in self.on_view():
            self._draw_chip(painter, one, chip)
            on = one.value in self._locked
            _draw_lock(painter, _middle(self.lock_of(chip)), ink if on else pale, closed=on)
            off = one.value in self._hidden
            _draw_eye(painter, _middle(self.eye_of(chip)), ink if off else pale, struck=off)
        painter.setPen(ink)
        for by, where in self._arrows():
            further = self._first > 0 if by < 0 else self._first < len(self._classes) - self._room
            if further:
                painter.drawText(where, Qt.AlignmentFlag.AlignCenter, "◂" if by < 0 else "▸")
        painter.end()

    def _draw_chip(self, painter: QPainter, one: LabelClass, chip: QRect) -> None:
        ink, pale = self.palette().windowText().color(), faint(self.palette())
        current = one.value == self._current
        painter.setPen(QPen(ink if current else pale, 2 if current else 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(QRectF(chip).adjusted(1, 1, -1, -1), 4, 4)
        swatch = QRect(chip.left() + 6, chip.center().y() - _SWATCH_PX // 2, _SWATCH_PX, _SWATCH_PX)
        painter.setPen(QPen(ink, 1))
        painter.setBrush(QColor(*one.color))
        painter.drawRect(swatch)
        room = QRect(chip)
        room.setLeft(swatch.right() + 5)
        room.setRight(self.lock_of(chip).left() - 1)
        font = painter.font()
        font.setBold(current)
        painter.setFont(font)
        cut = painter.fontMetrics().elidedText(
            f"{one.value} {one.name}", Qt.TextElideMode.ElideRight, room.width()
        )
        painter.setPen(ink)
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, cut)
        font.setBold(False)
        painter.setFont(font)


def _middle(where: QRect) -> QPointF:
    return QRectF(where).center()


def _draw_lock(painter: QPainter, middle: QPointF, ink: QColor, *, closed: bool) -> None:
    """A padlock; an open one has its shackle to the side."""
    x, y = middle.x(), middle.y()
    painter.setPen(QPen(ink, 1.4))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    shackle = QRectF(x - 2.5 + (0 if closed else 4), y - 5.5, 5, 8)
    painter.drawArc(shackle, 0, 180 * 16)
    if closed:
        painter.setBrush(ink)
    painter.drawRect(QRectF(x - 4, y - 1, 8, 6))


def _draw_eye(painter: QPainter, middle: QPointF, ink: QColor, *, struck: bool) -> None:
    """An eye; one that sees nothing is struck through."""
    x, y = middle.x(), middle.y()
    painter.setPen(QPen(ink, 1.4))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawEllipse(QRectF(x - 6, y - 3.5, 12, 7))
    if struck:
        painter.drawLine(QPointF(x - 6, y + 5), QPointF(x + 6, y - 5))
    else:
        painter.setBrush(ink)
        painter.drawEllipse(QRectF(x - 1.7, y - 1.7, 3.4, 3.4))

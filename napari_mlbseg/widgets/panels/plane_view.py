"""A small picture of one plane of a case, with a crosshair; a click says where to go."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent
from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_mlbseg.widgets.panels.style import quiet

_SIDE_PX = 180
_CROSSHAIR = QColor(255, 220, 0)
_LETTERS = QColor(255, 255, 255)


@dataclass(frozen=True)
class Picture:
    """What a view shows.

    Attributes
    ----------
    pixels
        Red, green and blue (rows columns 3), from the top as seen.
    sides_mm
        Height and width of a pixel.
    crosshair
        Row and column of the pixel that the other planes go through.
    letters
        What lies at the top, bottom, left and right.
    """

    pixels: NDArray[np.uint8]
    sides_mm: tuple[float, float]
    crosshair: tuple[int, int]
    letters: Sequence[str]


class PlaneView(QWidget):
    """One plane, as large as there is room for.

    Signals
    -------
    asked(int, int)
        The row and the column, from the top as seen, that somebody clicked or dragged to.
    """

    asked = Signal(int, int)

    def __init__(self) -> None:
        super().__init__()
        self.picture: Picture | None = None
        self._image = QImage()
        self.setMinimumSize(_SIDE_PX // 2, _SIDE_PX // 2)
        self.setCursor(Qt.CursorShape.CrossCursor)

    def sizeHint(self) -> QSize:
        """Enough to see something, and no more."""
        return QSize(_SIDE_PX, _SIDE_PX)

    def show_picture(self, picture: Picture | None) -> None:
        """Show a picture; nothing for None."""
        self.picture = picture
        self._image = QImage() if picture is None else _image_of(picture.pixels)
        self.update()

    def place_of(self, row: int, column: int) -> QPointF:
        """Return where the middle of a pixel is, in the coordinates of this widget."""
        room, picture = self._room(), self.picture
        assert picture is not None
        rows, columns = picture.pixels.shape[:2]
        return QPointF(
            room.left() + (column + 0.5) * room.width() / columns,
            room.top() + (row + 0.5) * room.height() / rows,
        )

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the picture, its crosshair and its letters."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), Qt.GlobalColor.black)
        if self.picture is not None:
            self._paint(painter, self.picture)
        painter.end()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Go where the pointer is."""
        self.mouseMoveEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Follow the pointer while the left button is held."""
        if event is None or self.picture is None or not event.buttons() & Qt.MouseButton.LeftButton:
            return
        room, place = self._room(), QPointF(event.pos())
        rows, columns = self.picture.pixels.shape[:2]
        row = int((place.y() - room.top()) / room.height() * rows)
        column = int((place.x() - room.left()) / room.width() * columns)
        self.asked.emit(min(max(row, 0), rows - 1), min(max(column, 0), columns - 1))

    def _room(self) -> QRectF:
        """Where the picture lies, with pixels as tall and wide as they are in the patient."""
        assert self.picture is not None
        rows, columns = self.picture.pixels.shape[:2]
        height, width = rows * self.picture.sides_mm[0], columns * self.picture.sides_mm[1]
        scale = min(self.height() / height, self.width() / width)
        left, top = (self.width() - scale * width) / 2, (self.height() - scale * height) / 2
        return QRectF(left, top, scale * width, scale * height)

    def _paint(self, painter: QPainter, picture: Picture) -> None:
        room = self._room()
        painter.drawImage(room, self._image)
        cross = self.place_of(*picture.crosshair)
        painter.setPen(_CROSSHAIR)
        painter.drawLine(QPointF(room.left(), cross.y()), QPointF(room.right(), cross.y()))
        painter.drawLine(QPointF(cross.x(), room.top()), QPointF(cross.x(), room.bottom()))
        painter.setPen(_LETTERS)
        around = Qt.AlignmentFlag
        middle = (
            around.AlignHCenter,
            around.AlignHCenter,
            around.AlignVCenter,
            around.AlignVCenter,
        )
        ends = (around.AlignTop, around.AlignBottom, around.AlignLeft, around.AlignRight)
        inside = self.rect().adjusted(3, 1, -3, -1)
        for letter, one, other in zip(picture.letters, middle, ends, strict=True):
            painter.drawText(inside, one | other, letter)


def _image_of(pixels: NDArray[np.uint8]) -> QImage:
    """An image with memory of its own: Qt does not copy what it is made from, and may read on."""
    rows, columns = pixels.shape[:2]
    padded = np.full((rows, columns, 4), 255, np.uint8)
    padded[..., :3] = pixels[..., ::-1]  # blue first, as a little-endian word
    data = padded.tobytes()
    return QImage(data, columns, rows, 4 * columns, QImage.Format.Format_RGB32).copy()


class PlanesPanel(QWidget):
    """The two other planes, side by side.

    Attributes
    ----------
    views
        The plane along the first of the two other axes, and the one along the second.
    """

    def __init__(self) -> None:
        super().__init__()
        self.views = (PlaneView(), PlaneView())
        self._titles = (QLabel(), QLabel())
        self.note = quiet()
        columns = QHBoxLayout()
        for view, title in zip(self.views, self._titles, strict=True):
            column = QVBoxLayout()
            column.addWidget(title)
            column.addWidget(view, 1)
            columns.addLayout(column)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 4)
        layout.addLayout(columns, 1)
        layout.addWidget(self.note)

    def name(self, *titles: str) -> None:
        """Show the titles of the two planes."""
        for label, title in zip(self._titles, titles, strict=True):
            label.setText(title)

    def say(self, text: str) -> None:
        """Say why there is nothing to see; an empty text for nothing to say."""
        self.note.setText(text)
        self.note.setVisible(bool(text))

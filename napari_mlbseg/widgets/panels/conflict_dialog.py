"""A slice that several people accepted with different masks: one of them is chosen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QDialog, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_mlbseg.widgets.panels.style import button, quiet

_SIDE = 420


@dataclass(frozen=True)
class Opinion:
    """What one person accepted.

    Attributes
    ----------
    picture
        Of the slice: rows, columns, and red green blue.
    sides_mm
        Height and width of a pixel.
    """

    author: str
    when: str
    revision: int
    picture: NDArray[np.uint8]
    sides_mm: tuple[float, float]


class ConflictDialog(QDialog):
    """Shows the masks of a conflict side by side.

    Signals
    -------
    chosen(int)
        The revision whose mask is to be accepted.
    """

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Accepted differently")
        self.title = quiet("")
        self._opinions = QHBoxLayout()
        layout = QVBoxLayout(self)
        layout.addWidget(self.title)
        layout.addLayout(self._opinions)

    def show_conflict(self, title: str, opinions: Sequence[Opinion]) -> None:
        """Show another conflict in place of the one so far."""
        self.title.setText(title)
        while (item := self._opinions.takeAt(0)) is not None:
            if (shown := item.widget()) is not None:
                shown.hide()
                shown.deleteLater()
        for one in opinions:
            self._opinions.addWidget(self._column(one))

    def _column(self, one: Opinion) -> QWidget:
        column = QWidget()
        layout = QVBoxLayout(column)
        layout.setContentsMargins(0, 0, 0, 0)
        picture = QLabel()
        picture.setPixmap(_pixmap(one))
        when = quiet(f"{one.author}, {one.when}")
        when.setTextFormat(Qt.TextFormat.PlainText)
        layout.addWidget(picture)
        layout.addWidget(when)
        accept = button(
            f"Accept {one.author}'s",
            "Accept this mask; the others stay in the history of the slice",
            lambda: self.chosen.emit(one.revision),
        )
        layout.addWidget(accept)
        return column


def _pixmap(one: Opinion) -> QPixmap:
    rows, columns, _ = one.picture.shape
    data = np.ascontiguousarray(one.picture).tobytes()
    image = QImage(data, columns, rows, 3 * columns, QImage.Format.Format_RGB888)
    height, width = rows * one.sides_mm[0], columns * one.sides_mm[1]
    zoom = _SIDE / max(height, width)
    return QPixmap.fromImage(image).scaled(round(zoom * width), round(zoom * height))

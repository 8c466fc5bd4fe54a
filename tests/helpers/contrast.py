"""The contrast of what is really drawn on a widget."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pyqtgraph import functions
from qtpy.QtCore import QPoint, QRect
from qtpy.QtGui import QImage
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QComboBox,
    QLabel,
    QLineEdit,
    QTabBar,
    QTableView,
    QWidget,
)

_TEXTS = (QAbstractButton, QAbstractSpinBox, QComboBox, QLabel, QLineEdit, QTabBar, QTableView)
_LEAST_PX = 8


def drawn_contrasts(inside: QWidget) -> Iterator[tuple[str, float]]:
    """Name each enabled text on view in a widget, with the contrast of its ink and its ground."""
    pixels = pixels_of(inside)
    for each in inside.findChildren(QWidget):
        seen = each.isVisible() and not each.visibleRegion().isEmpty() and each.isEnabled()
        if seen and isinstance(each, _TEXTS) and _says_something(each):
            corner = (
                each.mapTo(inside, QPoint(0, 0)) + each.visibleRegion().boundingRect().topLeft()
            )
            where = QRect(corner, each.visibleRegion().boundingRect().size())
            if where.width() > 8 and where.height() > 8:
                yield (
                    f"{type(each).__name__} {_text(each)!r} {each.toolTip()!r}",
                    ink(pixels, where),
                )


def pixels_of(widget: QWidget) -> NDArray[np.float64]:
    """Return what a widget shows: rows x columns x red, green, blue, from 0 to 1."""
    picture = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    found = np.array(functions.ndarray_from_qimage(picture), dtype=np.float64)
    return found[..., 2::-1] / 255


def ink(pixels: NDArray[np.float64], where: QRect) -> float:
    """Return the highest contrast to the most frequent colour in a part of a picture."""
    part = pixels[where.top() : where.bottom() + 1, where.left() : where.right() + 1]
    colors, counts = np.unique(part.reshape(-1, 3), axis=0, return_counts=True)
    light = luminance(colors)
    ground = light[counts.argmax()]
    return float(np.max((np.maximum(light, ground) + 0.05) / (np.minimum(light, ground) + 0.05)))


def luminance(colors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the relative luminance of sRGB colours (n x 3), as WCAG 2 defines it."""
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ np.array([0.2126, 0.7152, 0.0722]))


def _says_something(widget: QWidget) -> bool:
    return bool(_text(widget).strip())


def _text(widget: QWidget) -> str:
    if isinstance(widget, QComboBox):
        return widget.currentText()
    if isinstance(widget, QLineEdit):
        return widget.text() or widget.accessibleName()
    if isinstance(widget, QTabBar | QTableView):
        return type(widget).__name__
    if isinstance(widget, QLabel | QAbstractButton | QAbstractSpinBox):
        return widget.text()
    return ""

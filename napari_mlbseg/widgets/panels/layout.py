"""The layout of the dock: scrolling areas and the list of keys."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QScrollArea, QWidget

from napari_mlbseg.widgets import shortcuts


def key_sheet() -> QScrollArea:
    """Return a list of all keys that scrolls: else the longest tab would make all as high."""
    keys = QLabel(shortcuts.sheet())
    keys.setAlignment(Qt.AlignmentFlag.AlignTop)
    keys.setWordWrap(True)
    keys.setToolTip("Keys work while the pointer is over the image")
    return scrolled(keys)


def scrolled_upright(inside: QWidget) -> QScrollArea:
    """Return an area that scrolls vertically only, at least as wide as its panels need."""
    area = scrolled(inside)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    bar = area.verticalScrollBar()
    area.setMinimumWidth(inside.minimumSizeHint().width() + (bar.sizeHint().width() if bar else 0))
    return area


def scrolled(inside: QWidget) -> QScrollArea:
    """Return an area that scrolls where there is no room."""
    area = QScrollArea()
    area.setWidget(inside)
    area.setWidgetResizable(True)
    area.setFrameShape(QScrollArea.Shape.NoFrame)
    return area

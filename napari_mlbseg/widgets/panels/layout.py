"""How the dock is laid out: what scrolls, and the sheet of keys."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QScrollArea, QWidget

from napari_mlbseg.widgets import shortcuts


def key_sheet() -> QScrollArea:
    """All keys; scrolls by itself, because the longest tab would else make all of them as high."""
    keys = QLabel(shortcuts.sheet())
    keys.setAlignment(Qt.AlignmentFlag.AlignTop)
    keys.setWordWrap(True)
    keys.setToolTip("Keys work while the pointer is over the image")
    return _scrolled(keys)


def scrolled_upright(inside: QWidget) -> QScrollArea:
    """Panels that scroll up and down only, and are never narrower than they can be."""
    area = _scrolled(inside)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    bar = area.verticalScrollBar()
    area.setMinimumWidth(inside.minimumSizeHint().width() + (bar.sizeHint().width() if bar else 0))
    return area


def _scrolled(inside: QWidget) -> QScrollArea:
    area = QScrollArea()
    area.setWidget(inside)
    area.setWidgetResizable(True)
    area.setFrameShape(QScrollArea.Shape.NoFrame)
    return area

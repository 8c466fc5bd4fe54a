"""The layout of the dock: scrolling areas and the list of keys."""

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import QLabel, QScrollArea, QWidget

from napari_mlbseg.widgets import shortcuts


def key_sheet() -> QScrollArea:
    """Return a list of all keys that scrolls: else the longest tab would make all as high."""
    keys = QLabel(shortcuts.sheet())
    keys.setAlignment(Qt.AlignmentFlag.AlignTop)
    keys.setWordWrap(True)
    keys.setToolTip("Keys work while the pointer is over the image")
    return scrolled(keys)


class UprightArea(QScrollArea):
    """An area that scrolls vertically only, at least as wide as its panels need."""

    def __init__(self, inside: QWidget) -> None:
        super().__init__()
        self.setWidget(inside)
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def minimumSizeHint(self) -> QSize:
        """The width of the panels in the style that they have now, which napari sets late."""
        inside, bar = self.widget(), self.verticalScrollBar()
        width = inside.minimumSizeHint().width() if inside is not None else 0
        beside = bar.sizeHint().width() if bar is not None else 0
        return QSize(width + beside, super().minimumSizeHint().height())

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Pass on that the panels need another width, which a scrolling area keeps to itself."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))


def scrolled(inside: QWidget) -> QScrollArea:
    """Return an area that scrolls where there is no room."""
    area = QScrollArea()
    area.setWidget(inside)
    area.setWidgetResizable(True)
    area.setFrameShape(QScrollArea.Shape.NoFrame)
    return area

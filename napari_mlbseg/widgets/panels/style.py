"""Colours and small widgets that the panels share."""

from collections.abc import Callable
from html import escape

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QComboBox, QLabel, QPushButton, QSizePolicy, QWidget

from napari_mlbseg.project.records.slices import SliceState

# The colours differ in lightness too, for people who cannot tell green from amber.
STATE_COLORS = {
    SliceState.UNTOUCHED: QColor(72, 78, 90),
    SliceState.DRAFT: QColor(240, 178, 50),
    SliceState.CLEAN: QColor(38, 162, 105),
    SliceState.SKIPPED: QColor(140, 146, 158),
}
_QUIET = "#9aa0ac"
STATE_TEXTS = {
    SliceState.UNTOUCHED: "untouched",
    SliceState.DRAFT: "draft",
    SliceState.CLEAN: "clean",
    SliceState.SKIPPED: "skipped",
}


def plain(text: str = "") -> QLabel:
    """Return a label that shows a text as it is, even if it is a name that looks like markup."""
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setText(text)
    return label


def plain_tip(text: str) -> str:
    """Return a tooltip that shows a text as it is: tooltips take markup wherever they see some."""
    return f"<qt>{escape(text)}</qt>" if "<" in text else text


def heading(text: str) -> QLabel:
    """Return the title of a section."""
    label = plain(text)
    label.setStyleSheet("font-weight: bold; padding-top: 2px;")
    return label


def quiet(text: str = "") -> QLabel:
    """Return secondary text that wraps."""
    label = plain(text)
    label.setWordWrap(True)
    label.setStyleSheet(f"color: {_QUIET};")
    return label


class Note(QLabel):
    """Secondary text that wraps, and takes up no space while it is empty."""

    def __init__(self, tooltip: str, text: str = "") -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setStyleSheet(f"color: {_QUIET};")
        self.setToolTip(tooltip)
        self.setText(text)
        if not text:
            self.hide()

    def say(self, text: str) -> None:
        """Show a text; an empty one hides the label."""
        self.setText(text)
        self.setVisible(bool(text))


class Messages(Note):
    """A list of messages, the latest at the bottom, until an empty text clears it."""

    def say(self, text: str) -> None:
        """Add a message, unless it is already there; an empty text clears the list."""
        lines = self.text().splitlines() if text else []
        super().say("\n".join([*lines, *([] if not text or text in lines else [text])]))


def button(text: str, tooltip: str, clicked: Callable[[], object]) -> QPushButton:
    """Return a push button that leaves the keyboard focus with the canvas."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    made.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    made.clicked.connect(lambda: clicked())
    return made


def narrow(box: QComboBox) -> QComboBox:
    """Cut long entries off if there is no room, instead of widening the dock."""
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    return box


def enable(widgets: list[QWidget], on: bool) -> None:
    """Enable or disable several widgets."""
    for widget in widgets:
        widget.setEnabled(on)


def duration(seconds: float) -> str:
    """Format a time span for people: 8 s, 3 min 20 s, 1 h 05 min."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"

"""Colours and small widgets that the panels share."""

from collections.abc import Callable
from html import escape

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPalette, QResizeEvent
from qtpy.QtWidgets import (
    QComboBox,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QStyle,
    QStyleOptionFrame,
    QToolButton,
    QWidget,
)

from napari_mlbseg.project.records.slices import SliceState

# The colours differ in lightness too, for people who cannot tell green from amber.
STATE_COLORS = {
    SliceState.UNTOUCHED: QColor(84, 91, 104),
    SliceState.DRAFT: QColor(240, 178, 50),
    SliceState.CLEAN: QColor(38, 162, 105),
    SliceState.SKIPPED: QColor(140, 146, 158),
}
SUGGESTED = QColor(120, 200, 255)
"""Marks a slice that is suggested."""
_QUIET, _FAINT = 5.0, 3.5
"""Least contrasts of secondary text and of lines; the guideline WCAG asks for 4.5 and 3."""
_HINT_PX = 3
STATE_TEXTS = {
    SliceState.UNTOUCHED: "untouched",
    SliceState.DRAFT: "draft",
    SliceState.CLEAN: "clean",
    SliceState.SKIPPED: "skipped",
}


def contrast(one: QColor, other: QColor) -> float:
    """Return the contrast of two opaque colours, from 1 to 21, as WCAG 2 defines it."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def quieter(palette: QPalette) -> QColor:
    """Return a colour for secondary text, between text and ground of the theme."""
    return _towards_ground(palette.windowText().color(), palette.window().color(), _QUIET)


def faint(palette: QPalette) -> QColor:
    """Return a colour for lines and signs that say little, between text and ground."""
    return _towards_ground(palette.windowText().color(), palette.window().color(), _FAINT)


def legible(color: QColor, palette: QPalette) -> QColor:
    """Return a colour of a line or sign, nearer to the text's until it shows on the ground."""
    text, ground = palette.windowText().color(), palette.window().color()
    steps = (_mixed(color, text, share / 20) for share in range(20))
    return next((c for c in steps if contrast(c, ground) >= _FAINT), text)


def quiet_sheet(text: QColor, ground: QColor) -> str:
    """Return the style sheet that shows what `hush` was called for in a quieter colour."""
    return f'*[tone="quiet"] {{ color: {_towards_ground(text, ground, _QUIET).name()}; }}'


def hush(label: QLabel) -> None:
    """Let a label show secondary text, in the colour of `quiet_sheet`."""
    label.setProperty("tone", "quiet")


def ink_on(ground: QColor) -> QColor:
    """Return black or white, whichever reads better on a ground."""
    black, white = QColor("#111111"), QColor("#ffffff")
    return max(black, white, key=lambda ink: contrast(ink, ground))


def _luminance(color: QColor) -> float:
    parts = (color.redF(), color.greenF(), color.blueF())
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _towards_ground(text: QColor, ground: QColor, least: float) -> QColor:
    """The colour nearest to the ground that still has this contrast with it."""
    steps = [_mixed(text, ground, share / 20) for share in range(20)]
    return next((c for c in reversed(steps) if contrast(c, ground) >= least), text)


def _mixed(one: QColor, other: QColor, share: float) -> QColor:
    pairs = zip(one.getRgb()[:3], other.getRgb()[:3], strict=True)
    return QColor(*(round(a + share * (b - a)) for a, b in pairs))


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
    hush(label)
    return label


class Note(QLabel):
    """Secondary text that wraps, and takes up no space while it is empty."""

    def __init__(self, tooltip: str, text: str = "") -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        hush(self)
        self.setToolTip(tooltip)
        self.setText(text)
        if not text:
            self.hide()

    def say(self, text: str) -> None:
        """Show a text; an empty one hides the label."""
        self.setText(text)
        self.setVisible(bool(text))


class Line(QLabel):
    """Secondary text on a single line, as high when it is empty; cut off where there is no room."""

    def __init__(self, tooltip: str, text: str = "") -> None:
        super().__init__(text)
        self._help = tooltip
        self.setTextFormat(Qt.TextFormat.PlainText)
        hush(self)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.say(text)

    def say(self, text: str) -> None:
        """Show a text."""
        self.setText(text)
        self.setToolTip(plain_tip(f"{text}\n{self._help}".strip()))

    def sizeHint(self) -> QSize:
        """One line, however wide."""
        return QSize(0, self.fontMetrics().lineSpacing() + 2)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw as much as there is room for."""
        painter = QPainter(self)
        painter.setPen(self.palette().windowText().color())
        cut = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, self.width())
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignVCenter, cut)
        painter.end()


class Messages(Note):
    """A list of messages, the latest at the bottom, until an empty text clears it."""

    def say(self, text: str) -> None:
        """Add a message, unless it is already there; an empty text clears the list."""
        lines = self.text().splitlines() if text else []
        super().say("\n".join([*lines, *([] if not text or text in lines else [text])]))


class Hinted(QLineEdit):
    """A field that says what to type while it is empty; Qt's own hints are too pale to read."""

    def __init__(self, hint: str) -> None:
        super().__init__()
        self.setAccessibleName(hint)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the hint in the colour of secondary text."""
        super().paintEvent(event)
        style = self.style()
        if self.text() or style is None:
            return
        option = QStyleOptionFrame()
        self.initStyleOption(option)
        room = style.subElementRect(QStyle.SubElement.SE_LineEditContents, option, self)
        room.adjust(_HINT_PX, 0, 0, 0)
        painter = QPainter(self)
        painter.setPen(quieter(self.palette()))
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter, self.accessibleName())
        painter.end()


def button(text: str, tooltip: str, clicked: Callable[[], object]) -> QPushButton:
    """Return a push button that leaves the keyboard focus with the canvas."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    made.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    made.clicked.connect(lambda: clicked())
    return made


def arrow(text: str, tooltip: str, clicked: Callable[[], object]) -> QToolButton:
    """Return a small button with a sign on it, which leaves the keyboard focus with the canvas."""
    made = QToolButton()
    made.setText(text)
    made.setToolTip(tooltip)
    made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    made.clicked.connect(lambda: clicked())
    return made


class Elided(QPushButton):
    """A button whose text is cut off in the middle where there is no room; its tooltip has all."""

    def __init__(self, tooltip: str, clicked: Callable[[], object]) -> None:
        super().__init__()
        self._whole, self._help = "", tooltip
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setStyleSheet("font-weight: bold; text-align: left; padding: 3px 6px;")
        self.clicked.connect(lambda: clicked())
        self.say("")

    def say(self, text: str) -> None:
        """Show a text."""
        self._whole = text
        self.setToolTip(plain_tip(f"{text}\n{self._help}".strip()))
        self._fit()

    def whole(self) -> str:
        """Return the text that may be cut off."""
        return self._whole

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Fit the text into the new width."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        room = max(self.width() - 16, 0)
        middle = Qt.TextElideMode.ElideMiddle
        self.setText(self.fontMetrics().elidedText(self._whole, middle, room))


def restyle(widget: QWidget, sheet: str) -> None:
    """Set a style sheet, unless the widget has it: Qt computes for milliseconds each time."""
    if widget.styleSheet() != sheet:
        widget.setStyleSheet(sheet)


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

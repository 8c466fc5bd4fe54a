"""The message line at the bottom of the dock: always as high, so that nothing moves."""

from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QHBoxLayout, QLabel, QMessageBox, QToolButton, QWidget

from napari_mlbseg.widgets.panels.style import plain_tip, restyle

_LINES = 2
_PADDING = 4
_TOLD, _FAILED = "#2f5d46", "#7a2e2e"


class MessageLine(QWidget):
    """The latest message, until the next action or a click on the cross.

    A text with more than two lines is cut off; its tooltip, and a click on it, show the whole.
    """

    def __init__(self) -> None:
        super().__init__()
        self._text = self._held = ""
        self._error = False
        self._label = QLabel()
        self._label.setTextFormat(Qt.TextFormat.PlainText)
        self._label.setWordWrap(True)
        self._label.setAlignment(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft)
        self._label.installEventFilter(self)
        self.dismiss = QToolButton()
        self.dismiss.setText("×")
        self.dismiss.setAutoRaise(True)
        self.dismiss.setToolTip("Dismiss this message")
        self.dismiss.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.dismiss.clicked.connect(self.clear)
        policy = self.dismiss.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.dismiss.setSizePolicy(policy)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self._label, 1)
        layout.addWidget(self.dismiss)
        self.clear()

    def text(self) -> str:
        """Return the whole message; empty if there is none."""
        return self._text

    def say(self, text: str, *, error: bool = False) -> None:
        """Show a message."""
        self._text, self._error = text, error
        self._show()

    def hold(self, text: str) -> None:
        """Show an error that no action clears, until an empty text says that it is over."""
        over, self._held = self._text == self._held, text
        if text or over:
            self.say(text, error=True)

    def clear(self) -> None:
        """Remove the message, but for one that is held."""
        self.say(self._held, error=True)

    def whole(self) -> QMessageBox:
        """Show the whole message in a window of its own, where it can be copied."""
        box = QMessageBox(self)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setWindowTitle("MLB-Seg")
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setText(self._text)
        box.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        box.open()
        return box

    @property
    def cut(self) -> bool:
        """Whether the message is too long to be shown whole."""
        return self._label.text() != self._text

    def eventFilter(self, watched: object, event: QEvent | None) -> bool:
        """Open a message that is cut off when it is clicked; fit the text into a new width."""
        if event is not None and event.type() == QEvent.Type.Resize:
            self._label.setText(self._fitting(self._text))
        if isinstance(event, QMouseEvent) and event.type() == QEvent.Type.MouseButtonRelease:
            if self.cut:
                self.whole()
            return True
        return False

    def changeEvent(self, event: QEvent | None) -> None:
        """Fit the text in a new font: napari sets its own when the dock comes into its window."""
        super().changeEvent(event)
        if event is not None and event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._show()

    def _show(self) -> None:
        there = bool(self._text)
        self.setFixedHeight(_LINES * self._label.fontMetrics().lineSpacing() + 2 * _PADDING)
        color = _FAILED if self._error else _TOLD
        filled = f"background: {color}; color: white; border-radius: 3px; padding: 0px 6px;"
        restyle(self._label, filled if there else "")
        self._label.setText(self._fitting(self._text))
        self._label.setToolTip(plain_tip(self._text) or "Messages appear here")
        self.dismiss.setVisible(there and self._text != self._held)

    def _fitting(self, text: str) -> str:
        if self._fits(text):
            return text
        fewest, most = 0, len(text)
        while fewest < most:
            middle = (fewest + most + 1) // 2
            if self._fits(f"{text[:middle]}…"):
                fewest = middle
            else:
                most = middle - 1
        return f"{text[:fewest].rstrip()}…"

    def _fits(self, text: str) -> bool:
        self._label.setText(text)
        most = (_LINES + 0.5) * self._label.fontMetrics().lineSpacing()
        return self._label.heightForWidth(self._label.width()) < most

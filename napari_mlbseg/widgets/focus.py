"""Keyboard focus and mouse wheel: they belong to the canvas and the scroll bar unless you type.

A click on a control leaves the keyboard focus with the canvas, and moving the pointer over the
canvas gives it the focus, because the keys are meant to act there. Two fields keep the focus until
Enter, Escape or a click elsewhere: a line of text, and a number that is being typed; otherwise
typing would pick tools. The click on the canvas that ends typing, or brings the window back to
the front, does nothing else. The wheel scrolls the dock, and changes a value only in a control that
has the focus.
"""

from collections.abc import Callable

from qtpy.QtCore import QChildEvent, QEvent, QObject, QPoint, Qt, QTimer
from qtpy.QtGui import QFocusEvent, QKeyEvent, QMouseEvent
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QMainWindow,
    QPlainTextEdit,
    QScrollBar,
    QTabBar,
    QTextEdit,
    QWidget,
)

_FIELDS = (QLineEdit, QAbstractSpinBox, QTextEdit, QPlainTextEdit)
_TURNED_BY_WHEEL = (QComboBox, QAbstractSpinBox, QAbstractSlider, QTabBar)
_LEAVING_KEYS = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape)
# Focus policies without focus by click, for buttons and lists.
_WITHOUT_CLICKS = {
    Qt.FocusPolicy.WheelFocus: Qt.FocusPolicy.TabFocus,
    Qt.FocusPolicy.StrongFocus: Qt.FocusPolicy.TabFocus,
    Qt.FocusPolicy.ClickFocus: Qt.FocusPolicy.NoFocus,
}


class FocusKeeper(QObject):
    """Watches a dock with all its controls and dialogs, including those added later.

    Parameters
    ----------
    dock
        The widget in napari's window; the keeper lives as long as the dock.
    """

    def __init__(self, dock: QWidget) -> None:
        super().__init__(dock)
        self._dock = dock
        self._canvas: CanvasKeeper | None = None
        self._typed: QObject | None = None
        self._watch(dock)
        app = QApplication.instance()
        if isinstance(app, QApplication):
            app.aboutToQuit.connect(self._let_go)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Intercept the wheel and the keys that leave a field; pass everything else on."""
        if event is None or not isinstance(watched, QWidget):
            return False
        kind = event.type()
        if kind == QEvent.Type.Wheel:
            return self._hold_wheel(watched, event)
        if kind == QEvent.Type.KeyPress:
            return self._on_key(watched, event)
        if kind == QEvent.Type.ChildPolished:
            self._on_child(event)
        elif kind == QEvent.Type.Show and watched is self._dock:
            self._find_canvas()
        elif kind == QEvent.Type.FocusIn:
            self._on_focus(watched, event)
        elif kind == QEvent.Type.FocusOut and watched is self._typed:
            self._typed = None
        elif kind == QEvent.Type.MouseButtonRelease and isinstance(watched, QAbstractSpinBox):
            self._hand_back(watched)  # a click on the arrows: the text is a widget of its own
        return False

    # --- inside ----------------------------------------------------------------------------------

    def _let_go(self) -> None:
        """Stop listening at exit: windows destroyed after Python would call dead objects."""
        for each in (self._dock, *self._dock.findChildren(QWidget)):
            each.removeEventFilter(self)

    def _watch(self, widget: QWidget) -> None:
        for each in (widget, *widget.findChildren(QWidget)):
            each.installEventFilter(self)
            each.setFocusPolicy(self._policy(each))

    def _policy(self, widget: QWidget) -> Qt.FocusPolicy:
        """Focus by click only where text is typed or selected, or in dialogs; never by wheel."""
        policy = widget.focusPolicy()
        if not self._inside(widget) or _is_field(widget) or isinstance(widget, QLabel):
            wheel = policy == Qt.FocusPolicy.WheelFocus
            return Qt.FocusPolicy.StrongFocus if wheel else policy
        return _WITHOUT_CLICKS.get(policy, policy)

    def _inside(self, widget: QWidget) -> bool:
        """Whether a widget is in the dock itself, not in a dialog or list opened from it."""
        return self._dock.isAncestorOf(widget)

    def _on_child(self, event: QEvent) -> None:
        child = event.child() if isinstance(event, QChildEvent) else None
        if isinstance(child, QWidget):
            self._watch(child)

    def _hold_wheel(self, widget: QWidget, event: QEvent) -> bool:
        turned = isinstance(widget, _TURNED_BY_WHEEL) and not isinstance(widget, QScrollBar)
        if not turned or widget.hasFocus():
            return False
        event.ignore()  # left to the parent, which scrolls
        return True

    def _on_key(self, widget: QWidget, event: QEvent) -> bool:
        if not isinstance(event, QKeyEvent) or not self._inside(widget):
            return False
        field = _is_field(widget)
        if event.key() not in _LEAVING_KEYS:
            if field and event.text():
                self._typed = widget
        elif field:
            self._hand_back(widget)
            return True
        else:
            self._hand_back_later()
        return False

    def _on_focus(self, widget: QWidget, event: QEvent) -> None:
        if isinstance(widget, QComboBox) and isinstance(event, QFocusEvent):
            back_from_list = event.reason() == Qt.FocusReason.PopupFocusReason
            if back_from_list and self._inside(widget):
                self._hand_back_later()

    def _hand_back(self, widget: QWidget) -> None:
        if self._canvas is not None and self._inside(widget):
            self._canvas.take()

    def _hand_back_later(self) -> None:
        """Hand the focus back after the control has handled the event."""
        if self._canvas is not None:
            QTimer.singleShot(0, self._canvas.take)

    def _keeps(self, widget: QWidget) -> bool:
        """Whether the user is typing in a widget, so that the pointer must not take the focus."""
        if isinstance(widget, QAbstractSpinBox) and self._inside(widget):
            return widget is self._typed
        return _is_field(widget)

    def _find_canvas(self) -> None:
        canvas = None if self._canvas is not None else canvas_beside(self._dock)
        if canvas is not None:
            self._canvas = CanvasKeeper(canvas, self._dock, self._keeps)
            # A click that no control handles goes to the dock, and from there to the canvas.
            self._dock.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
            self._dock.setFocusProxy(canvas)


class CanvasKeeper(QObject):
    """Gives the canvas the keyboard focus, and stops clicks that only move the focus from painting.

    Parameters
    ----------
    canvas
        The widget that is painted on.
    dock
        The dock; this object lives as long as the dock does.
    keeps
        Whether a widget keeps the focus although the pointer is over the canvas.
    """

    def __init__(self, canvas: QWidget, dock: QWidget, keeps: Callable[[QWidget], bool]) -> None:
        super().__init__(dock)
        self._canvas: QWidget | None = canvas
        self._dock, self._keeps = dock, keeps
        # Whether the canvas had the focus before the next click.
        self._ready = True
        self._swallowing = False
        self._place: QPoint | None = None
        canvas.installEventFilter(self)
        canvas.destroyed.connect(self._forget)
        app = QApplication.instance()
        if isinstance(app, QApplication):
            app.focusChanged.connect(self._on_focus_changed)
            app.aboutToQuit.connect(self._let_go)

    def _let_go(self) -> None:
        app = QApplication.instance()
        if isinstance(app, QApplication):
            app.focusChanged.disconnect(self._on_focus_changed)
        if self._canvas is not None:
            self._canvas.removeEventFilter(self)

    def take(self) -> None:
        """Give the canvas the keyboard focus."""
        if self._canvas is not None:
            self._canvas.setFocus(Qt.FocusReason.OtherFocusReason)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Swallow a click that only moves the focus to the canvas, from press to release."""
        canvas = self._canvas
        if canvas is None or event is None or watched is not canvas:
            return False
        kind = event.type()
        if kind == QEvent.Type.Enter:
            self._take_if_free(canvas)
        elif kind == QEvent.Type.MouseMove:
            self._on_move(canvas, event)
        elif kind == QEvent.Type.WindowDeactivate:
            self._ready = False
        elif kind == QEvent.Type.MouseButtonPress:
            self._swallowing = not self._ready
            self._ready = True
        elif kind == QEvent.Type.MouseButtonRelease and self._swallowing:
            self._swallowing = False
            return True
        held = (QEvent.Type.MouseButtonPress, QEvent.Type.MouseMove)
        return self._swallowing and kind in held

    def _on_move(self, canvas: QWidget, event: QEvent) -> None:
        # Some systems report a move to the current position when a window is activated.
        before, self._place = self._place, event.pos() if isinstance(event, QMouseEvent) else None
        if self._swallowing or self._place == before:
            return
        self._take_if_free(canvas)
        self._ready = self._ready or canvas.hasFocus()

    def _take_if_free(self, canvas: QWidget) -> None:
        window = canvas.window()
        if window is not None and not canvas.hasFocus() and self._may_take(window):
            window.activateWindow()  # the focus comes from a floating dock
            self.take()

    def _may_take(self, window: QWidget) -> bool:
        holder, active = QApplication.focusWidget(), QApplication.activeWindow()
        ours = active is not None and active in (window, self._dock.window())
        return (
            ours
            and QApplication.activePopupWidget() is None
            and (holder is None or not self._keeps(holder))
        )

    def _on_focus_changed(self, old: QWidget | None, now: QWidget | None) -> None:
        canvas = self._canvas
        if canvas is None or now is None or now is canvas or now.isAncestorOf(canvas):
            return  # parents of the canvas pass the keys on to it
        self._ready = False

    def _forget(self) -> None:
        self._canvas = None


def _is_field(widget: QWidget) -> bool:
    """Whether a widget takes typed text."""
    if isinstance(widget, QComboBox):
        return widget.isEditable()
    return isinstance(widget, _FIELDS)


def main_window_of(widget: QWidget) -> QMainWindow | None:
    """Return the window that a dock belongs to, even while it floats; None outside of a window."""
    above = widget.parentWidget()
    while above is not None and not isinstance(above, QMainWindow):
        above = above.parentWidget()
    return above


def canvas_beside(widget: QWidget) -> QWidget | None:
    """Return the canvas of the dock's window, even while the dock floats."""
    above = main_window_of(widget)
    center = None if above is None else above.centralWidget()
    inside = [] if center is None else center.findChildren(QWidget)
    return next((each for each in inside if each.inherits("QOpenGLWidget")), None)

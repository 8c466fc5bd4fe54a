"""A hand on the canvas of the real window: keys and mouse events as Qt delivers them."""

from collections.abc import Sequence
from typing import Any

from napari.viewer import Viewer
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QWidget
from real_input import QTest

LEFT = Qt.MouseButton.LeftButton
RIGHT = Qt.MouseButton.RightButton
MIDDLE = Qt.MouseButton.MiddleButton
PLAIN = Qt.KeyboardModifier.NoModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier
CTRL = Qt.KeyboardModifier.ControlModifier
ALT = Qt.KeyboardModifier.AltModifier


class Hand:
    """Presses keys over the canvas of a viewer, and drags the mouse over it.

    Places are rows and columns (y x) of the slice on view along z.
    """

    def __init__(self, viewer: Viewer, inside: QWidget) -> None:
        self._viewer = viewer
        window = inside.window()
        assert window is not None
        window.resize(1400, 900)
        window.show()
        QTest.qWaitForWindowExposed(window)
        self.canvas = next(
            child for child in window.findChildren(QWidget) if "CanvasBackend" in str(type(child))
        )
        QApplication.processEvents()
        viewer.reset_view()
        QApplication.processEvents()

    def press(self, key: Qt.Key, modifier: Qt.KeyboardModifier = PLAIN) -> None:
        """A key, down and up."""
        QTest.keyClick(self.canvas, key, modifier)
        QApplication.processEvents()

    def undo(self) -> None:
        """Ctrl+Z."""
        self.press(Qt.Key.Key_Z, CTRL)

    def redo(self) -> None:
        """Ctrl+Shift+Z."""
        self.press(Qt.Key.Key_Z, CTRL | SHIFT)

    def click(self, y: float, x: float, modifier: Qt.KeyboardModifier = PLAIN) -> None:
        """A click with the left button."""
        self.drag((y, x), modifier=modifier)

    def drag(self, *places: tuple[float, float], modifier: Qt.KeyboardModifier = PLAIN) -> None:
        """From the first to the last place with the left button down."""
        points = [self._point(*place) for place in places]
        QTest.mouseMove(self.canvas, points[0])
        QTest.mousePress(self.canvas, LEFT, modifier, points[0])
        for point in points[1:]:
            QTest.mouseMove(self.canvas, point)
            QApplication.processEvents()
        QTest.mouseRelease(self.canvas, LEFT, modifier, points[-1])
        QApplication.processEvents()

    def pull(
        self,
        button: Qt.MouseButton,
        *ways: Sequence[int],
        keys: Qt.KeyboardModifier = PLAIN,
        release: bool = True,
    ) -> None:
        """Hold a button in the middle of the canvas, and go there, so many pixels right and down.

        The events come from the window, as from the screen, with the buttons that are held.
        """
        screen = self.screen
        QTest.mouseMove(screen, self._on_screen(0, 0))
        QTest.mousePress(screen, button, keys, self._on_screen(0, 0))
        for way in ways:
            QTest.mouseMove(screen, self._on_screen(*way))
            QApplication.processEvents()
        if release:
            self.let_go(button, ways[-1] if ways else (0, 0), keys=keys)

    def let_go(
        self,
        button: Qt.MouseButton,
        way: Sequence[int] = (0, 0),
        *,
        keys: Qt.KeyboardModifier = PLAIN,
    ) -> None:
        """Release a button that is held."""
        QTest.mouseRelease(self.screen, button, keys, self._on_screen(*way))
        QApplication.processEvents()

    def double_click(self, button: Qt.MouseButton) -> None:
        """Twice in the middle of the canvas."""
        QTest.mouseMove(self.screen, self._on_screen(0, 0))
        QTest.mouseDClick(self.screen, button, PLAIN, self._on_screen(0, 0))
        QApplication.processEvents()

    def wheel(
        self,
        notches: float,
        keys: Qt.KeyboardModifier = PLAIN,
        *,
        way: Sequence[int] = (0, 0),
    ) -> None:
        """Turn the wheel, towards oneself for negative notches."""
        place = QPointF(self.canvas.rect().center() + QPoint(*way))
        event = QWheelEvent(
            place,
            QPointF(self.canvas.mapToGlobal(place.toPoint())),
            QPoint(0, 0),
            QPoint(0, round(120 * notches)),
            Qt.MouseButton.NoButton,
            keys,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(self.canvas, event)
        QApplication.processEvents()

    def point_at(self, y: float, x: float) -> None:
        """Bring the pointer there."""
        for place in (QPoint(1, 1), QPoint(0, 0)):  # in two moves, as a hand does
            point = self.canvas.mapTo(self._main, self._point(y, x) + place)
            QTest.mouseMove(self.screen, point)
            QApplication.processEvents()

    @property
    def screen(self) -> Any:
        """The window as Qt's part for the screen sees it."""
        return self._main.windowHandle()

    @property
    def _main(self) -> QWidget:
        """Looked for each time: whoever keeps it keeps napari's window after the test."""
        window = self.canvas.window()
        assert window is not None
        return window

    def _on_screen(self, right: int, down: int) -> QPoint:
        return self.canvas.mapTo(self._main, self.canvas.rect().center() + QPoint(right, down))

    def _point(self, y: float, x: float) -> QPoint:
        layer = self._viewer.layers["image"]
        world = layer.data_to_world((0.0, y, x))
        camera = self._viewer.scene.camera
        middle = QPointF(self.canvas.width() / 2, self.canvas.height() / 2)
        across = (world[2] - camera.center[2]) * camera.zoom
        down = (world[1] - camera.center[1]) * camera.zoom
        return (middle + QPointF(across, down)).toPoint()

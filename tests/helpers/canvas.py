"""A hand on the canvas of the real window: keys and mouse events as Qt delivers them."""

from napari.viewer import Viewer
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtWidgets import QApplication, QWidget
from real_input import QTest

LEFT = Qt.MouseButton.LeftButton
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

    def _point(self, y: float, x: float) -> QPoint:
        layer = self._viewer.layers["image"]
        world = layer.data_to_world((0.0, y, x))
        camera = self._viewer.scene.camera
        middle = QPointF(self.canvas.width() / 2, self.canvas.height() / 2)
        across = (world[2] - camera.center[2]) * camera.zoom
        down = (world[1] - camera.center[1]) * camera.zoom
        return (middle + QPointF(across, down)).toPoint()

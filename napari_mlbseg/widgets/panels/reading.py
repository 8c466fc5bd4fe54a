"""How the image is read: grey levels, the wheel, reading layout, and what the pointer is over."""

from collections.abc import Sequence
from functools import partial

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QGridLayout, QMenu, QPushButton, QWidget
from superqt import QElidingLabel

from napari_mlbseg.widgets.panels.style import button
from napari_mlbseg.widgets.shortcuts import NEXT_CHANNEL, PLANES, READING_LAYOUT, RULER

Limits = tuple[float, float]


class ReadingPanel(QWidget):
    """Two rows below the slice.

    Signals
    -------
    levels_chosen(object)
        Grey levels: what is shown as black and as white.
    wheel_chosen(bool)
        Whether the wheel is to go through the slices.
    layout_asked(), planes_asked(), ruler_asked(), channel_asked()
        Fold napari's side panels away, or bring them back; show or close the other planes; take the
        ruler up, or go back to the brush; show the next channel.
    """

    levels_chosen = Signal(object)
    wheel_chosen = Signal(bool)
    layout_asked = Signal()
    planes_asked = Signal()
    ruler_asked = Signal()
    channel_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.menu = QMenu(self)
        self.menu.setToolTipsVisible(True)
        self.levels = button(
            "Grey levels",
            "Grey levels of the image. Drag over it with the right or middle button: to the side"
            " for the width, up and down for the level; a double right click resets them",
            lambda: None,
        )
        self.levels.setMenu(self.menu)
        self.layout_button = button("Layout", READING_LAYOUT.tooltip, self.layout_asked.emit)
        self.layout_button.setCheckable(True)
        self._wheel = QAction("The wheel goes through the slices", self)
        self.menu.addAction(self._wheel)
        self._wheel.setCheckable(True)
        self._wheel.setToolTip("Ctrl+wheel zooms; without the tick it is the other way round")
        self._wheel.triggered.connect(self.wheel_chosen)
        self.channel = button("", NEXT_CHANNEL.tooltip, self.channel_asked.emit)
        self.line = QElidingLabel()
        self.line.setElideMode(Qt.TextElideMode.ElideRight)
        self.line.setToolTip("What the pointer is over: millimetres, value, label and trust")
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(2)
        grid.addWidget(self.levels, 0, 0)
        for column, widget in enumerate((self.layout_button, *self._tools()), 1):
            grid.addWidget(widget, 0, column)
        grid.addWidget(self.line, 1, 0, 1, 4)
        grid.addWidget(self.channel, 2, 0, 1, 4)
        self.show_channel("")
        self.offer(())

    def _tools(self) -> tuple[QPushButton, QPushButton]:
        return (
            button("Planes", PLANES.tooltip, self.planes_asked.emit),
            button("Ruler", RULER.tooltip, self.ruler_asked.emit),
        )

    def offer(self, levels: Sequence[tuple[str, Limits]]) -> None:
        """Offer grey levels by name; none without a case."""
        for action in self.menu.actions():
            if action is not self._wheel:
                self.menu.removeAction(action)
                action.deleteLater()
        for name, limits in levels:
            action = QAction(f"{name}: {_in_words(limits)}", self)
            action.triggered.connect(partial(self.levels_chosen.emit, limits))
            self.menu.insertAction(self._wheel, action)
        self.menu.insertSeparator(self._wheel)
        self.levels.setEnabled(bool(levels))
        if not levels:
            self.levels.setText("Grey levels")

    def show_levels(self, limits: Limits) -> None:
        """Show the grey levels on view."""
        self.levels.setText(_in_words(limits))

    def show_channel(self, name: str) -> None:
        """Show which channel is on view; the button is there only if there are several."""
        self.channel.setText(f"Channel: {name}")
        self.channel.setVisible(bool(name))

    def show_wheel(self, scrolls: bool) -> None:
        """Show what the wheel does."""
        self._wheel.setChecked(scrolls)

    def show_layout(self, folded: bool) -> None:
        """Show whether the side panels are folded away."""
        self.layout_button.setChecked(folded)

    def say(self, line: str) -> None:
        """Say what the pointer is over."""
        self.line.setText(line or " ")  # as high as any other line


def _in_words(limits: Limits) -> str:
    width, level = limits[1] - limits[0], (limits[0] + limits[1]) / 2
    return f"width {width:.4g}, level {level:.4g}"

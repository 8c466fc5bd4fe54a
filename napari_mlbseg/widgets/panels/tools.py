"""The tools that spare strokes: brush and regions, answers, interpolation, clean-up, ranges."""

from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QDoubleSpinBox,
    QGridLayout,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_mlbseg.widgets.panels.style import button, enable, heading, quiet
from napari_mlbseg.widgets.shortcuts import IN_VOLUME, TOOLS

_ISLAND_MM2, _ISLAND_MM3 = 20.0, 500.0
_SWITCHES = ("smart_brush", "fix_region")
_CLEAN_UP, _IN_VOLUME = "Clean up the slice", "Clean up the volume"
_COLUMNS = 6


class ToolsPanel(QWidget):
    """The tools for the slice on view.

    Signals
    -------
    command(str)
        Name of one of `shortcuts.TOOLS`.
    slice_chosen(int)
        A slice to go to.
    """

    command = Signal(str)
    slice_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.buttons = {
            c.name: button(c.text, c.tooltip, partial(self.command.emit, c.name))
            for c in (*TOOLS, *IN_VOLUME)
            if c.name != "go_to_number"  # a key for the field
        }
        for name in _SWITCHES:
            self.buttons[name].setCheckable(True)
        tips = {c.name: c.tooltip for c in TOOLS}
        self.cleaned, self.cleaned_in_volume = heading(_CLEAN_UP), heading(_IN_VOLUME)
        self.island = QDoubleSpinBox()
        self.island.setRange(0.1, 10_000.0)
        self.island.setDecimals(1)
        self.island.setValue(_ISLAND_MM2)
        self.island.setPrefix("below ")
        self.island.setSuffix(" mm²")
        self.island.setToolTip("Pieces that cover less than this area on the slice are islands")
        self.volume_island = QDoubleSpinBox()
        self.volume_island.setRange(0.1, 1_000_000.0)
        self.volume_island.setDecimals(1)
        self.volume_island.setValue(_ISLAND_MM3)
        self.volume_island.setPrefix("below ")
        self.volume_island.setSuffix(" mm³")
        self.volume_island.setToolTip("Pieces of the volume that are smaller than this are islands")
        self.number = _slice_field(tips["go_to_number"])
        self.number.setKeyboardTracking(False)
        self.number.valueChanged.connect(self.slice_chosen)
        self.first = _slice_field("The range of slices to accept begins at this one")
        self.first.valueChanged.connect(self._name_range)
        self._lay_out()
        self.set_slice(None, 0)

    def set_slice(self, index: int | None, count: int, *, writable: bool = True) -> None:
        """Show the slice on view of `count` along its axis; None if there is no case."""
        there = index is not None
        enable([self.number], there)
        enable(
            [self.first, self.island, self.volume_island, *self.buttons.values()],
            there and writable,
        )
        self.number.blockSignals(True)
        for field in (self.number, self.first):
            field.setMaximum(max(count - 1, 0))
        self.number.setValue(index or 0)
        self.number.blockSignals(False)
        self._name_range()

    def set_class(self, name: str) -> None:
        """Name the class to paint with, which is cleaned up."""
        for label, text in ((self.cleaned, _CLEAN_UP), (self.cleaned_in_volume, _IN_VOLUME)):
            label.setText(f"{text}: {name}" if name else text)

    def set_tool(self, *, smart: bool, fixing: bool) -> None:
        """Show which tools are switched on."""
        for name, on in zip(_SWITCHES, (smart, fixing), strict=True):
            self.buttons[name].setChecked(on)

    def ask_number(self) -> None:
        """Let the number of a slice be typed."""
        self.number.setFocus()
        self.number.selectAll()

    def _name_range(self) -> None:
        low, high = sorted((self.first.value(), self.number.value()))
        self.buttons["accept_range"].setText(f"Accept {low} to {high}")

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        for column in range(_COLUMNS):
            grid.setColumnStretch(column, 1)
        rows: tuple[QWidget | tuple[QWidget, ...], ...] = (
            heading("Brush and regions"),
            self._named(*_SWITCHES),
            heading("Go on from your correction"),
            self._named("answer", "pass_on"),
            heading("Interpolate between your slices"),
            self._named("interpolate", "interpolate_here"),
            self.cleaned,
            self._named("grow", "shrink", "smooth"),
            self._named("fill_holes", "keep_largest"),
            (*self._named("remove_islands"), self.island),
            self.cleaned_in_volume,
            self._named("grow_in_volume", "shrink_in_volume", "smooth_in_volume"),
            self._named("fill_holes_in_volume", "keep_largest_in_volume"),
            (*self._named("remove_islands_in_volume"), self.volume_island),
            heading("Several slices"),
            (quiet("Go to slice"), self.number),
            (quiet("Range from slice"), self.first),
            self._named("range_from", "accept_range"),
        )
        for place, row in enumerate(rows):
            if isinstance(row, QWidget):
                grid.addWidget(row, place, 0, 1, _COLUMNS)
                continue
            width = _COLUMNS // len(row)
            for column, widget in enumerate(row):
                grid.addWidget(widget, place, column * width, 1, width)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.addLayout(grid)
        layout.addStretch()

    def _named(self, *names: str) -> tuple[QPushButton, ...]:
        return tuple(self.buttons[name] for name in names)


def _slice_field(tooltip: str) -> QSpinBox:
    field = QSpinBox()
    field.setToolTip(tooltip)
    field.setCorrectionMode(QAbstractSpinBox.CorrectionMode.CorrectToNearestValue)
    return field

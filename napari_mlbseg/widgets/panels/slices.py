"""The slice on view: its state, and the commands for it."""

from collections.abc import Collection, Sequence
from functools import partial

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.slices import SliceState
from napari_mlbseg.volume import AXIS_NAMES
from napari_mlbseg.widgets.panels.classes_dialog import ClassesDialog
from napari_mlbseg.widgets.panels.slice_strip import SliceStrip
from napari_mlbseg.widgets.panels.style import (
    STATE_COLORS,
    STATE_TEXTS,
    button,
    enable,
    heading,
    narrow,
    plain,
    quiet,
    restyle,
)
from napari_mlbseg.widgets.shortcuts import COMMANDS, MOVES, OF_A_SLICE, TRAVELS, VIEWS

# Below this trust, more than half of the evidence is for another label.
_DOUBT = 0.5
_LARGE = 34
_PLANES = ("axial", "coronal", "sagittal")


class SlicesPanel(QWidget):
    """Slices of the case on view.

    Signals
    -------
    command(str)
        Name of one of `shortcuts.OF_A_SLICE`.
    slice_chosen(int), axis_chosen(int), label_chosen(int)
        A slice, an axis, or a class to paint with was chosen.
    classes_chosen(object, object)
        New classes for the study, a tuple of `LabelClass`.
    """

    command = Signal(str)
    slice_chosen = Signal(int)
    axis_chosen = Signal(int)
    label_chosen = Signal(int)
    classes_chosen = Signal(object, object)

    def __init__(self) -> None:
        super().__init__()
        self.title = heading("Slice")
        self.state = plain()
        self.axis = QComboBox()
        self.axis.setToolTip("Axis along which slices are shown and annotated")
        for name, plane in zip(AXIS_NAMES, _PLANES, strict=True):
            self.axis.addItem(f"{plane} ({name})")
        self.axis.activated.connect(self.axis_chosen)
        self.label = narrow(QComboBox())
        self.label.setToolTip("Class to paint with")
        self.label.activated.connect(
            lambda row: self.label_chosen.emit(int(self.label.itemData(row)))
        )
        self._classes: tuple[LabelClass, ...] = ()
        self.classes = button(
            "Classes…",
            "Rename, recolour, add or remove classes; pieces and holes",
            self.ask_classes,
        )
        self.strip = SliceStrip()
        self.strip.chosen.connect(self.slice_chosen)
        self.buttons = {
            c.name: button(c.text, c.tooltip, partial(self.command.emit, c.name))
            for c in OF_A_SLICE
        }
        self.doubt = QDoubleSpinBox()
        self.doubt.setRange(0.05, 1.0)
        self.doubt.setSingleStep(0.05)
        self.doubt.setValue(_DOUBT)
        self.doubt.setPrefix("< ")
        self.doubt.setToolTip(
            "Take the proposed labels where trust in the prediction is below this value (0 to 1)"
        )
        for view in VIEWS:
            self.buttons[view.name].setStyleSheet("padding: 3px 2px;")
            self.buttons[view.name].setCheckable(view.name != "hide_all")
        self._lay_out()
        self.set_slice(None, None, ())
        self.set_history(None, None)

    def set_classes(self, classes: Sequence[LabelClass]) -> None:
        """Offer these classes, and the background."""
        self._classes = tuple(classes)
        self.label.clear()
        for label in classes:
            self.label.addItem(
                _swatch(QColor(*label.color)), f"{label.value}  {label.name}", label.value
            )
        self.label.addItem(_swatch(QColor(0, 0, 0, 0)), "0  background", 0)

    def ask_classes(self) -> ClassesDialog:
        """Open the dialog to change the classes."""
        dialog = ClassesDialog(self._classes, self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.accepted.connect(lambda: self.classes_chosen.emit(dialog.answer(), dialog.becoming))
        dialog.open()
        return dialog

    def set_label(self, value: int) -> None:
        """Show the class to paint with."""
        self.label.setCurrentIndex(self.label.findData(value))

    def set_history(self, *names: str | None) -> None:
        """Name the steps that undo and redo would act on; None if there is none."""
        for command, name in zip(TRAVELS, names, strict=True):
            made = self.buttons[command.name]
            made.setEnabled(name is not None)
            made.setToolTip(command.tip(f"{command.help} {name or ''}".strip()))

    def set_overlays(self, shown: Collection[str]) -> None:
        """Show which overlays are shown, by the names of `shortcuts.VIEWS`."""
        for view in VIEWS:
            self.buttons[view.name].setChecked(view.name in shown)

    def set_slice(
        self,
        axis: int | None,
        index: int | None,
        states: Sequence[SliceState],
        *,
        writable: bool = True,
    ) -> None:
        """Show the slice at `index` along `axis`; None for both if there is no case."""
        there = axis is not None and index is not None
        self.strip.set_states(states)
        enable([self.axis, self.strip], there)
        working = [self.buttons[c.name] for c in COMMANDS]
        enable([self.label, self.classes, *working], there and writable)
        enable([self.doubt, *(self.buttons[c.name] for c in (*MOVES, *VIEWS))], there)
        if axis is None or index is None:
            self.title.setText("Slice")
            self.state.setText("")
            return
        self.axis.setCurrentIndex(axis)
        self.strip.set_current(index)
        state = states[index]
        self.title.setText(f"Slice {index} / {len(states) - 1}")
        self.state.setText(STATE_TEXTS[state])
        color = STATE_COLORS[state]
        ink = "#111" if color.lightness() > 110 else "#eee"
        filled = f"background: {color.name()}; color: {ink}; border-radius: 3px; padding: 1px 7px;"
        restyle(self.state, filled)
        self.buttons["reopen"].setEnabled(
            writable and state in (SliceState.CLEAN, SliceState.SKIPPED)
        )
        self.buttons["copy_previous"].setEnabled(writable and index > 0)
        self.buttons["copy_next"].setEnabled(writable and index < len(states) - 1)

    def _lay_out(self) -> None:
        top = QHBoxLayout()
        top.addWidget(self.title)
        top.addWidget(self.state)
        top.addStretch()
        top.addWidget(self.axis)
        paint = QHBoxLayout()
        paint.addWidget(QLabel("Paint with"))
        paint.addWidget(self.label, 2)
        paint.addWidget(self.classes, 1)
        accept = self.buttons["accept"]
        accept.setStyleSheet(
            "QPushButton:enabled { background: #1f8a58; color: white; font-weight: bold; }"
        )
        main = QHBoxLayout()
        main.setSpacing(4)
        for name, share in (("accept", 3), ("next_suggested", 2)):
            self.buttons[name].setMinimumHeight(_LARGE)
            main.addWidget(self.buttons[name], share)
        grid = QGridLayout()
        grid.setSpacing(4)
        places = ("skip", "reopen", "revert", "copy_previous", "copy_next", "take_proposed_labels")
        for place, name in enumerate(places):
            grid.addWidget(self.buttons[name], place // 3, place % 3)
        for column, travel in enumerate(TRAVELS):
            grid.addWidget(self.buttons[travel.name], 2, column)
        grid.addWidget(self.doubt, 2, 2)
        for column in range(3):
            grid.setColumnStretch(column, 1)
        the_class = quiet("The class")
        the_class.setWordWrap(False)
        grid.addWidget(the_class, 3, 0)
        for column, name in enumerate(("begins_here", "ends_here"), 1):
            grid.addWidget(self.buttons[name], 3, column)
        overlays = QHBoxLayout()
        overlays.setSpacing(2)
        for view in VIEWS:
            overlays.addWidget(self.buttons[view.name])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(top)
        layout.addWidget(self.strip)
        for part in (main, paint, grid, overlays):
            layout.addLayout(part)


def _swatch(color: QColor) -> QIcon:
    pixmap = QPixmap(12, 12)
    pixmap.fill(color)
    return QIcon(pixmap)

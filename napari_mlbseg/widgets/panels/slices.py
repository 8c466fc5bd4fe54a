"""The slice on view: its state, and the commands for it."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.slices import SliceState
from napari_mlbseg.volume import AXIS_NAMES
from napari_mlbseg.widgets.panels.class_chips import ClassChips
from napari_mlbseg.widgets.panels.classes_dialog import ClassesDialog
from napari_mlbseg.widgets.panels.slice_strip import SliceStrip
from napari_mlbseg.widgets.panels.style import (
    STATE_COLORS,
    STATE_TEXTS,
    Note,
    button,
    enable,
    heading,
    ink_on,
    narrow,
    plain,
    restyle,
)
from napari_mlbseg.widgets.shortcuts import COMMANDS, MOVES, OF_A_SLICE, TRAVELS, VIEWS

# Below this trust, more than half of the evidence is for another label.
_DOUBT = 0.5
_LARGE, _SMALL = 32, 28
_PLANES = ("axial", "coronal", "sagittal")
_WIDEST_PX = 9
OVERLAYS = {"labels": "Labels"} | {v.name: v.text for v in VIEWS if v.name != "hide_all"}
"""What can be faded: the working labels, and the overlays by the names of `shortcuts.VIEWS`."""


class SlicesPanel(QWidget):
    """Slices of the case on view.

    Signals
    -------
    command(str)
        Name of one of `shortcuts.OF_A_SLICE`.
    slice_chosen(int), axis_chosen(int), label_chosen(int)
        A slice, an axis, or a class to paint with was chosen.
    opacity_chosen(str, float), outline_chosen(int)
        How opaque an overlay of `OVERLAYS` is to be (0 to 1); how wide outlines are to be in pixels
        of the screen.
    classes_chosen(object, object)
        New classes for the study, a tuple of `LabelClass`, and by value which class takes the
        pixels of one that is gone.
    """

    command = Signal(str)
    slice_chosen = Signal(int)
    axis_chosen = Signal(int)
    label_chosen = Signal(int)
    opacity_chosen = Signal(str, float)
    outline_chosen = Signal(int)
    classes_chosen = Signal(object, object)

    def __init__(self) -> None:
        super().__init__()
        self.title = heading("Slice")
        self.state = plain()
        self.review = Note("What a reviewer said of this slice")
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
        self.chips = ClassChips()
        self.chips.chosen.connect(self.label_chosen)
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
        self.overlay = narrow(QComboBox())
        self.overlay.setToolTip("The overlay that the slider fades")
        for name, text in OVERLAYS.items():
            self.overlay.addItem(text, name)
        self.overlay.currentIndexChanged.connect(lambda _: self._show_opacity())
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(0, 100)
        self.opacity.setToolTip("How opaque the overlay is")
        self.opacity.valueChanged.connect(
            lambda value: self.opacity_chosen.emit(self.overlay.currentData(), value / 100)
        )
        self._opacities: Mapping[str, float] = {}
        self.outline = QSpinBox()
        self.outline.setRange(1, _WIDEST_PX)
        self.outline.setSuffix(" px")
        self.outline.setToolTip(
            "How wide the outlines of initial labels and prediction are on the screen, at any zoom;"
            " at least one pixel of the image"
        )
        self.outline.valueChanged.connect(self.outline_chosen)
        self._lay_out()
        self.set_slice(None, None, ())
        self.set_history(None, None)

    def set_classes(self, classes: Sequence[LabelClass]) -> None:
        """Offer these classes, and the background."""
        self._classes = tuple(classes)
        self.chips.set_classes(classes)
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
        self.chips.set_current(value)
        self.label.setCurrentIndex(self.label.findData(value))

    def set_history(self, *names: str | None) -> None:
        """Name the steps that undo and redo would act on; None if there is none."""
        for command, name in zip(TRAVELS, names, strict=True):
            made = self.buttons[command.name]
            made.setEnabled(name is not None)
            made.setToolTip(command.tip(f"{command.help} {name or ''}".strip()))

    def set_overlays(
        self, shown: Collection[str], opacities: Mapping[str, float], outline_px: int | None
    ) -> None:
        """Show which overlays are shown, by the names of `shortcuts.VIEWS`.

        `opacities` tell of each in `OVERLAYS` how opaque it is, from 0 to 1; `outline_px` is how
        wide outlines are on the screen. Without a case there are none.
        """
        for view in VIEWS:
            self.buttons[view.name].setChecked(view.name in shown)
        self._opacities = opacities
        self._show_opacity()
        if outline_px is not None:
            _quietly(self.outline, outline_px)

    def fade(self, name: str) -> None:
        """Let the slider fade an overlay of `OVERLAYS`."""
        self.overlay.setCurrentIndex(self.overlay.findData(name))

    def _show_opacity(self) -> None:
        opacity = self._opacities.get(self.overlay.currentData())
        if opacity is not None:
            _quietly(self.opacity, round(100 * opacity))

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
        enable([self.chips, self.overlay, self.opacity, self.outline], there)
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
        ink = ink_on(color).name()
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
            "QPushButton:enabled { background: #1b7a4d; color: white; font-weight: bold; }"
        )
        main = QHBoxLayout()
        main.setSpacing(4)
        for name, share in (("accept", 3), ("next_suggested", 2)):
            self.buttons[name].setMinimumHeight(_LARGE)
            main.addWidget(self.buttons[name], share)
        for travel, sign in zip(TRAVELS, "↶↷", strict=True):
            self.buttons[travel.name].setText(sign)
            self.buttons[travel.name].setFixedSize(_SMALL, _LARGE)
            main.addWidget(self.buttons[travel.name])
        grid = QGridLayout()
        grid.setSpacing(4)
        places = ("skip", "reopen", "revert", "copy_previous", "copy_next", "take_proposed_labels")
        for place, name in enumerate(places):
            grid.addWidget(self.buttons[name], place // 3, place % 3)
        for column, name in enumerate(("begins_here", "ends_here")):
            grid.addWidget(self.buttons[name], 2, column)
        grid.addWidget(self.doubt, 2, 2)
        for column in range(3):
            grid.setColumnStretch(column, 1)
        overlays = QHBoxLayout()
        overlays.setSpacing(2)
        for view in VIEWS:
            overlays.addWidget(self.buttons[view.name])
        looks = QHBoxLayout()
        looks.setSpacing(4)
        looks.addWidget(self.overlay)
        looks.addWidget(self.opacity, 1)
        looks.addWidget(self.outline)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(top)
        layout.addWidget(self.review)
        layout.addWidget(self.strip)
        layout.addLayout(main)
        layout.addLayout(paint)
        layout.addWidget(self.chips)
        for part in (grid, overlays, looks):
            layout.addLayout(part)


def _quietly(control: QSpinBox | QSlider, value: int) -> None:
    """Show a value without asking for it."""
    control.blockSignals(True)
    control.setValue(value)
    control.blockSignals(False)


def _swatch(color: QColor) -> QIcon:
    pixmap = QPixmap(12, 12)
    pixmap.fill(color)
    return QIcon(pixmap)

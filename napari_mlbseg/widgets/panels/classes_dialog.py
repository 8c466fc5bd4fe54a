"""The classes of a study as a table: their names, colours, pieces and holes; more or fewer."""

from collections.abc import Sequence
from functools import partial

from qtpy.QtCore import QItemSelection, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QHeaderView,
    QMenu,
    QPushButton,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_mlbseg.project.importing.classes import BACKGROUND
from napari_mlbseg.project.records.cases import MAX_CLASS, LabelClass
from napari_mlbseg.project.records.palette import color_of
from napari_mlbseg.widgets.panels.style import Note, button, quiet

_COLUMNS = ("Value", "Name", "Colour", "Pieces", "No holes")
_VALUE, _NAME, _COLOR, _PIECES, _NO_HOLES = range(5)
_TOLD = {
    _PIECES: "How many pieces the structure has at most; exports leave the largest",
    _NO_HOLES: "Whether the structure has no holes; exports fill what it encloses on all sides",
}
_ANY = 0
_PIECES_SHOWN = 99


def _nothing() -> None:
    pass


class ClassesDialog(QDialog):
    """Asks for the classes of a study; `answer` returns them once the dialog is accepted.

    Attributes
    ----------
    becoming
        For classes that are gone with their pixels, the value of the class that these become; 0
        for the background.
    """

    def __init__(self, classes: Sequence[LabelClass], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._known = {each.value for each in classes}
        self.becoming: dict[int, int] = {}
        self.setWindowTitle("Classes")
        self.setMinimumSize(500, 300)
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setHorizontalHeaderLabels(_COLUMNS)
        self.table.setToolTip("Classes that can be painted. Double-click a name to change it.")
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.add = button("Add", "Add a class with the next free value", self._add)
        self.remove = button(
            "Remove", "Remove the selected class, if no label uses it", self._remove
        )
        self.merge = button(
            "Its pixels become",
            "Remove the selected class, and say what its pixels become",
            _nothing,
        )
        self._targets = QMenu(self)
        self.merge.setMenu(self._targets)
        self._targets.aboutToShow.connect(self._list_targets)
        self.up = button("Up", "Move the selected class up", lambda: self._move(-1))
        self.down = button("Down", "Move the selected class down", lambda: self._move(1))
        self.problem = Note("Fix this first")
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self.ok = buttons.button(QDialogButtonBox.StandardButton.Ok)
        self._lay_out(buttons)
        for each in classes:
            self._append(each)
        self.table.itemChanged.connect(self._check)
        selection = self.table.selectionModel()
        if selection is not None:
            selection.selectionChanged.connect(self._on_selected)
        self._check()

    def answer(self) -> tuple[LabelClass, ...]:
        """Return the classes in the table."""
        return tuple(
            LabelClass(
                self._value(row),
                self._name(row),
                self._color(row),
                self._pieces(row),
                self._no_holes(row),
            )
            for row in range(self.table.rowCount())
        )

    def set_color(self, row: int, color: QColor) -> None:
        """Give a class another colour; an invalid one changes nothing."""
        swatch = self.table.cellWidget(row, _COLOR)
        if color.isValid() and swatch is not None:
            _paint(swatch, color)

    # --- inside ----------------------------------------------------------------------------------

    def _add(self) -> None:
        value = self._next_value()
        self._append(LabelClass(value, f"class {value}", color_of(value)))
        row = self.table.rowCount() - 1
        self.table.selectRow(row)
        item = self.table.item(row, _NAME)
        if item is not None:
            self.table.editItem(item)
        self._check()

    def _remove(self) -> None:
        self.table.removeRow(self.table.currentRow())
        self._check()

    def _move(self, step: int) -> None:
        """Let the selected class and the one above or below it change places."""
        self.table.setFocus()  # which takes what is being typed
        row, classes = self.table.currentRow(), list(self.answer())
        classes[row], classes[row + step] = classes[row + step], classes[row]
        self.table.setRowCount(0)
        for one in classes:
            self._append(one)
        self.table.selectRow(row + step)
        self._check()

    def _list_targets(self) -> None:
        """What the pixels of the selected class can become: another class, or background."""
        self._targets.clear()
        gone = self.table.currentRow()
        for row in range(self.table.rowCount()):
            if row != gone:
                name = self._name(row).replace("&", "&&")  # or it marks a key
                self._targets.addAction(name, partial(self._merge, self._value(row)))
        self._targets.addAction("background", partial(self._merge, BACKGROUND))

    def _merge(self, target: int) -> None:
        """Remove the selected class; what was to become it becomes the target as well."""
        gone = self._value(self.table.currentRow())
        self.becoming = {
            value: target if becomes == gone else becomes
            for value, becomes in self.becoming.items()
        }
        if gone in self._known:
            self.becoming[gone] = target
        self._remove()

    def _append(self, one: LabelClass) -> None:
        row = self.table.rowCount()
        self.table.insertRow(row)
        number = QTableWidgetItem(str(one.value))
        number.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
        number.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
        self.table.setItem(row, _VALUE, number)
        self.table.setItem(row, _NAME, QTableWidgetItem(one.name))
        swatch = QPushButton()
        swatch.setToolTip("Choose another colour")
        swatch.clicked.connect(partial(self._ask_color, one.value))
        _paint(swatch, QColor(*one.color))
        self.table.setCellWidget(row, _COLOR, swatch)
        self.table.setCellWidget(row, _PIECES, _spin_box(one.most_pieces))
        self.table.setItem(row, _NO_HOLES, _check_box(one.no_holes))

    def _ask_color(self, value: int) -> None:
        # Found by value, because rows move when another class is removed.
        row = next(r for r in range(self.table.rowCount()) if self._value(r) == value)
        dialog = QColorDialog(QColor(*self._color(row)), self)
        dialog.setWindowTitle(f"Colour of {self._name(row) or value}")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.colorSelected.connect(partial(self.set_color, row))
        dialog.open()

    def _value(self, row: int) -> int:
        item = self.table.item(row, _VALUE)
        return 0 if item is None else int(item.text())

    def _name(self, row: int) -> str:
        item = self.table.item(row, _NAME)
        return "" if item is None else item.text().strip()

    def _color(self, row: int) -> tuple[int, int, int]:
        swatch = self.table.cellWidget(row, _COLOR)
        color = QColor(swatch.property("color")) if swatch is not None else QColor()
        return color.red(), color.green(), color.blue()

    def _pieces(self, row: int) -> int | None:
        box = self.table.cellWidget(row, _PIECES)
        return (box.value() or None) if isinstance(box, QSpinBox) else None

    def _no_holes(self, row: int) -> bool:
        item = self.table.item(row, _NO_HOLES)
        return item is not None and item.checkState() == Qt.CheckState.Checked

    @property
    def _taken(self) -> set[int]:
        """Values that no new class can have: those of classes that are gone would be its pixels."""
        return self._known | {self._value(row) for row in range(self.table.rowCount())}

    def _next_value(self) -> int:
        """Return the largest value plus one; if that is too large, the smallest free value."""
        taken = self._taken
        after = max(taken, default=0) + 1
        free = (value for value in range(1, MAX_CLASS + 1) if value not in taken)
        return after if after <= MAX_CLASS else next(free)

    def _check(self, item: object = None) -> None:
        names = [self._name(row) for row in range(self.table.rowCount())]
        problem = ""
        if not names:
            problem = "A study needs at least one class."
        elif not all(names):
            problem = "Every class needs a name."
        elif len(set(names)) < len(names):
            problem = "Two classes have the same name."
        self.problem.say(problem)
        if self.ok is not None:
            self.ok.setEnabled(not problem)
        self.add.setEnabled(len(self._taken) < MAX_CLASS)
        row = self.table.currentRow()
        self.merge.setEnabled(row >= 0)
        self.up.setEnabled(not problem and row > 0)
        self.down.setEnabled(not problem and 0 <= row < len(names) - 1)
        self.remove.setEnabled(row >= 0 and self._value(row) not in self.becoming.values())

    def _on_selected(self, selected: QItemSelection, deselected: QItemSelection) -> None:
        self._check()

    def _lay_out(self, buttons: QDialogButtonBox) -> None:
        header, rows = self.table.horizontalHeader(), self.table.verticalHeader()
        if header is not None and rows is not None:
            rows.hide()
            header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
            header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        for column, text in _TOLD.items():
            title = self.table.horizontalHeaderItem(column)
            if title is not None:
                title.setToolTip(text)
        row = QHBoxLayout()
        row.addWidget(self.add)
        row.addWidget(self.remove)
        row.addWidget(self.merge)
        row.addWidget(self.up)
        row.addWidget(self.down)
        row.addStretch()
        layout = QVBoxLayout(self)
        layout.addWidget(self.table)
        layout.addLayout(row)
        layout.addWidget(self.problem)
        layout.addWidget(
            quiet(
                "You can change everything at any time; your saved slices are read with the classes"
                " of now. Exports keep that many pieces and fill"
                " holes, but never change your slices. After you add or remove a class, the next"
                " training starts afresh; your corrections stay."
            )
        )
        layout.addWidget(buttons)


def _spin_box(most_pieces: int | None) -> QSpinBox:
    box = QSpinBox()
    box.setToolTip(_TOLD[_PIECES])
    box.setRange(_ANY, max(_PIECES_SHOWN, most_pieces or _ANY))
    box.setSpecialValueText("any")
    box.setValue(most_pieces or _ANY)
    return box


def _check_box(no_holes: bool) -> QTableWidgetItem:
    item = QTableWidgetItem()
    item.setToolTip(_TOLD[_NO_HOLES])
    item.setFlags(
        Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsUserCheckable
    )
    item.setCheckState(Qt.CheckState.Checked if no_holes else Qt.CheckState.Unchecked)
    return item


def _paint(swatch: QWidget, color: QColor) -> None:
    swatch.setProperty("color", color.name())
    swatch.setStyleSheet(f"background: {color.name()}; border: 1px solid #555; margin: 3px;")

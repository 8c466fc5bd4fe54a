"""How far people agree, pair by pair and class by class."""

from collections.abc import Mapping, Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_mlbseg.project.sharing.agreement import Agreement
from napari_mlbseg.widgets.panels.style import quiet

_COLUMNS = ("People", "Class", "Slices", "Dice", "Distance, mm")
_SIZE = (560, 280)


class AgreementDialog(QDialog):
    """A table of the agreement of each pair of people on each class."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Agreement")
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setHorizontalHeaderLabels(_COLUMNS)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        columns, rows = self.table.horizontalHeader(), self.table.verticalHeader()
        assert columns is not None
        assert rows is not None
        rows.hide()
        columns.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        columns.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        layout = QVBoxLayout(self)
        layout.addWidget(self.table)
        layout.addWidget(
            quiet(
                "Means over slices that both accepted, neither having seen the other's mask. The "
                "distance is the mean between the two outlines."
            )
        )
        self.resize(*_SIZE)

    def show_agreement(self, found: Sequence[Agreement], names: Mapping[int, str]) -> None:
        """Show these means; `names` are those of the classes, by value."""
        self.table.setRowCount(len(found))
        for row, one in enumerate(found):
            distance = "" if one.distance_mm is None else f"{one.distance_mm:.2f}"
            cells = (
                *(" and ".join(one.people), names.get(one.value, str(one.value))),
                *(str(one.slices), f"{one.dice:.3f}", distance),
            )
            for column, text in enumerate(cells):
                item = QTableWidgetItem(text)
                if column > 1:
                    right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    item.setTextAlignment(right)
                self.table.setItem(row, column, item)

"""The list of cases and the progress of each."""

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QRect, Qt, Signal
from qtpy.QtGui import QPainter
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QSizePolicy,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_mlbseg.project.records.slices import SliceState
from napari_mlbseg.widgets.panels.style import STATE_COLORS
from napari_mlbseg.widgets.requests import CaseRow

_COLUMNS = ("Case", "State", "Clean", "Drafts", "Progress")
_PROGRESS = 4
# Header and four rows; more if the window has room.
_HEIGHT = 124


class CasesModel(QAbstractTableModel):
    """Cases as a table."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[CaseRow] = []

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        """One row per case."""
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802
        """One column for each fact about a case."""
        return 0 if parent is not None and parent.isValid() else len(_COLUMNS)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return text, alignment and tooltip of a cell; the whole `CaseRow` for the user role."""
        row = self.rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            done = 100 * (row.clean + row.skipped) / row.slices
            texts = (row.case_id, row.state, str(row.clean), str(row.drafts), f"{done:.0f} %")
            return texts[index.column()]
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column() in (2, 3):
            return Qt.AlignmentFlag.AlignCenter
        if role == Qt.ItemDataRole.ToolTipRole:
            return (
                f"{row.case_id}: {row.clean} clean, {row.drafts} drafts and {row.skipped} skipped"
                f" of {row.slices} slices"
            )
        if role == Qt.ItemDataRole.UserRole:
            return row
        return None

    def headerData(  # noqa: N802
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> Any:
        """Return the titles of the columns."""
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return _COLUMNS[section]
        return None

    def set_rows(self, rows: Sequence[CaseRow]) -> None:
        """Replace all cases."""
        self.beginResetModel()
        self.rows = list(rows)
        self.endResetModel()

    def set_row(self, row: CaseRow) -> None:
        """Update one case."""
        for i, old in enumerate(self.rows):
            if old.case_id == row.case_id:
                self.rows[i] = row
                self.dataChanged.emit(self.index(i, 0), self.index(i, len(_COLUMNS) - 1))


class _ProgressDelegate(QStyledItemDelegate):
    """Draws clean, draft and skipped slices as parts of a bar."""

    def paint(
        self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex
    ) -> None:
        """Draw the bar."""
        row = index.data(Qt.ItemDataRole.UserRole)
        if painter is None or not isinstance(row, CaseRow):
            return
        bar = option.rect.adjusted(4, 0, -4, 0)
        bar = QRect(bar.left(), bar.center().y() - 3, bar.width(), 7)
        painter.fillRect(bar, STATE_COLORS[SliceState.UNTOUCHED])
        left = float(bar.left())
        parts = (
            (row.clean, SliceState.CLEAN),
            (row.drafts, SliceState.DRAFT),
            (row.skipped, SliceState.SKIPPED),
        )
        for count, state in parts:
            width = bar.width() * count / row.slices
            painter.fillRect(QRect(round(left), bar.top(), round(width), 7), STATE_COLORS[state])
            left += width


class CasesPanel(QWidget):
    """The list of cases.

    Signals
    -------
    case_chosen(str)
        Somebody wants to see this case.
    """

    case_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.model = CasesModel()
        self.table = QTableView()
        self.table.setModel(self.model)
        self.table.setToolTip("Cases of the study. Click a case to view and correct it.")
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setShowGrid(False)
        self.table.setItemDelegateForColumn(_PROGRESS, _ProgressDelegate(self.table))
        self._size_columns()
        self.table.clicked.connect(self._on_clicked)
        self.table.activated.connect(self._on_clicked)
        self.table.setMinimumHeight(_HEIGHT)
        self.table.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)

    def set_rows(self, rows: Sequence[CaseRow]) -> None:
        """Show these cases."""
        self.model.set_rows(rows)

    def set_row(self, row: CaseRow) -> None:
        """Update one case."""
        self.model.set_row(row)

    def set_current(self, case_id: str | None) -> None:
        """Mark the case on view."""
        ids = [row.case_id for row in self.model.rows]
        if case_id in ids:
            self.table.selectRow(ids.index(case_id))
        else:
            self.table.clearSelection()

    def _on_clicked(self, index: QModelIndex) -> None:
        self.case_chosen.emit(self.model.rows[index.row()].case_id)

    def _size_columns(self) -> None:
        vertical, header = self.table.verticalHeader(), self.table.horizontalHeader()
        if vertical is None or header is None:
            return
        vertical.hide()
        vertical.setDefaultSectionSize(24)
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(_PROGRESS, QHeaderView.ResizeMode.Fixed)
        self.table.setColumnWidth(_PROGRESS, 84)

"""The list of cases and the progress of each."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QPoint,
    QRect,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from qtpy.QtGui import QPainter
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QInputDialog,
    QMenu,
    QMessageBox,
    QSizePolicy,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_mlbseg.project.records.slices import SliceState
from napari_mlbseg.widgets.panels.style import STATE_COLORS, SUGGESTED, Hinted, Line, legible
from napari_mlbseg.widgets.requests import BLINDLY, RETURNED_TO_ME, STATES, TO_REVIEW, CaseRow

SORTED_BY = Qt.ItemDataRole.UserRole + 1
_ANY_STATE = "any state"
_COLUMNS = ("Case", "State", "Clean", "Drafts", "Progress")
_PROGRESS = 4
_WIDTHS = (74, 44, 46, 84)
"""Of all columns but the first, which gets the rest."""
_NARROWEST = 30
# Header and two rows; more if the window has room.
_HEIGHT = 50


class CasesModel(QAbstractTableModel):
    """Cases as a table."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[CaseRow] = []
        self.suggested: Mapping[str, Collection[int]] = {}

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
            texts = (row.name, row.state, str(row.clean), str(row.drafts), f"{done:.0f} %")
            return texts[index.column()]
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column() in (2, 3):
            return Qt.AlignmentFlag.AlignCenter
        if role == Qt.ItemDataRole.ToolTipRole:
            return (
                f"{row.name}: {row.clean} clean, {row.drafts} drafts and {row.skipped} skipped"
                f" of {row.slices} slices, {len(self.suggested.get(row.case_id, ()))} suggested"
            )
        if role == Qt.ItemDataRole.UserRole:
            return row
        if role == SORTED_BY:
            done = (row.clean + row.skipped) / row.slices
            values = (row.name, row.state, row.clean, row.drafts, done)
            return values[index.column()]
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

    def set_suggested(self, suggested: Mapping[str, Collection[int]]) -> None:
        """Mark the slices of each case that are suggested."""
        if suggested != self.suggested:
            self.suggested = suggested
            last = len(self.rows) - 1
            self.dataChanged.emit(self.index(0, _PROGRESS), self.index(last, _PROGRESS))

    def set_row(self, row: CaseRow) -> None:
        """Update one case."""
        for i, old in enumerate(self.rows):
            if old.case_id == row.case_id:
                self.rows[i] = row
                self.dataChanged.emit(self.index(i, 0), self.index(i, len(_COLUMNS) - 1))


class ShownCases(QSortFilterProxyModel):
    """The cases that are searched for, in the order that is asked for."""

    def __init__(self, cases: CasesModel) -> None:
        super().__init__()
        self._part = self._state = ""
        self._cases = cases
        self.setSourceModel(cases)
        self.setSortRole(SORTED_BY)
        self.setSortLocaleAware(True)

    def search(self, part: str) -> None:
        """Show only cases with this in their names, whatever the case of its letters."""
        self._part = part.casefold().strip()
        self.invalidate()

    def keep(self, state: str) -> None:
        """Show only cases in this state; all for an empty text."""
        self._state = state
        self.invalidate()

    def row(self, place: int) -> CaseRow:
        """Return the case in a row that is shown."""
        return self._cases.rows[self.mapToSource(self.index(place, 0)).row()]

    def case_id(self, place: int) -> str:
        """Return its id."""
        return self.row(place).case_id

    def filterAcceptsRow(self, row: int, parent: QModelIndex) -> bool:  # noqa: N802
        """Whether a case is shown."""
        case = self._cases.rows[row]
        return self._part in case.name.casefold() and case.passes(self._state)


def strip_of(row: CaseRow, width: int) -> list[tuple[int, int, SliceState]]:
    """Return where to draw the slices of a case that was worked on: left, width (px) and state."""
    found = []
    for index, state in row.touched:
        left, right = (round(width * place / row.slices) for place in (index, index + 1))
        found.append((left, max(right - left, 1), state))
    return found


class _ProgressDelegate(QStyledItemDelegate):
    """Draws the slices of a case as a strip, and a tick below those that are suggested."""

    def __init__(self, model: CasesModel, parent: QWidget) -> None:
        super().__init__(parent)
        self._model = model

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
        for left, width, state in strip_of(row, bar.width()):
            part = QRect(bar.left() + left, bar.top(), width, bar.height())
            painter.fillRect(part, STATE_COLORS[state])
        for place in self._model.suggested.get(row.case_id, ()):
            left = bar.left() + round(bar.width() * place / row.slices)
            painter.fillRect(
                QRect(left, bar.bottom() + 2, 2, 3), legible(SUGGESTED, option.palette)
            )


class CasesPanel(QWidget):
    """The list of cases.

    Signals
    -------
    case_chosen(str)
        Somebody wants to see this case.
    rename_asked(str, str)
        A case is to have this name.
    relabel_asked(str, Path)
        A case is to have the labels of this file.
    remove_asked(str), restore_asked(str)
        A case, by its id, is to be removed; a removed one, by its name, is to come back.
    """

    case_chosen = Signal(str)
    rename_asked = Signal(str, str)
    relabel_asked = Signal(str, object)
    remove_asked = Signal(str)
    restore_asked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.model = CasesModel()
        self.shown = ShownCases(self.model)
        self.search = Hinted("Part of a name")
        self.search.setClearButtonEnabled(True)
        self.search.setToolTip("Show only the cases with this in their names")
        self.search.textChanged.connect(self.shown.search)
        self.search.textChanged.connect(lambda _: self.set_current(self._current))
        self.state = QComboBox()
        self.state.addItems((_ANY_STATE, *STATES, TO_REVIEW, RETURNED_TO_ME, BLINDLY))
        self.state.setToolTip("Show only the cases in this state, or with slices to see to")
        self.state.currentTextChanged.connect(
            lambda text: self.shown.keep("" if text == _ANY_STATE else text)
        )
        self.state.currentTextChanged.connect(lambda _: self.set_current(self._current))
        self.summary = Line("How far the study has come")
        self._current: str | None = None
        self._removed: Sequence[str] = ()
        self._can_change = False
        self.table = QTableView()
        self.table.setModel(self.shown)
        self.table.setSortingEnabled(True)
        self.table.sortByColumn(-1, Qt.SortOrder.AscendingOrder)  # in the order of the study
        self.table.setToolTip("Cases of the study. Click a case to view and correct it.")
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setShowGrid(False)
        self.table.setItemDelegateForColumn(_PROGRESS, _ProgressDelegate(self.model, self.table))
        self._size_columns()
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.table.customContextMenuRequested.connect(self._show_menu)
        self.table.clicked.connect(self._on_clicked)
        self.table.activated.connect(self._on_clicked)
        self.table.setMinimumHeight(_HEIGHT)
        self.table.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.setSpacing(4)
        filters = QHBoxLayout()
        filters.addWidget(self.search, 2)
        filters.addWidget(self.state, 1)
        layout.addLayout(filters)
        layout.addWidget(self.table)
        layout.addWidget(self.summary)

    def set_rows(self, rows: Sequence[CaseRow]) -> None:
        """Show these cases."""
        self.model.set_rows(rows)
        self.search.clear()
        self.state.setCurrentIndex(0)

    def set_row(self, row: CaseRow) -> None:
        """Update one case."""
        self.model.set_row(row)

    def set_removed(self, names: Sequence[str], *, writable: bool) -> None:
        """Offer to restore these cases, and to change the others, if the study can be changed."""
        self._removed, self._can_change = names, writable

    def ask_name(self, row: CaseRow) -> QInputDialog:
        """Ask for another name of a case."""
        dialog = QInputDialog(self)
        dialog.setWindowTitle("Rename")
        dialog.setLabelText(f"Name of {row.name}:")
        dialog.setTextValue(row.name)
        dialog.textValueSelected.connect(lambda name: self.rename_asked.emit(row.case_id, name))
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()
        return dialog

    def ask_labels(self, row: CaseRow) -> None:
        """Ask for a file with better rough labels of a case."""
        file, _ = QFileDialog.getOpenFileName(self, f"Rough labels of {row.name}")
        if file:
            self.relabel_asked.emit(row.case_id, Path(file))

    def ask_remove(self, row: CaseRow) -> QMessageBox:
        """Ask whether a case is to be removed."""
        box = QMessageBox(self)
        box.setWindowTitle("Remove")
        box.setText(f"Take {row.name} out of the study?")
        box.setInformativeText("Everything of it is kept, and the same menu brings it back.")
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.addButton("Remove", QMessageBox.ButtonRole.AcceptRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        box.accepted.connect(lambda: self.remove_asked.emit(row.case_id))
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()
        return box

    def first_of(self, case_id: str) -> int | None:
        """The first slice of a case that the filter asks for; None for a filter of cases."""
        row = next((row for row in self.model.rows if row.case_id == case_id), None)
        wanted = self.state.currentText()
        if row is None or wanted not in (RETURNED_TO_ME, BLINDLY):
            return None
        return next(iter(row.returned if wanted == RETURNED_TO_ME else row.blind), None)

    def set_current(self, case_id: str | None) -> None:
        """Mark the case on view."""
        self._current = case_id
        place = self._place()
        if place is None:
            self.table.clearSelection()
        else:
            self.table.selectRow(place)

    def step(self, by: int) -> None:
        """Choose the next case (1) or the previous one (-1) of those shown, in their order."""
        place, count = self._place(), self.shown.rowCount()
        wanted = (0 if by > 0 else count - 1) if place is None else place + by
        if 0 <= wanted < count:
            self.case_chosen.emit(self.shown.case_id(wanted))

    def _place(self) -> int | None:
        ids = [self.shown.case_id(place) for place in range(self.shown.rowCount())]
        return ids.index(self._current) if self._current in ids else None

    def _show_menu(self, at: QPoint) -> None:
        """Offer what can be done with the case under the pointer, and with removed ones."""
        menu = QMenu(self)
        index = self.table.indexAt(at)
        if index.isValid():
            row = self.shown.row(index.row())
            menu.addAction("Rename…", partial(self.ask_name, row))
            menu.addAction("Take labels from a file…", partial(self.ask_labels, row))
            menu.addAction("Remove…", partial(self.ask_remove, row))
        for name in self._removed:
            shown = name.replace("&", "&&")  # or it marks a key
            menu.addAction(f"Restore {shown}", partial(self.restore_asked.emit, name))
        for action in menu.actions():
            action.setEnabled(self._can_change)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        where = self.table.viewport()
        if where is not None:
            menu.popup(where.mapToGlobal(at))

    def _on_clicked(self, index: QModelIndex) -> None:
        self.case_chosen.emit(self.shown.case_id(index.row()))

    def _size_columns(self) -> None:
        vertical, header = self.table.verticalHeader(), self.table.horizontalHeader()
        if vertical is None or header is None:
            return
        vertical.hide()
        vertical.setDefaultSectionSize(24)
        header.setHighlightSections(False)
        header.setMinimumSectionSize(_NARROWEST)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column, width in enumerate(_WIDTHS, 1):
            self.table.setColumnWidth(column, width)

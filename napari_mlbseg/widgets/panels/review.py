"""The slice under review, what is to be said of it, and the list of slices to review."""

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_mlbseg.project.records.reviews import Verdict
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.widgets.panels.slice_strip import SliceStrip
from napari_mlbseg.widgets.panels.style import Hinted, button, enable, heading, plain_tip, quiet
from napari_mlbseg.widgets.requests import RETURNED_TO_ME, TO_REVIEW, ReviewRow
from napari_mlbseg.widgets.shortcuts import APPROVE, NEXT_TO_REVIEW, SEND_BACK

_COLUMNS = ("Case", "Slice", "Review", "Accepted by")
_ALL = "all"


class ReviewPanel(QWidget):
    """Approves slices and sends them back.

    Signals
    -------
    verdict_given(Verdict, str, bool)
        A verdict on the slice on view, with a note; or on all of its case that await it.
    next_asked()
        The next slice to review is to be shown.
    chosen(SliceKey)
        A slice to go to.
    """

    verdict_given = Signal(object, str, bool)
    next_asked = Signal()
    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.title, self.said = heading("Review"), quiet()
        self.strip = SliceStrip()
        self.note = Hinted("Note; needed to send a slice back")
        self.note.setToolTip("Whoever accepted the slice reads it, and so do log and exports")
        self.whole = QCheckBox("All of this case that await my review")
        self.whole.setToolTip("The next verdict is on all of them, not on the slice on view alone")
        self.approve = button(APPROVE.text, APPROVE.tooltip, lambda: self.give(Verdict.APPROVED))
        self.send_back = button(
            SEND_BACK.text, SEND_BACK.tooltip, lambda: self.give(Verdict.RETURNED)
        )
        self.next = button(NEXT_TO_REVIEW.text, NEXT_TO_REVIEW.tooltip, self.next_asked.emit)
        self.filter = QComboBox()
        self.filter.addItems((TO_REVIEW, RETURNED_TO_ME, _ALL))
        self.filter.setToolTip("Which slices to list")
        self.filter.currentTextChanged.connect(lambda _: self._fill())
        self.count = quiet()
        self.table = _table()
        self.table.cellClicked.connect(lambda row, _: self.chosen.emit(self._shown[row].key))
        self._rows: Sequence[ReviewRow] = ()
        self._shown: list[ReviewRow] = []
        self._lay_out()
        self.show_slice("Review", "", may_review=False)

    def give(self, verdict: Verdict) -> None:
        """Give a verdict, as its button does."""
        self.verdict_given.emit(verdict, self.note.text(), self.whole.isChecked())

    def given(self) -> None:
        """Begin anew: what was said is saved."""
        self.note.clear()
        self.whole.setChecked(False)

    def show_slice(self, title: str, said: str, *, may_review: bool) -> None:
        """Show which slice is on view and what was said of it."""
        self.title.setText(title)
        self.said.setText(said)
        enable([self.approve, self.send_back, self.note], may_review or self.whole.isChecked())

    def show_states(self, states: Sequence[SliceState], current: int) -> None:
        """Show the slices of the case along the axis on view."""
        self.strip.set_states(states)
        self.strip.set_current(current)

    def set_rows(self, rows: Sequence[ReviewRow]) -> None:
        """List these slices, as far as the filter says so."""
        self._rows = rows
        self._fill()

    def set_current(self, key: SliceKey | None) -> None:
        """Select the slice on view, if it is in the list."""
        keys = [row.key for row in self._shown]
        if key in keys:
            self.table.selectRow(keys.index(key))
        else:
            self.table.clearSelection()

    def _fill(self) -> None:
        wanted = self.filter.currentText()
        self._shown = [row for row in self._rows if wanted in (_ALL, *row.tags)]
        self.table.setRowCount(len(self._shown))
        for place, row in enumerate(self._shown):
            cells = (row.case, str(row.key.index), row.review, row.accepted_by)
            for column, text in enumerate(cells):
                item = QTableWidgetItem(text)
                item.setToolTip(plain_tip(row.note))
                self.table.setItem(place, column, item)
        waiting = sum(TO_REVIEW in row.tags for row in self._rows)
        approved = sum(row.review == Verdict.APPROVED for row in self._rows)
        self.count.setText(f"To review: {waiting}, approved: {approved}")

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        verdicts = QHBoxLayout()
        for one in (self.approve, self.send_back, self.next):
            one.setMinimumHeight(32)
            verdicts.addWidget(one)
        above: list[QWidget] = [self.title, self.said, self.strip, self.note, self.whole]
        below: list[QWidget] = [self.filter, self.table, self.count]
        for widget in above:
            layout.addWidget(widget)
        layout.addLayout(verdicts)
        for widget in below:
            layout.addWidget(widget)


def _table() -> QTableWidget:
    made = QTableWidget(0, len(_COLUMNS))
    made.setHorizontalHeaderLabels(_COLUMNS)
    made.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    made.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    made.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    made.setShowGrid(False)
    rows, columns = made.verticalHeader(), made.horizontalHeader()
    assert rows is not None
    assert columns is not None
    rows.hide()
    columns.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    columns.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    return made

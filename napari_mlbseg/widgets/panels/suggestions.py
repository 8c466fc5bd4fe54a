"""The list of slices that are worth correcting next; click one to go there."""

from collections.abc import Mapping, Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_mlbseg.engine.predictions.suggestions import Suggestion
from napari_mlbseg.engine.wording import of_end_to_mark
from napari_mlbseg.project.records.extents import End
from napari_mlbseg.project.records.slices import NEVER_LOOKED_AT, SliceKey
from napari_mlbseg.widgets.panels.style import plain_tip, quiet

_COLUMNS = ("Case", "Slice", "Wrong, mm²")
_COLUMN_TIPS = (
    "Case of the study",
    "Slice along the axis of the case",
    "Area of the slice whose label is expected to be wrong",
)
UNSEEN = "\N{WHITE CIRCLE}"
"""Marks a slice that was never looked at."""
_NO_NAMES: Mapping[int, str] = {}
_UNKNOWN = "\N{EN DASH}"


class SuggestionsPanel(QWidget):
    """A short list of suggestions, best first.

    Signals
    -------
    chosen(SliceKey)
        A slice to go to.
    """

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.note = quiet()
        self._keys: list[SliceKey] = []
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setHorizontalHeaderLabels(_COLUMNS)
        for column, tip in enumerate(_COLUMN_TIPS):
            item = self.table.horizontalHeaderItem(column)
            assert item is not None
            item.setToolTip(tip)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.table.setShowGrid(False)
        rows, columns = self.table.verticalHeader(), self.table.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.hide()
        rows.setDefaultSectionSize(22)
        columns.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        columns.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.cellClicked.connect(lambda row, _: self.chosen.emit(self._keys[row]))
        layout = QVBoxLayout(self)
        layout.setSpacing(4)
        layout.addWidget(self.note)
        layout.addWidget(self.table)

    def set_suggestions(
        self,
        best: Sequence[Suggestion],
        *,
        names: Mapping[int, str] = _NO_NAMES,
        cases: Mapping[str, str] | None = None,
        looking: bool = False,
        problem: str = "",
    ) -> None:
        """Show these slices, and whether a search is running, or why it failed.

        `names` are those of the classes, by value, and `cases` those of the cases, by id.
        """
        self._keys = [one.key for one in best]
        self.table.setRowCount(len(best))
        self.table.clearContents()
        self.table.clearSpans()
        for row, one in enumerate(best):
            cells = _cells(one, names, (cases or {}).get(one.key.case_id, one.key.case_id))
            if len(cells) == 1:
                self.table.setSpan(row, 0, 1, len(_COLUMNS))
            for column, text in enumerate(cells):
                item = QTableWidgetItem(text)
                item.setToolTip(plain_tip(why(one, names)))
                if column:
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                self.table.setItem(row, column, item)
        self.note.setText(_note(best, looking=looking, problem=problem))

    def set_current(self, key: SliceKey | None) -> None:
        """Select the slice on view, if it is in the list."""
        if key in self._keys:
            self.table.selectRow(self._keys.index(key))
        else:
            self.table.clearSelection()


def _cells(one: Suggestion, names: Mapping[int, str], case: str) -> tuple[str, ...]:
    """The texts of a row; an end to mark takes its whole width."""
    if one.asks_for is not None:
        return (f"{case} {one.key.index}: {_asked(one, names)}",)
    area = _UNKNOWN if one.doubtful_mm2 is None else f"{one.doubtful_mm2:.0f}"
    return case, str(one.key.index), f"{UNSEEN} {area}" if one.never_looked_at else area


def _asked(one: Suggestion, names: Mapping[int, str]) -> str:
    assert one.asks_for is not None
    named = [names.get(value, str(value)) for value in one.classes]
    return of_end_to_mark(one.asks_for, named)


def why(one: Suggestion, names: Mapping[int, str] = _NO_NAMES) -> str:
    """Say in a sentence or two why a slice is suggested."""
    if one.asks_for is not None:
        key = "Shift+B" if one.asks_for is End.FIRST else "Shift+E"
        return (
            f"{_asked(one, names).capitalize()}: nothing says so yet. Look around this slice, go "
            f"to the last one that shows it, choose the class and press {key}. Nothing teaches "
            "more for a single key."
        )
    unseen = f"{NEVER_LOOKED_AT.capitalize()}: no clean slice nearby. "
    return (unseen if one.never_looked_at else "") + _what_it_adds(one)


def _what_it_adds(one: Suggestion) -> str:
    if one.gain is None:
        return (
            "Nothing has been predicted yet, so suggestions are spread evenly over the cases and "
            "along each of them."
        )
    taught = (
        f"correcting it adds {one.gain:.1%} of what the cohort can teach, on top of the clean "
        "slices and the suggestions above"
    )
    if one.doubtful_mm2 is None:
        return f"It is not known how much of its label is wrong, but {taught}."
    return f"About {one.doubtful_mm2:.0f} mm² of its label is expected to be wrong, and {taught}."


def _note(best: Sequence[Suggestion], *, looking: bool, problem: str) -> str:
    if problem:
        return f"No new suggestions. {problem}"
    if looking:
        return "Looking for better suggestions…" if best else "Looking for suggestions…"
    if not best:
        return "Nothing to suggest."
    marked = f" {UNSEEN} {NEVER_LOOKED_AT}." if any(one.never_looked_at for one in best) else ""
    how = "Slices whose correction would teach the network most"
    if best[-1].gain is None:
        how = "Spread evenly until the first prediction"
    if best[0].asks_for is not None:
        how = "First mark where classes begin and end; then correct slices"
    return f"{how}, best first.{marked} Click a slice to go there."

"""Before an import: choose series and frames. After it: list what was left out."""

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_mlbseg.formats.source import Choice
from napari_mlbseg.project.importing.cohort import Imported
from napari_mlbseg.project.importing.offers import Offer
from napari_mlbseg.widgets.panels.style import plain_tip, quiet

_COLUMNS = ("File or folder", "Series", "Modality", "Size", "Spacing (mm)", "Frame")
_FRAME = 5
_TICKED, _UNTICKED = Qt.CheckState.Checked, Qt.CheckState.Unchecked


class ChoicesDialog(QDialog):
    """A table of series and frames, any number of which can be ticked.

    For a study, all frames may be taken as channels of one image, see `as_channels`.
    """

    def __init__(
        self, offers: Sequence[Offer], parent: QWidget | None = None, *, for_study: bool = False
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Which series and frames?")
        self.resize(760, 340)
        self._offers = tuple(offers)
        self.table = _table(_COLUMNS, len(self._offers))
        self.table.setToolTip("Each ticked row becomes a case")
        likely = self._likely()
        for row, offer in enumerate(self._offers):
            self._fill(row, offer, ticked=row in likely)
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self.ok = buttons.button(QDialogButtonBox.StandardButton.Ok)
        self.table.itemChanged.connect(self._check)
        layout = QVBoxLayout(self)
        layout.addWidget(
            quiet(
                "Some folders hold several series, or some files several frames (time points or"
                " channels). A case is one frame of one series: tick what to import."
            )
        )
        self.as_channels = QCheckBox("All frames of a file are channels of one image")
        self.as_channels.setToolTip(
            "Such as four MR sequences: every file becomes one case, with all its frames"
        )
        self.as_channels.setVisible(for_study and any(one.frames > 1 for one in self._offers))
        self.as_channels.toggled.connect(self._check)
        layout.addWidget(self.table)
        layout.addWidget(self.as_channels)
        layout.addWidget(buttons)
        self._check()

    def answer(self) -> dict[Path, list[Choice]]:
        """Return the ticked choices of every path; an empty list if there are none."""
        chosen: dict[Path, list[Choice]] = {offer.path: [] for offer in self._offers}
        for row, offer in enumerate(self._offers):
            if self._ticked(row):
                box = self.table.cellWidget(row, _FRAME)
                frame = box.value() if isinstance(box, QSpinBox) else None
                several = sum(o.path == offer.path for o in self._offers) > 1
                series = offer.series if several else None
                chosen[offer.path].append(Choice(frame, series))
        return chosen

    def tick(self, row: int, on: bool) -> None:
        """Tick or untick a row."""
        item = self.table.item(row, 0)
        if item is not None:
            item.setCheckState(_TICKED if on else _UNTICKED)

    def _likely(self) -> set[int]:
        """Return the row of the series with most slices, of every path: localizers have few."""
        best: dict[Path, int] = {}
        for row, offer in enumerate(self._offers):
            known = best.get(offer.path)
            longer = known is None or offer.shape[2] > self._offers[known].shape[2]
            if not offer.problem and longer:
                best[offer.path] = row
        return set(best.values())

    def _ticked(self, row: int) -> bool:
        item = self.table.item(row, 0)
        return item is not None and item.checkState() == _TICKED

    def _check(self, *_: object) -> None:
        together = self.as_channels.isChecked()
        self.table.setEnabled(not together)
        if self.ok is not None:
            ticked = any(self._ticked(row) for row in range(len(self._offers)))
            self.ok.setEnabled(together or ticked)

    def _fill(self, row: int, offer: Offer, *, ticked: bool) -> None:
        texts = (
            offer.path.name,
            offer.series or "",
            offer.modality,
            " × ".join(map(str, offer.shape)),
            " × ".join(f"{step:.3g}" for step in offer.spacing_mm),
            offer.problem and "cannot be imported",
        )
        for column, text in enumerate(texts):
            item = QTableWidgetItem(text)
            item.setToolTip(plain_tip(offer.problem or str(offer.path)))
            item.setFlags(
                Qt.ItemFlag.NoItemFlags
                if offer.problem
                else Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable
            )
            if column == 0:
                item.setCheckState(_TICKED if ticked else _UNTICKED)
            self.table.setItem(row, column, item)
        if offer.frames > 1 and not offer.problem:
            box = QSpinBox()
            box.setRange(0, offer.frames - 1)
            box.setSuffix(f" of 0 to {offer.frames - 1}")
            box.setToolTip("Time point or channel to import as the case")
            self.table.setCellWidget(row, _FRAME, box)


class ProblemsDialog(QDialog):
    """Lists files that an import left out or found unusual, each with the reason."""

    def __init__(self, imported: Imported, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        left_out, unusual = len(imported.failures), len(imported.notes)
        self.setWindowTitle("Import report")
        self.resize(760, 300)
        rows = [(f, "left out") for f in imported.failures] + [(n, "note") for n in imported.notes]
        self.table = _table(("File", "", "Reason"), len(rows))
        self.table.setToolTip("Select rows and press Ctrl+C to copy them elsewhere")
        for row, (found, kind) in enumerate(rows):
            for column, text in enumerate((found.path.name, kind, found.reason)):
                item = QTableWidgetItem(text)
                item.setToolTip(plain_tip(str(found.path)))
                item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
                self.table.setItem(row, column, item)
        header = self.table.horizontalHeader()
        if header is not None:
            header.setSectionResizeMode(2, QHeaderView.ResizeMode.Stretch)
        self.table.setWordWrap(True)
        self.table.resizeRowsToContents()
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(
            quiet(
                f"Imported: {len(imported.cases)}. Left out: {left_out}. Notes: {unusual}. Files"
                " that were left out did not change the study."
            )
        )
        layout.addWidget(self.table)
        layout.addWidget(buttons)


def _table(columns: Sequence[str], rows: int) -> QTableWidget:
    table = QTableWidget(rows, len(columns))
    table.setHorizontalHeaderLabels(list(columns))
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    vertical, header = table.verticalHeader(), table.horizontalHeader()
    if vertical is not None and header is not None:
        vertical.hide()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setStretchLastSection(True)
    return table

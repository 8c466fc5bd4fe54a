"""The study panel: the open study, the case on view, and creating and opening studies."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAction,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QMessageBox,
    QProgressBar,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_mlbseg.project.importing.cohort import Imported
from napari_mlbseg.project.importing.offers import Offer
from napari_mlbseg.widgets.panels.add_cases import AddCasesDialog
from napari_mlbseg.widgets.panels.choices_dialog import ChoicesDialog, ProblemsDialog
from napari_mlbseg.widgets.panels.folder_field import FolderField, images_field, labels_field
from napari_mlbseg.widgets.panels.style import (
    Elided,
    Hinted,
    arrow,
    button,
    enable,
    plain_tip,
    quiet,
)
from napari_mlbseg.widgets.requests import NewStudy

SUFFIX = ".mlbseg"
_LARGE = 40


class StudyPanel(QWidget):
    """The top of the dock.

    Signals
    -------
    case_asked(int)
        The next case of the list (1) or the previous one (-1) is wanted.
    list_asked()
        The list of cases is wanted.
    sample_requested(Path)
        Make a study of phantoms in this folder, and open it.
    open_requested(Path, bool)
        Open this study; True to open it for writing.
    create_requested(NewStudy)
        Create a study from folders.
    cases_requested(Path, Path or None)
        Add the images of a folder, with labels of another one, to the open study.
    report_requested(Path)
        Write a page about the study to this file.
    agreement_requested()
        Show how far people agree.
    teaching_chosen(bool)
        Only approved slices are to teach, or all that are accepted.
    conflicts_requested()
        Show slices that several people accepted with different masks.
    close_requested()
        Close the open study.
    cancel_requested()
        Cancel the running job.
    tour_asked()
        Show what is where in the dock.
    """

    case_asked = Signal(int)
    list_asked = Signal()
    sample_requested = Signal(object)
    open_requested = Signal(object, bool)
    create_requested = Signal(object)
    cases_requested = Signal(object, object)
    report_requested = Signal(object)
    agreement_requested = Signal()
    teaching_chosen = Signal(bool)
    conflicts_requested = Signal()
    close_requested = Signal()
    cancel_requested = Signal()
    tour_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._asked: NewStudy | None = None
        self.name = quiet()
        self.place = quiet()
        self.new = button("New study…", "Create a study from a folder of images", self._ask_new)
        self.open = button("Open study…", f"Open a study (a folder *{SUFFIX})", self.ask_open)
        self.sample = button(
            "Try it on phantoms…", "Make a study of four phantoms in a folder", self.ask_sample
        )
        self.case = Elided("The case on view. Click for the list of cases.", self.list_asked.emit)
        self.previous = arrow("◀", "Previous case of the list", lambda: self.case_asked.emit(-1))
        self.next = arrow("▶", "Next case of the list", lambda: self.case_asked.emit(1))
        self.menu = QMenu(self)
        self.add_cases = QAction("Add cases…", self)
        self.report = QAction("Report…", self)
        self.conflicts = QAction("Accepted differently…", self)
        self.agreement = QAction("Agreement…", self)
        self.only_approved = QAction("Only approved slices teach", self)
        self.close_study = QAction("Close study", self)
        self.tour = QAction("Tour", self)
        self._more = self._menu_button()
        self.progress = QProgressBar()
        self.progress.setToolTip("Progress of what is under way")
        self.cancel = button("Cancel", "Cancel what is under way", self.cancel_requested.emit)
        self.cancel.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self._lay_out()
        self.show_cancel(False)
        self.set_study(None)
        self.set_case(None)
        self.show_busy("", 0, 0)

    def set_study(self, path: Path | None, *, cases: int = 0, writable: bool = True) -> None:
        """Show which study is open."""
        there = path is not None
        self.close_study.setEnabled(there)
        self.report.setEnabled(there)
        self.add_cases.setEnabled(there and writable)
        self.agreement.setEnabled(there)
        self.only_approved.setEnabled(there and writable)
        self.tour.setEnabled(there)
        self._beginning.setVisible(not there)
        self._head.setVisible(there)
        if path is None:
            self.name.setText("No study open")
            self.place.setText("")
            return
        self._asked = None  # it worked
        mode = "" if writable else ", read-only"
        self.name.setText(path.stem)
        self.place.setText(f"{cases} {'case' if cases == 1 else 'cases'}{mode}")
        self.name.setToolTip(plain_tip(str(path)))

    def set_teaching(self, *, only_approved: bool) -> None:
        """Show whether only approved slices teach."""
        self.only_approved.setChecked(only_approved)

    def set_case(self, name: str | None) -> None:
        """Show which case is on view."""
        self.case.say(name or "No case on view")

    def show_busy(self, text: str, done: int, total: int) -> None:
        """Show a long operation; an empty text ends it."""
        self.progress.setVisible(bool(text))
        self.progress.setRange(0, total)
        self.progress.setValue(done)
        self.progress.setFormat(f"{text}  %v of %m" if total else text)
        enable([self.new, self.open, self.sample], not text)
        for action in self._ways_in:
            action.setEnabled(not text)

    def show_cancel(self, possible: bool) -> None:
        """Show or hide the button that cancels an import."""
        self.cancel.setVisible(possible)

    def ask_open(self) -> None:
        """Ask for the folder of a study to open."""
        folder = QFileDialog.getExistingDirectory(self, f"Open a study (*{SUFFIX})")
        if folder:
            self.open_requested.emit(Path(folder), True)

    def ask_sample(self) -> None:
        """Ask for a folder to keep a study of phantoms in."""
        folder = QFileDialog.getExistingDirectory(self, "Folder to keep the phantoms in")
        if folder:
            self.sample_requested.emit(Path(folder))

    def ask_choices(self, new: NewStudy, offers: Sequence[Offer]) -> ChoicesDialog:
        """Ask which series and frames to import, then create the study."""
        dialog = ChoicesDialog(offers, self, for_study=True)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)

        def answered() -> None:
            together = dialog.as_channels.isChecked()
            choices = {} if together else dialog.answer()
            self.create_requested.emit(replace(new, choices=choices, frames_are_channels=together))

        dialog.accepted.connect(answered)
        dialog.open()
        return dialog

    def list_problems(self, imported: Imported) -> ProblemsDialog | None:
        """List files that an import left out or found unusual."""
        if not (imported.failures or imported.notes):
            return None
        dialog = ProblemsDialog(imported, self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.show()
        return dialog

    def ask_read_only(self, path: Path, reason: str) -> QMessageBox:
        """Offer to open a study read-only that is in use elsewhere."""
        box = QMessageBox(self)
        box.setWindowTitle("Study in use")
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setText(reason)
        box.setInformativeText("You can open it read-only, without painting or training.")
        read = box.addButton("Open read-only", QMessageBox.ButtonRole.AcceptRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)

        def answered(chosen: object) -> None:
            if chosen is read:
                self.open_requested.emit(path, False)

        box.buttonClicked.connect(answered)
        box.open()
        return box

    def _ask_new(self) -> None:
        dialog = NewStudyDialog(self)
        if self._asked is not None:  # it failed: mend what was wrong, keep the rest
            dialog.fill_in(self._asked)
        dialog.accepted.connect(lambda: self._create(dialog.answer()))
        dialog.open()

    def _ask_cases(self) -> None:
        dialog = AddCasesDialog(self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.accepted.connect(lambda: self.cases_requested.emit(*dialog.answer()))
        dialog.open()

    def _ask_report(self) -> None:
        name, _ = QFileDialog.getSaveFileName(
            self, "Write a report", f"{self.name.text()}.html", "Pages (*.html)"
        )
        if name:
            self.report_requested.emit(Path(name))

    def _create(self, new: NewStudy) -> None:
        self._asked = new
        self.create_requested.emit(new)

    def _menu_button(self) -> QToolButton:
        """Return a button with the menu of what concerns the whole study."""
        self._ways_in = [QAction(each.text(), self) for each in (self.new, self.open)]
        for action, ask in zip(self._ways_in, (self._ask_new, self.ask_open), strict=True):
            action.triggered.connect(lambda _=False, ask=ask: ask())
            self.menu.addAction(action)
        self.menu.addSeparator()
        self.add_cases.setToolTip("Add the images of a folder to this study")
        self.add_cases.triggered.connect(lambda: self._ask_cases())
        self.menu.addAction(self.add_cases)
        self.report.setToolTip("Write a page: progress, effort, Dice, slices, settings")
        self.report.triggered.connect(lambda: self._ask_report())
        self.menu.addAction(self.report)
        self.conflicts.setToolTip("Slices that several people accepted with different masks")
        self.conflicts.triggered.connect(lambda: self.conflicts_requested.emit())
        self.conflicts.setVisible(False)
        self.menu.addAction(self.conflicts)
        self.agreement.setToolTip("How far people agree on slices that they corrected blindly")
        self.agreement.triggered.connect(lambda: self.agreement_requested.emit())
        self.menu.addAction(self.agreement)
        self.only_approved.setToolTip(
            "The network learns only from slices that a reviewer approved"
        )
        self.only_approved.setCheckable(True)
        self.only_approved.triggered.connect(self.teaching_chosen)
        self.menu.addAction(self.only_approved)
        self.close_study.setToolTip("Save, stop the training and close the study")
        self.close_study.triggered.connect(lambda: self.close_requested.emit())
        self.menu.addAction(self.close_study)
        self.tour.setToolTip("Show what is where in the dock")
        self.tour.triggered.connect(lambda: self.tour_asked.emit())
        self.menu.addAction(self.tour)
        made = arrow(
            "☰",
            "New study, open one, add cases, report, what teaches, close, tour",
            lambda: None,
        )
        made.setMenu(self.menu)
        made.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        return made

    def _lay_out(self) -> None:
        about = QHBoxLayout()
        about.addWidget(self.name, 1)
        about.addWidget(self.place)
        # A long name is cut off instead of widening the dock.
        self.name.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.name.setWordWrap(False)
        self.place.setWordWrap(False)
        self._head, self._beginning = QWidget(), QWidget()
        row = _row(self._head)
        row.addWidget(self.previous)
        row.addWidget(self.case, 1)
        row.addWidget(self.next)
        row.addWidget(self._more)
        column = QVBoxLayout(self._beginning)
        column.setContentsMargins(0, 12, 0, 12)
        column.setSpacing(8)
        column.addWidget(
            quiet(
                "Correct a few slices of rough segmentations: a network learns from them and mends"
                " the others."
            )
        )
        for each in (self.new, self.open, self.sample):
            each.setMinimumHeight(_LARGE)
            column.addWidget(each)
        under_way = QHBoxLayout()
        under_way.setSpacing(4)
        under_way.addWidget(self.progress, 1)
        under_way.addWidget(self.cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(about)
        layout.addWidget(self._head)
        layout.addWidget(self._beginning)
        layout.addLayout(under_way)


def _row(inside: QWidget) -> QHBoxLayout:
    row = QHBoxLayout(inside)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(4)
    return row


class NewStudyDialog(QDialog):
    """Asks for the folders to create a study from."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("New study")
        self.setMinimumWidth(520)
        self.images, self.labels = images_field(), labels_field()
        self.folder = FolderField("Folder to create the study in")
        self.name = QLineEdit("my study")
        self.name.setToolTip("Name of the study and of its folder")
        self.classes = Hinted("left atrium, scar")
        self.classes.setToolTip(
            "Names of the classes for the values 1, 2, … in this order, separated by commas."
            " Optional: without names, the classes come from the label files; without label files"
            " there is one class."
        )
        form = QFormLayout()
        form.addRow("Images", self.images)
        form.addRow("Initial labels (optional)", self.labels)
        form.addRow("Classes", self.classes)
        form.addRow("Save the study in", self.folder)
        form.addRow("Name", self.name)
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self.ok = buttons.button(QDialogButtonBox.StandardButton.Ok)
        for edit in (self.images.text, self.folder.text, self.name):
            edit.textChanged.connect(self._check)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(quiet("The images are copied into the study; your files are not changed."))
        layout.addWidget(buttons)
        self._check()

    def answer(self) -> NewStudy:
        """Return what was filled in."""
        labels = self.labels.text.text().strip()
        path = Path(self.folder.text.text().strip()) / f"{self.name.text().strip()}{SUFFIX}"
        images = Path(self.images.text.text().strip())
        classes = self.classes.text().strip()
        return NewStudy(path, images, Path(labels) if labels else None, classes or None)

    def fill_in(self, new: NewStudy) -> None:
        """Show an earlier answer, to be changed."""
        self.images.text.setText(str(new.images))
        self.labels.text.setText(str(new.labels or ""))
        self.classes.setText(new.classes or "")
        self.folder.text.setText(str(new.path.parent))
        self.name.setText(new.path.stem)

    def _check(self) -> None:
        needed = (self.images.text, self.folder.text, self.name)
        if self.ok is not None:
            self.ok.setEnabled(all(edit.text().strip() for edit in needed))

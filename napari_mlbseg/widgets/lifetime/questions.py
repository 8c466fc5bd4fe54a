"""Questions that are asked before anything could be lost; none of them blocks the event loop."""

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QDialog,
    QFileDialog,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_mlbseg.project.rescue import Rescue
from napari_mlbseg.project.rescue_files import RESCUE_SUFFIX
from napari_mlbseg.widgets.case.saving import slices_in_words
from napari_mlbseg.widgets.keeping.holding import Unsaved
from napari_mlbseg.widgets.lifetime.rescues import FoundRescue, in_words
from napari_mlbseg.widgets.panels.style import plain, quiet

_WIDTH = 460


class Question(QDialog):
    """A text above a column of answers; closing the dialog gives the last answer.

    Attributes
    ----------
    answers
        The buttons by their texts.
    """

    def __init__(self, title: str, text: str, parent: QWidget | None) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowModality(Qt.WindowModality.WindowModal)
        self.setMinimumWidth(_WIDTH)
        self.text = plain(text)
        self.text.setWordWrap(True)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.answers: dict[str, QPushButton] = {}
        self._column = QVBoxLayout(self)
        self._column.setSpacing(8)
        self._column.addWidget(self.text)

    def add(self, text: str, chosen: Callable[[], object], explained: str = "") -> None:
        """Add an answer; the first one is the default, Escape chooses the last one."""
        button = QPushButton(text)
        button.clicked.connect(lambda: chosen())
        self._column.addWidget(button)
        if explained:
            self._column.addWidget(quiet(explained))
        self.answers[text] = button

    def then(self, answer: Callable[[], object]) -> Callable[[], None]:
        """Return a function that closes the dialog, then acts on the answer."""

        def chosen() -> None:
            self.finish()
            answer()

        return chosen

    def reject(self) -> None:
        """Give the last answer, on Escape or the close button of the dialog."""
        if self.answers:
            list(self.answers.values())[-1].click()

    def finish(self) -> None:
        """Close without an answer."""
        super().reject()


class UnsavedQuestion(Question):
    """Asks what to do with edits that cannot be saved, before they are left.

    Signals
    -------
    try_again(), leave_copy(), discard(), stay()
        The answer.
    save_elsewhere(Path)
        The chosen file.
    """

    try_again = Signal()
    save_elsewhere = Signal(object)
    leave_copy = Signal()
    discard = Signal()
    stay = Signal()

    def __init__(self, unsaved: Unsaved, also: str = "", parent: QWidget | None = None) -> None:
        super().__init__("Edits are not saved", "", parent)
        self._also, self._count = also, unsaved.slices
        self.add("Try again", self.try_again.emit)
        self.add(
            "Save elsewhere…",
            self._ask_place,
            "Writes the edits to a file of your choice. Open it in napari to restore them.",
        )
        self.add(
            "Leave, keep the copy",
            self.leave_copy.emit,
            "The copy is offered the next time the study is opened.",
        )
        self.add("Discard the edits…", self._confirm)
        self.add("Stay", self.stay.emit)
        self.show_unsaved(unsaved)

    def show_unsaved(self, unsaved: Unsaved) -> None:
        """Say which edits are not saved now."""
        self._count = unsaved.slices
        self.text.setText(f"{unsaved.text}\n{self._also}".strip())
        self.answers["Leave, keep the copy"].setEnabled(unsaved.copy is not None)

    def _ask_place(self) -> None:
        kind = f"Rescued edits (*{RESCUE_SUFFIX})"
        name, _ = QFileDialog.getSaveFileName(
            self, "Save the edits elsewhere", f"edits{RESCUE_SUFFIX}", kind
        )
        if name:
            path = Path(name)
            if path.suffix != RESCUE_SUFFIX:
                path = path.with_name(path.name + RESCUE_SUFFIX)
            self.save_elsewhere.emit(path)

    def _confirm(self) -> QMessageBox:
        return confirm_discarding(self, f"the edits of {self._count}", self.discard.emit)


class WaitQuestion(Question):
    """Says that something has to end first; the dialog closes itself when it has."""

    def __init__(
        self,
        what: str,
        stay: Callable[[], object],
        go_on: Callable[[], object] | None,
        at_once: str,
        parent: QWidget | None = None,
    ) -> None:
        """Offer to stay, and to `go_on` if possible; `at_once` says what that means."""
        super().__init__("One moment", f"{what}…", parent)
        bar = QProgressBar()
        bar.setRange(0, 0)
        self._column.addWidget(bar)
        if go_on is not None:
            self.add("Close at once", go_on, at_once)
        self.add("Stay", stay)


def ask_closing(
    yes: Callable[[], object], no: Callable[[], object], parent: QWidget | None = None
) -> Question:
    """Ask whether to close the window while the training is running; opens the question."""
    question = Question(
        "The training is running",
        "The training is running. Closing stops it; the next start resumes from there.",
        parent,
    )
    question.add("Stop it and close", question.then(yes))
    question.add("Stay", question.then(no))
    question.open()
    return question


def ask_rescue(
    found: FoundRescue,
    take_back: Callable[[], object],
    discard: Callable[[], object],
    put_off: Callable[[], object],
    parent: QWidget | None = None,
) -> Question:
    """Ask what to do with unsaved edits from last time; opens the question."""
    question = Question("Unsaved edits from last time", _told(found), parent)

    restore = "Restore" if found.open else "Open the study and restore"
    question.add(restore, question.then(take_back))
    if found.ours:
        what = f"what was kept ({in_words(found.rescue)})"
        question.add("Discard…", lambda: confirm_discarding(question, what, question.then(discard)))
    question.add("Later", question.then(put_off))
    question.open()
    return question


def confirm_discarding(parent: QWidget, what: str, discard: Callable[[], object]) -> QMessageBox:
    """Ask for confirmation before edits are lost; opens the question."""
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Warning)
    box.setWindowTitle("Discard edits")
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setText(f"Discard {what}? This cannot be undone.")
    yes = box.addButton("Discard", QMessageBox.ButtonRole.DestructiveRole)
    keep = box.addButton("Keep", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(keep)
    box.setEscapeButton(keep)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.buttonClicked.connect(lambda chosen: discard() if chosen is yes else None)
    box.open()
    return box


def _told(found: FoundRescue) -> str:
    rescue = found.rescue
    lines = [
        f"On {rescue.at.astimezone():%d %B %Y at %H:%M} this could not be saved in "
        f"{rescue.study}, and was kept:\n{_listed(rescue)}",
    ]
    if found.changed:
        lines.append(
            f"Saved in the study since then: {len(found.changed)} of them. Restoring puts the "
            "older edits on top; the newer ones stay in the history of the slice."
        )
    if rescue.damaged:
        lines.append(
            f"The file is damaged: {slices_in_words(rescue.damaged)} could not be read from it."
        )
    return "\n\n".join(lines)


def _listed(rescue: Rescue) -> str:
    """Return what a rescue holds, a line for each case and kind."""
    found: dict[tuple[str, str], list[str]] = {}
    for key in rescue.masks:
        found.setdefault((key.case_id, "labels of the slices"), []).append(str(key.index))
    for key, state in rescue.states.items():
        found.setdefault((key.case_id, f"{state} slices"), []).append(str(key.index))
    for along in rescue.extents:
        name = rescue.classes.get(along.value, f"class {along.value}")
        found.setdefault((along.case_id, "the ends of"), []).append(name)
    return "\n".join(f"{case}: {kind} {', '.join(which)}" for (case, kind), which in found.items())

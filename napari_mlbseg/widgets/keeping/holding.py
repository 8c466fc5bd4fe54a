"""Unsaved edits: saving is retried, a rescue file keeps a copy, and leaving them asks first.

Edits that could not be saved are tried again from here. Saves that wait for a busy study come to
their turn by themselves (`InTurn`); until then the same file keeps a copy of what they hold.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from qtpy.QtCore import QObject, Signal

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.rescue import Rescue
from napari_mlbseg.project.rescue_files import new_rescue_path, rescue_folder, write_rescue
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background.in_turn import InTurn
from napari_mlbseg.widgets.background.task import timer
from napari_mlbseg.widgets.case.annotation import Annotation
from napari_mlbseg.widgets.case.saving import in_words, slices_in_words, waits_in_words

_FIRST_MS: Final = 1000
_LONGEST_MS: Final = 60_000
_LAST_COPY_S: Final = 60.0


@dataclass(frozen=True)
class Unsaved:
    """Edits of the case on view that are not saved in the study.

    Attributes
    ----------
    count
        Number of slices.
    reasons
        What could not be saved and why, for the annotator.
    copy
        The rescue file with a copy; None if it could not be written, see `problem`.
    """

    count: int
    reasons: str
    copy: Path | None
    problem: str = ""

    @property
    def slices(self) -> str:
        """The number of slices in words."""
        return slices_in_words(self.count)

    @property
    def text(self) -> str:
        """The whole message for the annotator."""
        kept = f"A copy is kept in {self.copy}." if self.copy else self.problem
        return f"The edits of {self.slices} are not saved yet.\n{self.reasons}\n{kept}"


@dataclass(frozen=True)
class _Leaving:
    go: Callable[[], object]
    stay: Callable[[], object]


class Holding(QObject):
    """Keeps the edits of the case on view until they are saved in the study.

    Attributes
    ----------
    unsaved
        Edits that could not be saved; None if there are none.

    Signals
    -------
    changed(object)
        `unsaved` or `text` has changed: `Unsaved`, or None if nothing failed.
    asked(object)
        Somebody wants to leave unsaved edits (`Unsaved`). Ask what to do, and answer with
        `try_again`, `save_elsewhere`, `leave_copy`, `discard` or `stay`.
    answered()
        The question needs no answer any more.
    failed(str), told(str)
        Edits could not be saved, or have been saved after all; for the annotator.
    """

    changed = Signal(object)
    asked = Signal(object)
    answered = Signal()
    failed = Signal(str)
    told = Signal(str)

    def __init__(self, saves: InTurn, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.unsaved: Unsaved | None = None
        self._saves = saves
        saves.changed.connect(self._see)
        # Copies are written in a thread, too: they may lie on the same busy disk.
        self._copies = InTurn("mlbseg-copies", self)
        self._stale = False
        self._copy_problem = self._told = ""
        self._study: Study | None = None
        self._annotation: Annotation | None = None
        self._copy: Path | None = None
        self._leaving: _Leaving | None = None
        self._timer = timer(self, _FIRST_MS, self._try_later, single_shot=True)

    @property
    def text(self) -> str:
        """What is not saved yet, for the annotator; empty if everything is."""
        if self.unsaved is not None:
            return self.unsaved.text
        if not self._saves.waiting:
            return ""
        waits = waits_in_words(self._saves.waiting, self._saves.problem)
        kept = f"A copy is kept in {self._copy}." if self._copy else ""
        return f"{waits}\n{self._copy_problem or kept}".strip()

    def watch(self, study: Study, annotation: Annotation) -> None:
        """Keep the edits of this case from now on."""
        self._study, self._annotation = study, annotation
        self._copy = None
        # Read now: once the folder of the study is gone, its identity cannot be read.
        _ = study.identity
        annotation.flushed.connect(self._see)

    def release(self) -> None:
        """Release the case; the rescue file of unsaved edits stays."""
        self._timer.stop()
        if self._annotation is not None:
            self._annotation.flushed.disconnect(self._see)
        self._study = self._annotation = self._copy = None
        self._show(None)
        self._close_question()

    def keep_last_copy(self) -> None:
        """Write what waits into the rescue file, because the window ends; waits for it."""
        self._see()
        for _ in range(2):  # a copy that is being written, and the newest
            self._copies.settle(_LAST_COPY_S)

    # --- leaving ---------------------------------------------------------------------------------

    def leave(self, go: Callable[[], object], stay: Callable[[], object]) -> None:
        """Save, then call `go`; if saving fails, ask first, and call `stay` if told to stay."""
        if self._leaving is not None:
            stay()
            return
        if self._annotation is not None:
            self._annotation.flush()
        if self.unsaved is None:
            go()
            return
        self._leaving = _Leaving(go, stay)
        self.asked.emit(self.unsaved)

    def try_again(self) -> None:
        """Save now, and leave if that was asked for."""
        if self._annotation is not None:
            self._annotation.flush()
        if self.unsaved is None:
            self._go()
        elif self._leaving is not None:
            self.asked.emit(self.unsaved)

    def save_elsewhere(self, path: Path) -> None:
        """Write the edits to a rescue file at a chosen place, and leave."""
        if self._annotation is None or self.unsaved is None:
            return  # the edits have been saved in the meantime
        problem = self._write(path)
        if problem:
            self.failed.emit(problem)
            return
        self.told.emit(f"The edits are saved in {path}. Open this file in napari to restore them.")
        self._go()

    def leave_copy(self) -> None:
        """Leave; the rescue file keeps the edits until the study is opened again."""
        if self.unsaved is not None and self.unsaved.copy is not None:
            self._go()

    def discard(self) -> None:
        """Discard the edits for good, and leave."""
        self._show(None)
        if self._annotation is not None:
            self._annotation.discard()
        self._go()

    def stay(self) -> None:
        """Do not leave."""
        leaving = self._leaving
        self._close_question()
        if leaving is not None:
            leaving.stay()

    # --- inside ----------------------------------------------------------------------------------

    def _go(self) -> None:
        leaving = self._leaving
        self._close_question()
        if leaving is not None:
            leaving.go()

    def _close_question(self) -> None:
        if self._leaving is not None:
            self._leaving = None
            self.answered.emit()

    def _see(self) -> None:
        """Take up a change of what is not saved, or of its labels."""
        if self._annotation is None:
            return
        if self._annotation.unsaved or self._saves.waiting:
            self._keep_copy()
            self._tell(self._annotation)
        else:
            self._all_saved()

    def _tell(self, annotation: Annotation) -> None:
        if not annotation.unsaved:
            self._timer.stop()
            self._show(None)
            return
        reasons, before = in_words(annotation.unsaved), self.unsaved
        if not self._timer.isActive():
            self._timer.start(_FIRST_MS if before is None else self._timer.interval())
        problem = self._copy_problem
        copy = None if problem else self._copy
        self._show(Unsaved(len(annotation.unsaved), reasons, copy, problem))
        if before is None or before.reasons != reasons:
            self.failed.emit(f"Your latest edits are not saved: {reasons}")

    def _all_saved(self) -> None:
        self._timer.stop()
        if self._copy is not None:
            self._copies.put(partial(_remove, self._copy), lambda _: None)
            self._copy = None
        if self._told:
            self._show(None)
            self.told.emit("Everything is saved now.")

    def _keep_copy(self) -> None:
        """Bring the rescue file up to date, or see to it that it soon is."""
        rescue = self._rescue()
        if not rescue:
            return  # what waits is no work of the case on view
        self._stale = bool(self._copies.waiting)
        if self._stale:
            return
        if self._copy is None and self._study is not None:
            self._copy = new_rescue_path(rescue_folder(), self._study)
        assert self._copy is not None
        path = self._copy
        try:
            done = self._copies.put(lambda: write_rescue(path, rescue), self._copied)
            self._copy_problem = "" if done else f"A copy is being written to {path}."
        except (UserError, OSError) as error:
            self._copy_problem = _unwritten(path, error)

    def _copied(self, _: None) -> None:
        """Take note that a copy that was being written is there now."""
        self._copy_problem = ""
        if self._stale:
            self._see()
        elif self._annotation is not None and self._copy is not None:
            self._tell(self._annotation)

    def _try_later(self) -> None:
        self._timer.setInterval(min(2 * self._timer.interval(), _LONGEST_MS))
        self.try_again()

    def _show(self, unsaved: Unsaved | None) -> None:
        self.unsaved = unsaved
        if self.text != self._told:
            self._told = self.text
            self.changed.emit(unsaved)

    def _rescue(self) -> Rescue:
        assert self._annotation is not None
        return self._annotation.rescue()

    def _write(self, path: Path) -> str:
        """Write a rescue file; return what went wrong, or an empty text."""
        try:
            write_rescue(path, self._rescue())
        except (UserError, OSError) as error:
            return _unwritten(path, error)
        return ""


def _unwritten(path: Path, error: Exception) -> str:
    return f"They could not be written to {path} either ({error}). Choose another place."


def _remove(copy: Path) -> None:
    try:
        copy.unlink(missing_ok=True)
    except OSError:
        return  # the file is offered once more, and can be discarded then

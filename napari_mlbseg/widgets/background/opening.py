"""Opens studies in a thread; whoever asks waits for it only a moment.

As a rule a study is open at once. It can take long, though: an earlier version's study is backed up
and migrated, or another program holds the study.
"""

from functools import partial
from pathlib import Path
from threading import Event
from typing import Final

from qtpy.QtCore import QObject, Signal

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.folder.lock import StudyLocked
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background.task import BackgroundTask, CancelledError, Report

_PATIENCE_S: Final = 0.25


class Opening(QObject):
    """Opens one study at a time.

    Signals
    -------
    opened(Study)
        The study is open; whoever hears of it closes it.
    locked(Path, str)
        The study is in use elsewhere, and by whom; it can still be opened read-only.
    failed(str), told(str)
        It could not be opened, or takes longer; for the annotator.
    """

    opened = Signal(object)
    locked = Signal(object, str)
    failed = Signal(str)
    told = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._task: BackgroundTask | None = None
        self._unwanted = Event()

    @property
    def going_on(self) -> bool:
        """Whether a study is being opened."""
        return self._task is not None

    def open(self, path: Path, *, writable: bool, author: str | None) -> None:
        """Open a study; returns when it is open, or after a moment.

        Raises UserError while another one is being opened.
        """
        if self._task is not None:
            raise UserError("Another study is being opened. Wait until it is open.")
        unwanted = self._unwanted

        def work(_: Report) -> Study:
            study = Study.open(path, writable=writable, author=author)
            if unwanted.is_set():
                study.close()
                raise CancelledError
            return study

        self._task = BackgroundTask(work, "mlbseg-opening", self)
        self._task.ended.connect(partial(self._end, path))
        self._task.start()
        if not self._task.wait(_PATIENCE_S):
            self.told.emit(
                f"Opening {path.name}. It takes longer: another program holds the study, the disk "
                "is busy, or an earlier version made it."
            )

    def finish(self, timeout_s: float) -> None:
        """Wait for the study that is being opened; one that takes longer is closed again."""
        if self._task is not None and not self._task.wait(timeout_s):
            self._unwanted.set()

    def _end(self, path: Path, study: Study | None, error: BaseException | None) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.deleteLater()
        match error:
            case None:
                self.opened.emit(study)
            case StudyLocked():
                self.locked.emit(path, str(error))
            case UserError() | OSError():
                self.failed.emit(str(error))
            case CancelledError():
                pass
            case _:
                self.failed.emit(f"Unexpected error: {error}")

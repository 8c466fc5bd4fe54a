"""Whether the folder of an open study is still the one that was opened."""

import os
from pathlib import Path

from napari_mlbseg.errors import StudyGone, UserError

Identity = tuple[int, int]


class Place:
    """The folder of an open study, identified by files in it that are held open.

    An open file keeps its inode, so a file that takes its place cannot be mistaken for it. Safe to
    use from several threads.
    """

    def __init__(self, folder: Path, *, writable: bool = True) -> None:
        self.folder, self.writable = folder, writable
        self._held: dict[Path, Identity] = {}
        self._gone = self._left = False

    def hold(self, *files: Path) -> None:
        """Watch these files: from now on they must stay the same; missing files are skipped."""
        found = {file: _identity(file) for file in files}
        self._held = {**self._held, **{f: known for f, known in found.items() if known}}

    def let_go(self, *files: Path) -> None:
        """Stop watching these files, which are closed."""
        self._held = {file: known for file, known in self._held.items() if file not in files}

    def leave(self) -> None:
        """The study is closed: any further write is refused."""
        self._left = True

    def require_writable(self) -> None:
        """Raise UserError in a study opened for reading; otherwise as `check`."""
        if not self.writable:
            raise UserError(f"{self.folder} is open for reading only. Open it for writing.")
        self.check()

    def check(self) -> None:
        """Raise StudyGone if the folder was removed or replaced, and on every later call.

        Raises UserError if the study was closed, or if the folder cannot be checked now, for
        example because a network drive does not answer.
        """
        if self._left:
            raise UserError(
                f"{self.folder} is no longer open, so nothing was saved. Open the study again."
            )
        try:
            gone = self.gone
        except OSError as error:
            raise UserError(
                f"{self.folder} cannot be reached ({error}), so nothing was saved. Check the disk "
                "or network drive, then try again."
            ) from error
        if gone:
            raise StudyGone(self.folder)

    @property
    def gone(self) -> bool:
        """Whether the folder is known to be removed or replaced; may raise OSError."""
        self._gone |= any(_identity(file) != known for file, known in self._held.items())
        return self._gone


def _identity(file: Path) -> Identity | None:
    try:
        found = os.stat(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino

"""Whether the folder of an open study is still the one that was opened."""

import os
from pathlib import Path

from napari_mlbseg.errors import StudyGone, UserError

Identity = tuple[int, int]


class Place:
    """The folder of an open study, known by files that are held open in it.

    A file that is open keeps its inode, so that no file which takes its place can be mistaken for
    it. Several threads may ask.
    """

    def __init__(self, folder: Path, *, writable: bool = True) -> None:
        self.folder, self.writable = folder, writable
        self._held: dict[Path, Identity] = {}
        self._gone = self._left = False

    def hold(self, *files: Path) -> None:
        """From now on these files must stay what they are; one that is absent is passed over."""
        found = {file: _identity(file) for file in files}
        self._held = {**self._held, **{f: known for f, known in found.items() if known}}

    def let_go(self, *files: Path) -> None:
        """These files are closed and may go."""
        self._held = {file: known for file, known in self._held.items() if file not in files}

    def leave(self) -> None:
        """The study is closed: whoever still has it may write nothing more."""
        self._left = True

    def require_writable(self) -> None:
        """Raise UserError in a study opened for reading; otherwise as `check`."""
        if not self.writable:
            raise UserError(f"{self.folder} is open for reading only. Open it for writing.")
        self.check()

    def check(self) -> None:
        """Raise StudyGone where the folder was removed or replaced, and ever after.

        Raises UserError where the study was closed, and where nothing can be told now, as when a
        network drive does not answer.
        """
        if self._left:
            raise UserError(
                f"{self.folder} is not open any more, so nothing was saved. Open the study again."
            )
        try:
            gone = self.gone
        except OSError as error:
            raise UserError(
                f"{self.folder} cannot be reached ({error}), so nothing was saved. Check the disk "
                "or the network that it is on, then try again."
            ) from error
        if gone:
            raise StudyGone(self.folder)

    @property
    def gone(self) -> bool:
        """Whether the folder was found removed or replaced, now or before; may raise OSError."""
        self._gone |= any(_identity(file) != known for file, known in self._held.items())
        return self._gone


def _identity(file: Path) -> Identity | None:
    try:
        found = os.stat(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino

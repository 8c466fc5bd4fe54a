"""The checkpoints of a study: the latest, the one before, and the best on validation slices."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_mlbseg.engine.training.checkpoint import write
from napari_mlbseg.project.folder.durable import flush_entries, flush_file

PREVIOUS, BEST = "previous.pt", "best.pt"
_UNFINISHED = ".unfinished"


class Checkpoints:
    """Three files at most, each of them whole whenever the computer goes off.

    Parameters
    ----------
    latest
        Path of the newest one; the others lie beside it.
    """

    def __init__(self, latest: Path) -> None:
        self.latest = latest
        self._previous, self._best = (latest.with_name(name) for name in (PREVIOUS, BEST))
        self._latest_is_good = True

    def paths(self) -> list[Path]:
        """Those that are there, in the order in which a run goes on from them."""
        return [p for p in (self.latest, self._previous, self._best) if p.is_file()]

    def latest_is_damaged(self) -> None:
        """The next one replaces the latest, which does not become the one before."""
        self._latest_is_good = False

    def save(self, content: Mapping[str, Any], *, best: bool) -> None:
        """Keep a new one as the latest, and as the `best` where it is.

        Without one that has ever been scored, `content` says so by ``best`` being None, the best
        one is another training's and goes.
        """
        self.latest.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.latest.with_suffix(_UNFINISHED)
        write(unfinished, content)
        if self._latest_is_good and self.latest.is_file():
            _same_file(self.latest, self._previous)
        unfinished.replace(self.latest)
        self._latest_is_good = True
        if best:
            _same_file(self.latest, self._best)
        elif content["best"] is None:
            self._best.unlink(missing_ok=True)
        flush_entries(self.latest.parent)

    def sweep(self) -> None:
        """Remove what a process that was killed left half written."""
        for leftover in self.latest.parent.glob(f"*{_UNFINISHED}"):
            leftover.unlink(missing_ok=True)


def _same_file(path: Path, name: Path) -> None:
    """Give a file a second name, which takes the place of what had it before."""
    beside = name.with_suffix(_UNFINISHED)
    beside.unlink(missing_ok=True)
    try:
        os.link(path, beside)
    except OSError:  # the file system knows no second names
        shutil.copyfile(path, beside)
        flush_file(beside)
    beside.replace(name)
    beside.unlink(missing_ok=True)  # it stays where both names were of the same file

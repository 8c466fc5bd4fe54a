"""The checkpoints of a study: the latest, the previous, and the best on validation slices."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_mlbseg.engine.training.checkpoint import write
from napari_mlbseg.project.folder.durable import flush_entries, flush_file, make_folder

PREVIOUS, BEST = "previous.pt", "best.pt"
_UNFINISHED = ".unfinished"


class Checkpoints:
    """At most three files, each of them complete even if the computer loses power at any moment.

    Parameters
    ----------
    latest
        Path of the latest checkpoint; the others lie beside it.
    """

    def __init__(self, latest: Path) -> None:
        self.latest = latest
        self._previous, self._best = (latest.with_name(name) for name in (PREVIOUS, BEST))
        self._latest_is_good = True

    def paths(self) -> list[Path]:
        """The existing files, in the order in which a run tries to resume from them."""
        return [p for p in (self.latest, self._previous, self._best) if p.is_file()]

    def latest_is_damaged(self) -> None:
        """Note that the latest is damaged: the next save must not turn it into the previous."""
        self._latest_is_good = False

    def save(self, content: Mapping[str, Any], *, best: bool) -> None:
        """Write a new checkpoint as the latest, and also as the best if `best`.

        If no model of this training has been scored yet (``content["best"]`` is None), a best
        checkpoint on the disk belongs to another training and is removed.
        """
        make_folder(self.latest.parent)
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
        """Remove unfinished files of a process that was killed."""
        for leftover in self.latest.parent.glob(f"*{_UNFINISHED}"):
            leftover.unlink(missing_ok=True)


def _same_file(path: Path, name: Path) -> None:
    """Give a file a second name, replacing any file that had that name."""
    beside = name.with_suffix(_UNFINISHED)
    beside.unlink(missing_ok=True)
    try:
        os.link(path, beside)
    except OSError:  # the file system has no hard links
        shutil.copyfile(path, beside)
        flush_file(beside)
    beside.replace(name)
    beside.unlink(missing_ok=True)  # it is left over if both names were links to the same file

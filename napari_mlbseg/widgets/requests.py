"""What panels ask for and what they are given to show: plain data."""

from dataclasses import dataclass
from pathlib import Path

from napari_mlbseg.project.export import ExportKind, OutFormat


@dataclass(frozen=True)
class NewStudy:
    """What a study is made from.

    `labels` may be None; `classes` are comma separated names for the values 1, 2, ..., or None.
    """

    path: Path
    images: Path
    labels: Path | None
    classes: str | None = None


@dataclass(frozen=True)
class CaseRow:
    """One line of the list of cases; the counts are slices along the case's own axis."""

    case_id: str
    slices: int
    clean: int
    drafts: int
    skipped: int

    @property
    def state(self) -> str:
        """In words: untouched, in work or done."""
        if self.clean + self.skipped == self.slices:
            return "done"
        return "in work" if self.clean + self.drafts + self.skipped else "untouched"


@dataclass(frozen=True)
class Export:
    """What is written where; all cases when `case_id` is None."""

    kind: ExportKind
    folder: Path
    case_id: str | None
    form: OutFormat = OutFormat.AUTO

"""The requests of the panels and the data that they show: plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_mlbseg.engine.deploy.formats import ModelFormat
from napari_mlbseg.formats.source import Choice
from napari_mlbseg.project.exporting.export import ExportKind, OutFormat
from napari_mlbseg.project.records.pace import Pace
from napari_mlbseg.project.records.slices import SliceState
from napari_mlbseg.project.study import Study


@dataclass(frozen=True)
class NewStudy:
    """Everything needed to create a study.

    `labels` may be None; `classes` are comma-separated names for the values 1, 2, ..., or None.
    `choices` say which series and frames to import from paths with several; None means "ask". With
    `frames_are_channels` all frames of a file are channels of one image.
    """

    path: Path
    images: Path
    labels: Path | None
    classes: str | None = None
    choices: Mapping[Path, Sequence[Choice]] | None = None
    frames_are_channels: bool = False


STATES = ("untouched", "in progress", "done")
"""Of a case."""


@dataclass(frozen=True)
class CaseRow:
    """One row of the list of cases; it counts slices along the case's own axis.

    `touched` holds index and state of each slice that somebody worked on.
    """

    case_id: str
    slices: int
    clean: int
    drafts: int
    skipped: int
    name: str
    touched: tuple[tuple[int, SliceState], ...] = ()

    @classmethod
    def of(cls, study: Study, case_id: str) -> "CaseRow":
        """Count the progress of a case of a study."""
        case = study.case(case_id)
        records = [r for r in study.slices.records(case_id) if r.key.axis == case.axis]
        states = [r.state for r in records]
        counts = [states.count(s) for s in (SliceState.CLEAN, SliceState.DRAFT, SliceState.SKIPPED)]
        clean, drafts, skipped = counts
        shape = case.geometry.shape
        touched = tuple((r.key.index, r.state) for r in records)
        return cls(case_id, shape[case.axis], clean, drafts, skipped, case.name, touched)

    @property
    def state(self) -> str:
        """The progress in words: untouched, in progress or done."""
        untouched, begun, done = STATES
        if self.clean + self.skipped == self.slices:
            return done
        return begun if self.clean + self.drafts + self.skipped else untouched


def case_rows(study: Study | None) -> list[CaseRow]:
    """Return the cases of a study with their progress; no rows without a study."""
    return [CaseRow.of(study, case.id) for case in study.cases] if study else []


def cohort_in_words(rows: Sequence[CaseRow], pace: Pace | None) -> str:
    """Say how far a study has come, and how long a slice takes; nothing without a case."""
    if not rows:
        return ""
    slices, clean, drafts, skipped = (
        sum(getattr(row, name) for row in rows) for name in ("slices", "clean", "drafts", "skipped")
    )
    time = "time of a slice: too few to tell"
    if pace is not None:
        time = f"{pace.seconds:.0f} s a slice (mean of {pace.slices})"
    skips = f", {skipped} skipped" if skipped else ""
    return f"{clean} of {slices} clean, {drafts} drafts{skips}; {time}"


@dataclass(frozen=True)
class Export:
    """What to export and where to; all cases if `case_id` is None."""

    kind: ExportKind
    folder: Path
    case_id: str | None
    form: OutFormat = OutFormat.AUTO


@dataclass(frozen=True)
class ModelExport:
    """The trained model in one format, in a subfolder of `folder`."""

    form: ModelFormat
    folder: Path

"""The requests of the panels and the data that they show: plain data."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from napari_mlbseg.engine.deploy.formats import ModelFormat
from napari_mlbseg.formats.source import Choice
from napari_mlbseg.project.exporting.export import ExportKind, OutFormat
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.pace import Pace
from napari_mlbseg.project.records.slices import SliceKey, SliceRecord, SliceState
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


TO_REVIEW, RETURNED_TO_ME = "to review", "returned to me"
BLINDLY = "to correct blindly"
"""What lists of slices and cases are filtered by."""
STATES = ("untouched", "in progress", "done")
"""Of a case."""


@dataclass(frozen=True)
class CaseRow:
    """One row of the list of cases; it counts slices along the case's own axis.

    `touched` holds index and state of each slice that somebody worked on, `returned` the indices of
    slices that were sent back to whoever has the study open, and `to_review` says how many await a
    review of theirs; `blind` are slices that are to be corrected without seeing another's work.
    """

    case_id: str
    slices: int
    clean: int
    drafts: int
    skipped: int
    name: str
    touched: tuple[tuple[int, SliceState], ...] = ()
    returned: tuple[int, ...] = ()
    to_review: int = 0
    blind: tuple[int, ...] = ()

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
        accepted = SliceState.CLEAN
        asked = {k.index for k in study.blind.all() if _lies_in(k, case)}.intersection(
            range(case.geometry.shape[case.axis])
        )
        tags = {r.key.index: tags_of(study, r) for r in records}
        returned = tuple(sorted(index for index, found in tags.items() if RETURNED_TO_ME in found))
        waiting = sum(TO_REVIEW in found for found in tags.values())
        return cls(
            *(case_id, shape[case.axis], clean, drafts, skipped, case.name),
            touched=touched,
            returned=returned,
            to_review=waiting,
            blind=tuple(sorted(asked - {r.key.index for r in records if r.state is accepted})),
        )

    @property
    def state(self) -> str:
        """The progress in words: untouched, in progress or done."""
        untouched, begun, done = STATES
        if self.clean + self.skipped == self.slices:
            return done
        return begun if self.clean + self.drafts + self.skipped else untouched

    def passes(self, wanted: str) -> bool:
        """Whether it is in this state, or has slices that pass this filter; all do for ""."""
        if wanted == RETURNED_TO_ME:
            return bool(self.returned)
        if wanted == BLINDLY:
            return bool(self.blind)
        if wanted == TO_REVIEW:
            return self.to_review > 0
        return wanted in ("", self.state)


def returned_in_words(rows: Iterable[CaseRow]) -> str:
    """Say how many slices were sent back to whoever has the study open; empty if none.

    >>> returned_in_words([CaseRow("a", 9, 0, 2, 0, "a", returned=(3, 4))])
    '2 slices were sent back to you: Cases > returned to me'
    """
    count = sum(len(row.returned) for row in rows)
    if not count:
        return ""
    slices = "1 slice was" if count == 1 else f"{count} slices were"
    return f"{slices} sent back to you: Cases > {RETURNED_TO_ME}"


def _lies_in(key: SliceKey, case: Case) -> bool:
    return (key.case_id, key.axis) == (case.id, case.axis)


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
class ReviewRow:
    """A slice that is to be reviewed, or was.

    `tags` are the filters of lists that it passes, for whoever has the study open.
    """

    key: SliceKey
    case: str
    review: str
    accepted_by: str
    note: str
    tags: tuple[str, ...]


def review_rows(study: Study | None) -> list[ReviewRow]:
    """Return the slices of a study that are to be reviewed, or were, case by case."""
    if study is None:
        return []
    return [
        _review_row(study, case.name, record)
        for case in study.cases
        for record in sorted(study.slices.records(case.id), key=lambda record: record.key)
        if record.to_review or record.review is not None
    ]


def _review_row(study: Study, name: str, record: SliceRecord) -> ReviewRow:
    review = record.review
    return ReviewRow(
        record.key,
        name,
        TO_REVIEW if review is None else review.verdict.value,
        record.author if review is None else review.accepted_by,
        "" if review is None else review.note,
        tags_of(study, record),
    )


def tags_of(study: Study, record: SliceRecord) -> tuple[str, ...]:
    """Return the filters of lists that a slice passes, for whoever has the study open."""
    awaits, returned = study.reviews.awaits_me(record), study.reviews.returned_to_me(record)
    return (*[TO_REVIEW] * awaits, *[RETURNED_TO_ME] * returned)


def said_of(record: SliceRecord | None) -> str:
    """Return what is known of the acceptance and the review of a slice, in words."""
    if record is None or not (record.to_review or record.review is not None):
        return "Nobody accepted this slice."
    review = record.review
    if review is None:
        return f"{record.author} accepted it {_when(record.created_at)}; to review."
    note = f": {review.note}" if review.note else ""
    did = "approved it" if record.approved else "sent it back"
    return (
        f"{review.accepted_by} accepted it {_when(review.accepted_at)}. "
        f"{review.author} {did} {_when(review.created_at)}{note}"
    )


def _when(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"


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

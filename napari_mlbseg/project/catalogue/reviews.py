"""Reviews of accepted slices: another person approves them or sends them back.

A review is about one revision, so it says nothing of the slice any more once that is superseded. It
is appended and changes nothing itself; what it means for a slice is worked out when it is read.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.catalogue import hashes
from napari_mlbseg.project.catalogue.database import Database, Transaction
from napari_mlbseg.project.catalogue.revisions import Slices
from napari_mlbseg.project.catalogue.verdicts import Teaching, Verdicts
from napari_mlbseg.project.folder.inside import spelled
from napari_mlbseg.project.records.reviews import Review, Verdict
from napari_mlbseg.project.records.slices import SliceKey, SliceRecord

ACTIONS = {Verdict.APPROVED: "approve slice", Verdict.RETURNED: "return slice"}
"""What a review is called in the log."""


class Reviews:
    """The reviews of a study; `give` returns when they are on the disk.

    Nobody reviews a slice that they accepted themselves. A slice that is sent back counts as a
    draft until it is accepted anew; its reviewer, or another one, may still approve it.

    Examples
    --------
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from napari_mlbseg.api import SliceKey, SliceState, Study, Verdict, import_folder
    >>> study = Study.create(Path("heart.mlbseg"), author="ada")
    >>> imported = import_folder(study, Path("images"), Path("rough"))
    >>> key = SliceKey("phantom_01", 0, 12)
    >>> shown = study.labels.working("phantom_01")[12]
    >>> record = study.save_slice(key, shown, SliceState.CLEAN)
    >>> study.close()
    >>> study = Study.open(Path("heart.mlbseg"), author="ben")
    >>> [review] = study.reviews.give([key], Verdict.RETURNED, "The wall is too thin.")
    >>> study.slices.clean(), study.slices.record(key).review.note
    ((), 'The wall is too thin.')
    >>> [review] = study.reviews.give([key], Verdict.APPROVED)
    >>> study.slices.record(key).approved
    True
    >>> study.close()
    """

    def __init__(self, database: Database, slices: Slices, verdicts: Verdicts) -> None:
        self._database, self._slices, self._verdicts = database, slices, verdicts

    def give(
        self, keys: Iterable[SliceKey], verdict: Verdict, note: str = ""
    ) -> tuple[Review, ...]:
        """Approve accepted slices or send them back, all of them or none.

        Raises UserError for a slice that is not accepted, or that the reviewer accepted, and if
        slices are sent back without a note.
        """
        note, me = note.strip(), self._database.author
        if verdict is Verdict.RETURNED and not note:
            raise UserError("A slice is sent back with a note that says what to correct.")
        records = [self._reviewable(key, me) for key in keys]
        if not records:
            raise UserError("There is no slice to review.")
        with self._database.transaction() as write:
            at = datetime.fromisoformat(write.at)
            given = []
            for one in records:
                review = Review(verdict, note, me, at, one.author, one.created_at)
                _add(write, one.key, review)
                write.note(ACTIONS[verdict], one.key.case_id, **_details(one.key, review))
                given.append(review)
        return tuple(given)

    def may_review(self, record: SliceRecord) -> bool:
        """Whether the person who has the study open may review a slice now."""
        accepted = self._slices.accepted(record.key)
        return accepted is not None and not _same(accepted.author, self._database.author)

    def awaits_me(self, record: SliceRecord) -> bool:
        """Whether a slice is to be reviewed, and not by somebody else only."""
        return record.to_review and not _same(record.author, self._database.author)

    def returned_to_me(self, record: SliceRecord) -> bool:
        """Whether a slice was sent back that the person who has the study open accepted."""
        review = record.review
        return (
            record.returned
            and review is not None
            and _same(review.accepted_by, self._database.author)
        )

    def all(self) -> Mapping[SliceKey, Sequence[Review]]:
        """Every review that there ever was, slice by slice, oldest first."""
        return self._verdicts.all()

    def damaged(self) -> tuple[str, ...]:
        """A sentence for each review that cannot be what was saved."""
        return self._verdicts.damaged()

    @property
    def only_approved(self) -> bool:
        """Whether only approved slices teach."""
        return self._verdicts.only_approved

    @property
    def teaching(self) -> Teaching | None:
        """What was said last of the slices that teach; None if nobody said anything yet."""
        return self._verdicts.teaching()

    def let_teach(self, *, only_approved: bool) -> None:
        """Say whether only approved slices teach, or all that are accepted."""
        if only_approved == self.only_approved:
            return
        with self._database.transaction() as write:
            at = datetime.fromisoformat(write.at)
            take_teaching(write, Teaching(only_approved, write.author, at))

    def _reviewable(self, key: SliceKey, me: str) -> SliceRecord:
        record = self._slices.accepted(key)
        if record is None:
            raise UserError(
                f"{self._slices.in_words(key)} is not accepted, so there is nothing to review yet."
            )
        if _same(record.author, me):
            raise UserError(
                f"{self._slices.in_words(key)} was accepted by {me}. Nobody reviews their own "
                "slices: somebody else has to."
            )
        return record


def take(write: Transaction, key: SliceKey, review: Review) -> None:
    """Add a review from another copy of the study, with its author and time."""
    _add(write, key, review)
    write.note("take review", key.case_id, author=review.author, **_details(key, review))


def take_teaching(write: Transaction, teaching: Teaching) -> None:
    """Add what was said of the slices that teach, here or in another copy of the study."""
    row = (int(teaching.only_approved), teaching.author, teaching.created_at.isoformat())
    hashes.insert(write.connection, "teaching", hashes.TEACHING, row)
    write.note("let slices teach", only_approved=teaching.only_approved, by=teaching.author)


def _add(write: Transaction, key: SliceKey, review: Review) -> None:
    row = (
        *(key.case_id, key.axis, key.index),
        *(review.accepted_by, review.accepted_at.isoformat()),
        *(review.verdict.value, review.note, review.author, review.created_at.isoformat()),
    )
    hashes.insert(write.connection, "reviews", hashes.REVIEW, row)


def _details(key: SliceKey, review: Review) -> dict[str, object]:
    return {
        "axis": key.axis,
        "slice": key.index,
        "verdict": review.verdict.value,
        "accepted_by": review.accepted_by,
        "note": review.note,
    }


def _same(one: str, other: str) -> bool:
    """Whether two names are of one person, however they are spelled."""
    return spelled(one) == spelled(other)

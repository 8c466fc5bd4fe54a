"""What reviewers said of slices, and whether only approved slices teach, as it counts now."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import takewhile
from threading import Lock
from typing import Any, Final

from napari_mlbseg.errors import Damaged
from napari_mlbseg.project.catalogue import hashes
from napari_mlbseg.project.catalogue.database import Database
from napari_mlbseg.project.catalogue.reading import readable
from napari_mlbseg.project.catalogue.schema import WITH_REVIEWS
from napari_mlbseg.project.records.reviews import Review, Verdict, newest
from napari_mlbseg.project.records.slices import SliceKey, SliceRecord, SliceState

_ROWS: Final = (
    f"SELECT number, {hashes.REVIEW}, sha256 FROM reviews WHERE number > ? ORDER BY number"
)
_SAID: Final = f"SELECT {hashes.TEACHING}, sha256 FROM teaching ORDER BY number DESC"


History = Callable[[SliceKey], Sequence[SliceRecord]]
"""Gives all revisions of a slice, oldest first."""


@dataclass(frozen=True)
class Teaching:
    """Whether only approved slices teach, and who said so when."""

    only_approved: bool
    author: str
    created_at: datetime


class Verdicts:
    """Follows a table to which reviews are only ever added; what is damaged is passed over.

    Safe to use from several threads, but not inside of a transaction, which may be taken back.
    """

    def __init__(self, database: Database) -> None:
        self._database, self._lock = database, Lock()
        self._known = False
        self._read_to = 0
        self._reviews: dict[SliceKey, tuple[Review, ...]] = {}
        self._outcomes: dict[SliceKey, tuple[SliceRecord, Sequence[Review], SliceRecord]] = {}
        self._damaged: list[str] = []

    def all(self) -> Mapping[SliceKey, Sequence[Review]]:
        """Every review that there ever was, slice by slice, in the order in which they came."""
        if not self._there_are_some():
            return {}
        # The lock is not held while the database is waited for, which has one of its own.
        rows = self._database.rows(_ROWS, self._read_to)
        with self._lock:
            if rows:
                self._reviews = dict(self._reviews)  # others may be looking at the one before
            for row in rows:
                self._take(row)
            return self._reviews

    def damaged(self) -> tuple[str, ...]:
        """A sentence for each review, and each choice, that cannot be what was saved."""
        self.all()
        reviews = [f"{one} Review the slice again." for one in self._damaged]
        choices = [
            f"{one} What was said before counts. Say again which slices teach (mlbseg teaching)."
            for one in takewhile(lambda one: isinstance(one, Damaged), self._said())
        ]
        return (*reviews, *choices)

    def judged(self, records: Iterable[SliceRecord], history: History) -> tuple[SliceRecord, ...]:
        """Records of revisions, as reviewers see them.

        `history` gives all revisions of a slice; only what was reviewed is asked for.
        """
        known = self.all()
        if not known:
            return tuple(records)
        return tuple(
            self._judge(one, known[one.key], history) if one.key in known else one
            for one in records
        )

    def _judge(
        self, record: SliceRecord, reviews: Sequence[Review], history: History
    ) -> SliceRecord:
        """What is known of a revision and its reviews never changes, so it is worked out once."""
        before = self._outcomes.get(record.key)
        if before is None or before[0] is not record or before[1] is not reviews:
            before = record, reviews, _judged(record, reviews, history)
            self._outcomes[record.key] = before
        return before[2]

    @property
    def only_approved(self) -> bool:
        """Whether only approved slices teach."""
        found = self.teaching()
        return found is not None and found.only_approved

    def teaching(self) -> Teaching | None:
        """What was said last of the slices that teach; None if nobody said anything yet.

        What is not as it was saved is passed over.
        """
        return next((one for one in self._said() if isinstance(one, Teaching)), None)

    def _said(self) -> Iterator[Teaching | Damaged]:
        """What was said of the slices that teach, the newest first."""
        for *row, sha256 in self._database.rows(_SAID) if self._there_are_some() else ():
            try:
                with readable("whether only approved slices teach"):
                    hashes.require_sound(tuple(row), sha256)
                    only, author, at = row
                    yield Teaching(bool(only), str(author), datetime.fromisoformat(at))
            except Damaged as error:
                yield error

    def _there_are_some(self) -> bool:
        """Whether the catalogue has the tables; a writer may bring it up to date meanwhile."""
        self._known = self._known or self._database.version >= WITH_REVIEWS
        return self._known

    def _take(self, row: tuple[Any, ...]) -> None:
        number, *hashed, sha256 = row
        if number <= self._read_to:
            return  # another thread was quicker
        self._read_to = number
        case_id, axis, index, by, at, verdict, note, author, created_at = hashed
        try:
            with readable(f"a review of slice {index} of {case_id!r}"):
                hashes.require_sound(tuple(hashed), sha256)
                if not all(isinstance(text, str) for text in (by, note, author)):
                    raise ValueError("names and note are no text")
                when, written = datetime.fromisoformat(at), datetime.fromisoformat(created_at)
                review = Review(Verdict(verdict), note, author, written, by, when)
        except Damaged as error:
            self._damaged.append(str(error))
            return
        key = SliceKey(case_id, axis, index)
        self._reviews[key] = (*self._reviews.get(key, ()), review)


def _judged(
    record: SliceRecord,
    reviews: Sequence[Review],
    history: History,
) -> SliceRecord:
    """A clean slice with its review, a draft if that sent it back; so is a draft made of it since.

    Whoever accepts the slice anew, or skips it, has answered what was said.
    """
    if record.state is SliceState.SKIPPED:
        return record
    if record.state is SliceState.CLEAN:
        about = record
    else:
        accepted = [one for one in history(record.key) if one.state is SliceState.CLEAN]
        if not accepted:
            return record
        about = max(accepted, key=_version)
    review = newest(reviews, _version(about))
    returned = review is not None and review.verdict is Verdict.RETURNED
    if about is record:
        state = SliceState.DRAFT if returned else SliceState.CLEAN
        return replace(record, state=state, review=review)
    return replace(record, review=review) if returned else record


def _version(record: SliceRecord) -> tuple[datetime, str]:
    return record.created_at, record.author

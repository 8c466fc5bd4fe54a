"""What a reviewer says of a slice that somebody else accepted."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Verdict(StrEnum):
    """Whether a reviewer agrees with an accepted slice, or sends it back to whoever accepted it."""

    APPROVED = "approved"
    RETURNED = "returned"


@dataclass(frozen=True)
class Review:
    """A verdict on one revision of a slice, which every copy of its study knows by who and when.

    Attributes
    ----------
    note
        What the reviewer had to say; never empty where a slice is sent back.
    author, created_at
        The reviewer, and when the review was written.
    accepted_by, accepted_at
        Who had accepted the slice, and when: the revision that was reviewed.
    """

    verdict: Verdict
    note: str
    author: str
    created_at: datetime
    accepted_by: str
    accepted_at: datetime

    @property
    def about(self) -> tuple[datetime, str]:
        """The revision that was reviewed; a later one sorts after it."""
        return self.accepted_at, self.accepted_by


def newest(reviews: Iterable[Review], about: tuple[datetime, str]) -> Review | None:
    """The review of a revision that counts: the last one.

    So reviews from copies of a study may come in any order, any number of times.

    >>> at = datetime(2026, 1, 1)
    >>> first = Review(Verdict.RETURNED, "too small", "ben", at.replace(day=2), "ada", at)
    >>> last = Review(Verdict.APPROVED, "", "cleo", at.replace(day=3), "ada", at)
    >>> newest([last, first, first], (at, "ada")).verdict, newest([last], (at, "ben"))
    (<Verdict.APPROVED: 'approved'>, None)
    """
    found = [one for one in reviews if one.about == about]
    return max(found, key=_order, default=None)


def _order(review: Review) -> tuple[datetime, str, Verdict, str]:
    return review.created_at, review.author, review.verdict, review.note

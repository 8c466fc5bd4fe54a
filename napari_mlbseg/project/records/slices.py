"""The state of one slice."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from napari_mlbseg.project.records.reviews import Review, Verdict

NEVER_LOOKED_AT: Final = "never looked at"
"""What the user interface calls slices without a clean slice nearby, as found by
`napari_mlbseg.project.records.coverage`."""


class SliceState(StrEnum):
    """How far a slice is on its way from the machine's labels to a person's."""

    UNTOUCHED = "untouched"
    DRAFT = "draft"
    CLEAN = "clean"
    SKIPPED = "skipped"


HUMAN: Final = (SliceState.DRAFT, SliceState.CLEAN)
"""States of the slices whose mask, a person's, lies over the machine's labels."""


@dataclass(frozen=True, order=True)
class SliceKey:
    """One slice of one case: display axis (0 z, 1 y, 2 x) and index along it.

    >>> SliceKey("case_01", axis=0, index=12) < SliceKey("case_02", axis=0, index=3)
    True
    """

    case_id: str
    axis: int
    index: int


@dataclass(frozen=True)
class SliceRecord:
    """The newest revision of a slice; older ones stay in the catalogue.

    Attributes
    ----------
    revision
        Increases over the whole study: of two records, the one with the larger revision is newer.
    has_mask
        Whether it has a person's mask (drafts, clean slices and reopened slices).
    instead_of
        The damaged revision in whose stead this older one is offered, as a draft.
    review
        What a reviewer said last of a clean slice, or of a draft that was sent back and has not
        been accepted anew. A slice that is sent back counts as a draft.
    """

    key: SliceKey
    state: SliceState
    revision: int
    has_mask: bool
    author: str
    created_at: datetime
    instead_of: int | None = None
    review: Review | None = None

    @property
    def approved(self) -> bool:
        """Whether it is clean and a reviewer agreed."""
        return self.review is not None and self.review.verdict is Verdict.APPROVED

    @property
    def returned(self) -> bool:
        """Whether it was sent back and has not been accepted anew."""
        return self.review is not None and self.review.verdict is Verdict.RETURNED

    @property
    def to_review(self) -> bool:
        """Whether it is clean and nobody reviewed it since it was accepted."""
        return self.state is SliceState.CLEAN and self.review is None

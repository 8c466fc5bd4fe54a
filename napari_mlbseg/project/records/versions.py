"""What several copies of a study know of one slice, and what counts once they are united."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from napari_mlbseg.project.records.slices import SliceState

_RANK: Final = {
    SliceState.UNTOUCHED: 0,
    SliceState.SKIPPED: 1,
    SliceState.DRAFT: 2,
    SliceState.CLEAN: 3,
}


@dataclass(frozen=True, order=True)
class Version:
    """A revision as every copy of its study knows it: nobody saves a slice twice in a microsecond.

    The number of a revision differs from copy to copy.
    """

    created_at: datetime
    author: str
    state: SliceState


@dataclass(frozen=True)
class Known:
    """What a copy knows of a slice.

    Attributes
    ----------
    versions
        All that it has.
    heads
        Those of them that nothing supersedes; several where copies that went apart were united and
        nobody has saved the slice since.
    """

    versions: frozenset[Version] = frozenset()
    heads: frozenset[Version] = frozenset()


def united(mine: Known, theirs: Known) -> Known:
    """What two copies know together.

    A head counts unless the other copy has superseded it. So the result depends neither on the
    order in which copies are united, nor on how often (Shapiro et al., "Conflict-free replicated
    data types", SSS 2011, multi-value register).

    >>> at = datetime(2026, 1, 1)
    >>> old, new = Version(at, "ada", SliceState.DRAFT), Version(at, "ada", SliceState.CLEAN)
    >>> before, after = Known(frozenset([old]), frozenset([old])), Known(
    ...     frozenset([old, new]), frozenset([new])
    ... )
    >>> united(before, after) == united(after, before) == after
    True
    """
    both = mine.heads & theirs.heads
    only_mine, only_theirs = mine.heads - theirs.versions, theirs.heads - mine.versions
    return Known(mine.versions | theirs.versions, both | only_mine | only_theirs)


def counting(heads: Iterable[Version]) -> Version:
    """The head that counts: an accepted one before a draft, a later one before an earlier one."""
    return max(heads, key=lambda head: (_RANK[head.state], head))


def accepted(heads: Iterable[Version]) -> list[Version]:
    """The heads that somebody accepted, in order; a conflict where their masks differ."""
    return sorted(head for head in heads if head.state is SliceState.CLEAN)

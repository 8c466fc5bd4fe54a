"""Copies of a slice that are united in any order, any number of times."""

from datetime import datetime, timedelta
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from napari_mlbseg.project.records.slices import SliceState
from napari_mlbseg.project.records.versions import Known, Version, counting, united

START = datetime(2026, 1, 1)
PEOPLE = ("ada", "ben", "cleo")


@st.composite
def copies(draw: st.DrawFn) -> list[Known]:
    """What three people know after they saved a slice and took each other's work, in any order."""
    known = [Known() for _ in PEOPLE]
    for minute in range(draw(st.integers(1, 12))):
        who = draw(st.integers(0, 2))
        other = draw(st.integers(0, 2))
        if other != who:
            known[who] = united(known[who], known[other])
        else:
            state = draw(st.sampled_from(SliceState))
            at = START + timedelta(minutes=minute)
            new = Version(at, PEOPLE[who], state)
            known[who] = Known(known[who].versions | {new}, frozenset([new]))
    return known


@given(copies(), st.permutations(range(3)))
def test_the_order_of_merges_does_not_matter(known: list[Known], order: list[int]) -> None:
    a, b, c = known
    first = united(united(a, b), c)
    assert united(a, united(b, c)) == first
    assert reduce(united, [known[k] for k in order]) == first
    assert united(first, a) == united(first, first) == first


@given(copies())
def test_what_nobody_superseded_counts_and_nothing_is_lost(known: list[Known]) -> None:
    together = reduce(united, known)
    assert together.versions == frozenset().union(*(one.versions for one in known))
    assert together.heads <= together.versions
    newest = max(together.versions, default=None)
    assert newest is None or newest in together.heads  # whoever saved last knew all of her own
    for one in known:
        assert one.heads or not one.versions


def test_an_accepted_slice_counts_before_a_later_draft() -> None:
    accepted = Version(START, "ada", SliceState.CLEAN)
    draft = Version(START + timedelta(days=1), "ben", SliceState.DRAFT)
    skipped = Version(START + timedelta(days=2), "ben", SliceState.SKIPPED)
    assert counting([draft, skipped, accepted]) == accepted
    assert counting([skipped, draft]) == draft

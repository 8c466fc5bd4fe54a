"""What a merge takes beside slices: marked ends, reviews, names of cases, and what teaches."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from napari_mlbseg.project.catalogue import amendments, extents, reviews
from napari_mlbseg.project.catalogue.amendments import Amendments, Renamed
from napari_mlbseg.project.catalogue.catalogue import Catalogue
from napari_mlbseg.project.catalogue.database import Transaction
from napari_mlbseg.project.catalogue.extents import Extents
from napari_mlbseg.project.catalogue.reviews import Reviews
from napari_mlbseg.project.catalogue.verdicts import Teaching
from napari_mlbseg.project.folder.inside import spelled
from napari_mlbseg.project.parts import Parts
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.extents import ExtentRecord
from napari_mlbseg.project.records.reviews import Review
from napari_mlbseg.project.records.slices import SliceKey


@dataclass(frozen=True)
class Beside:
    """What the other study has that is not here, or was said there later."""

    extents: Sequence[ExtentRecord]
    reviews: Sequence[tuple[SliceKey, Review]]
    names: Mapping[str, Renamed]
    teaching: Teaching | None

    @property
    def counts(self) -> Mapping[str, int]:
        """How much there is, for the log."""
        found = {"extents": self.extents, "reviews": self.reviews, "names": self.names}
        return {what: len(some) for what, some in found.items()}

    def take(self, write: Transaction, known: Amendments) -> None:
        """Add it, with its authors and times; `known` has what was changed of cases here."""
        for one in self.extents:
            extents.take(write, one)
        for key, review in self.reviews:
            reviews.take(write, key, review)
        for case_id, renamed in self.names.items():
            amended = replace(known.of(case_id), name=renamed.name)
            amendments.add(write, case_id, amended, renamed)
            write.note("take name", case_id, author=renamed.author, name=renamed.name)
        if self.teaching is not None:
            reviews.take_teaching(write, self.teaching)


def beside_of(cases: Sequence[Case], mine: Parts, theirs: Parts, left_out: list[str]) -> Beside:
    """Find it for cases that both have; sentences about what cannot be taken join `left_out`."""
    ids = {case.id for case in cases}
    return Beside(
        [one for case in cases for one in _later_extents(case.id, mine.extents, theirs.extents)],
        _unheard(ids, mine.reviews, theirs.reviews),
        _later_names(cases, mine.catalogue, theirs.catalogue, left_out),
        _later_teaching(mine.reviews.teaching, theirs.reviews.teaching),
    )


def _later_extents(case_id: str, mine: Extents, theirs: Extents) -> Iterator[ExtentRecord]:
    """The extents that were marked later than those here."""
    have = {(one.axis, one.value): one for one in mine.newest(case_id)}
    for one in theirs.newest(case_id):
        here = have.get((one.axis, one.value))
        if here is None or (here.created_at, here.author) < (one.created_at, one.author):
            yield one


def _unheard(
    case_ids: Collection[str], mine: Reviews, theirs: Reviews
) -> list[tuple[SliceKey, Review]]:
    """The reviews of these cases that are not here; what they are about may come with them."""
    here = mine.all()
    return [
        (key, review)
        for key, found in theirs.all().items()
        for review in found
        if key.case_id in case_ids and review not in here.get(key, ())
    ]


def _later_names(
    cases: Sequence[Case], mine: Catalogue, theirs: Catalogue, left_out: list[str]
) -> Mapping[str, Renamed]:
    """Names that were given to cases later than those here, and that no other case has then."""
    found = {}
    for case in cases:
        here, there = (one.amendments.renamed(case.id) for one in (mine, theirs))
        if there is not None and (here is None or here < there):
            found[case.id] = there
    names = {case.id: case.name for case in mine.cases()}
    names |= {case_id: one.name for case_id, one in found.items()}
    counts = Counter(map(spelled, names.values()))
    for case_id in [one for one in found if counts[spelled(names[one])] > 1]:
        left_out.append(
            f"{mine.name(case_id)} is called {names[case_id]} in the other study, which is the "
            "name of another case here. Rename one of them, and merge again."
        )
        del found[case_id]
    return found


def _later_teaching(mine: Teaching | None, theirs: Teaching | None) -> Teaching | None:
    """What the other study says of the slices that teach, if that was said later."""
    if theirs is None or (mine is not None and _when(mine) >= _when(theirs)):
        return None
    return theirs


def _when(teaching: Teaching) -> tuple[datetime, str]:
    return teaching.created_at, teaching.author

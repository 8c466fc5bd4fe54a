"""Human work of a copy of a study taken into another copy: united, never overwritten."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from napari_mlbseg.errors import Damaged, UserError
from napari_mlbseg.project.arrays.copying import copy_arrays, copy_predictions, require_same_image
from napari_mlbseg.project.beside import beside_of
from napari_mlbseg.project.catalogue import unions
from napari_mlbseg.project.catalogue.database import Transaction
from napari_mlbseg.project.catalogue.revisions import Slices
from napari_mlbseg.project.catalogue.unions import Slot, Unions, version
from napari_mlbseg.project.folder.inside import spelled
from napari_mlbseg.project.parts import Parts
from napari_mlbseg.project.records.cases import Case, LabelClass
from napari_mlbseg.project.records.channels import require_same_channels
from napari_mlbseg.project.records.slices import SliceKey, SliceRecord, SliceState
from napari_mlbseg.project.records.versions import Known, accepted, counting, united


@dataclass(frozen=True)
class Merged:
    """What came from the other study.

    Attributes
    ----------
    cases
        Names of cases that were not there before.
    revisions
        How many revisions of slices were taken.
    extents
        How many marked extents were taken.
    reviews
        How many reviews were taken.
    conflicts
        Slices that several people accepted with different masks, whenever that happened.
    left_out
        What could not be taken, in sentences.
    """

    cases: tuple[str, ...]
    revisions: int
    extents: int
    reviews: int
    conflicts: tuple[SliceKey, ...]
    left_out: tuple[str, ...]


def merge(mine: Parts, theirs: Parts, chosen: Collection[str] | None = None) -> Merged:
    """Take the human work of a copy of a study; cases that are not there come with their arrays.

    Merging again takes nothing, and the order of merges does not matter.

    Raises
    ------
    UserError
        If the classes or the channels differ, or the image of a case; nothing is taken then.
    """
    _require_copy(mine, theirs)
    cases, left_out = _at_hand(mine, theirs, chosen)
    known = {case.id: case for case in mine.catalogue.cases()}
    for case in cases:
        if case.id in known:
            require_same_image(known[case.id], case, mine.arrays, theirs.arrays)
    new = [case for case in cases if case.id not in known]
    _require_free_names(new, known.values())
    _add(new, mine, theirs)
    plans = [plan for case in cases for plan in _plans(case, mine.unions, theirs.unions)]
    plans = _unhidden(plans, mine.blind.left(), left_out)
    beside = beside_of(cases, mine, theirs, left_out)
    revisions = 0
    with mine.database.transaction() as write:
        for plan in plans:
            try:
                revisions += _take(write, plan, mine.slices, theirs.slices)
            except Damaged as error:
                left_out.append(f"{mine.slices.in_words(plan.key)} was left out: {error}")
        beside.take(write, mine.catalogue.amendments)
        write.note("merge study", None, study=theirs.identity, revisions=revisions, **beside.counts)
    mine.catalogue.amendments.forget()
    conflicts = tuple(one.key for one in mine.unions.conflicts())
    added = tuple(case.name for case in new)
    counts = len(beside.extents), len(beside.reviews)
    return Merged(added, revisions, *counts, conflicts, tuple(left_out))


def _require_copy(mine: Parts, theirs: Parts) -> None:
    mine.runs.require_none("merge another study into this one")
    if mine.identity == theirs.identity:
        raise UserError("This is the same study. Name a copy of it that somebody else worked on.")
    _require_same_classes(mine.catalogue.classes(), theirs.catalogue.classes())
    if mine.catalogue.ids():
        here, there = mine.catalogue.channels.names(), theirs.catalogue.channels.names()
        require_same_channels(here, there, "The other study")


def _at_hand(
    mine: Parts, theirs: Parts, chosen: Collection[str] | None
) -> tuple[list[Case], list[str]]:
    """The cases to merge, and what is left out, in sentences: cases that were removed here."""
    cases, left_out = [], []
    here, standing = {case.id for case in mine.catalogue.cases()}, mine.catalogue.ids()
    for case in theirs.catalogue.cases():
        if chosen is not None and case.id not in chosen:
            continue
        if case.id in standing and case.id not in here:
            left_out.append(
                f"{case.name} was removed from this study; restore it to take its slices."
            )
        else:
            cases.append(case)
    return cases, left_out


@dataclass(frozen=True)
class _Plan:
    """A slice of which the other study knows what this one does not."""

    key: SliceKey
    mine: Slot
    theirs: Slot

    @property
    def together(self) -> Known:
        return united(self.mine.known, self.theirs.known)


def _plans(case: Case, mine: Unions, theirs: Unions) -> Iterator[_Plan]:
    have = mine.known(case.id)
    for key, there in theirs.known(case.id).items():
        plan = _Plan(key, have.get(key, Slot()), there)
        if plan.together != plan.mine.known:
            yield plan


def _unhidden(
    plans: Sequence[_Plan], blind: Collection[SliceKey], left_out: list[str]
) -> list[_Plan]:
    """Those of slices that the owner of this copy may see."""
    shown = [plan for plan in plans if plan.key not in blind]
    if len(shown) < len(plans):
        left_out.append(
            f"What others did to {len(plans) - len(shown)} slices is held back until you have "
            "accepted them here: they are to be corrected blindly. Merge again then."
        )
    return shown


def _take(write: Transaction, plan: _Plan, mine: Slices, theirs: Slices) -> int:
    """Take the versions of a slice that are not there yet; returns their number."""
    new = sorted(
        (record for v, record in plan.theirs.revisions.items() if v not in plan.mine.revisions),
        key=lambda record: record.revision,
    )
    # All are read before any is written: one of them may be damaged.
    masks = [theirs.revision_mask(one.revision) if one.has_mask else None for one in new]
    known = dict(plan.mine.revisions)
    for record, mask in zip(new, masks, strict=True):
        known[version(record)] = mine.take(write, record, mask)
    heads = plan.together.heads
    if not new or heads != {version(new[-1])}:
        _settle(write, plan.key, [known[head] for head in sorted(heads)], mine)
    return len(new)


def _settle(
    write: Transaction, key: SliceKey, heads: Sequence[SliceRecord], slices: Slices
) -> None:
    """Add a revision that stands for all heads: the one that counts, or a draft in a conflict."""
    by_version = {version(head): head for head in heads}
    best = by_version[counting(by_version)]
    masks = {
        slices.revision_mask(by_version[one].revision).tobytes() for one in accepted(by_version)
    }
    state = SliceState.DRAFT if len(masks) > 1 else best.state
    mask = slices.revision_mask(best.revision) if best.has_mask else None
    stands = slices.take(write, replace(best, state=state), mask)
    unions.add(write, key, stands.revision, [head.revision for head in heads])


def _add(cases: Sequence[Case], mine: Parts, theirs: Parts) -> None:
    """Add cases with their arrays, all of them or none."""
    added = []
    try:
        for case in cases:
            with mine.arrays.importing(case.id):
                copy_arrays(case, mine.arrays, theirs.arrays)
            added.append(case.id)
        if cases:
            named = {case.id: theirs.catalogue.amendments.renamed(case.id) for case in cases}
            renamed = {case_id: one for case_id, one in named.items() if one is not None}
            mine.catalogue.add_cases(cases, renamed=renamed)
    except BaseException:
        for case_id in added:
            mine.arrays.discard(case_id)
        raise
    for case in cases:
        mine.arrays.imported(case.id)
        copy_predictions(case, mine.arrays, theirs.arrays)


def _require_free_names(new: Iterable[Case], known: Iterable[Case]) -> None:
    names = {spelled(case.name) for case in known}
    for case in new:
        if spelled(case.name) in names:
            raise UserError(
                f"The other study has a case {case.name!r} that this one does not have, and this "
                "one calls another case so. Rename one of them first."
            )


def _require_same_classes(mine: Sequence[LabelClass], theirs: Sequence[LabelClass]) -> None:
    here, there = ({one.value: one.name for one in classes} for classes in (mine, theirs))
    if here != there:
        raise UserError(
            f"The classes differ: here {_in_words(here)}; there {_in_words(there)}. Change them in "
            "one of the studies so that they have the same values and names, then merge."
        )


def _in_words(classes: Mapping[int, str]) -> str:
    return ", ".join(f"{value} {name}" for value, name in sorted(classes.items())) or "none"

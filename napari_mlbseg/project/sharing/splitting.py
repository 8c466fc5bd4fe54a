"""Copies of a study for several people, each with the cases that are theirs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.folder.inside import spelled
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import SUFFIX, Study


def dealt(
    cases: Sequence[str], people: Sequence[str], *, shared: float = 0.0, seed: int = 0
) -> Mapping[str, tuple[str, ...]]:
    """Deal cases (by name) to people by chance, in equal numbers; a share goes to all of them.

    What all have, they correct blindly, each in their own copy: that tells how far they agree.

    >>> dealt(["a", "b", "c", "d"], ["Ada", "Ben"], shared=0.5)
    {'Ada': ('a', 'b', 'c'), 'Ben': ('a', 'c', 'd')}
    """
    if len({spelled(name) for name in people}) < len(people) or not all(people):
        raise UserError("Give each person a name of their own.")
    if not 0 <= shared <= 1:
        raise UserError(f"The share of cases that all correct is from 0 to 1, but got {shared:g}.")
    mixed = [cases[k] for k in np.random.default_rng(seed).permutation(len(cases))]
    common = round(shared * len(cases))
    hands = {
        name: [*mixed[:common], *mixed[common + k :: len(people)]] for k, name in enumerate(people)
    }
    return {
        name: tuple(case for case in cases if case in set(hand)) for name, hand in hands.items()
    }


def drawn_blindly(study: Study, share: float, *, seed: int = 0) -> tuple[SliceKey, ...]:
    """Draw a share (0 to 1) of the slices of each case by chance, of those nobody worked on.

    Whoever gets them corrects them without seeing what others make of them.

    Examples
    --------
    >>> from napari_mlbseg.api import import_folder
    >>> study = Study.create(Path("heart.mlbseg"))
    >>> imported = import_folder(study, Path("images"), Path("rough"))
    >>> [(key.case_id, key.index) for key in drawn_blindly(study, 0.05)]
    [('phantom_01', 18), ('phantom_02', 2)]
    >>> study.close()
    """
    if not 0 <= share <= 1:
        raise UserError(f"The share of slices that all correct is from 0 to 1, but got {share:g}.")
    rng, found = np.random.default_rng(seed), []
    for case in study.cases:
        known = {record.key for record in study.slices.records(case.id)}
        keys = [SliceKey(case.id, case.axis, k) for k in range(case.geometry.shape[case.axis])]
        free = [key for key in keys if key not in known]
        count = min(len(free), round(share * len(keys)))
        found += [free[k] for k in sorted(rng.permutation(len(free))[:count].tolist())]
    return tuple(found)


def split(
    study: Study,
    folder: Path,
    hands: Mapping[str, Sequence[str]],
    blind: Sequence[SliceKey] = (),
) -> Mapping[str, Path]:
    """Write a copy of a study for each person into a folder, with their cases (by name).

    All of them are to correct the slices `blind`, and so have the cases of these, too.
    A copy has everything that was done to its cases so far; `Study.merge` takes what is done in it
    back. Nothing is left of the copies after an error. Returns their paths.

    Raises
    ------
    UserError
        If a person gets no case, a copy exists already, or the study lacks a case.

    Examples
    --------
    >>> from napari_mlbseg.api import import_folder
    >>> study = Study.create(Path("heart.mlbseg"))
    >>> imported = import_folder(study, Path("images"), Path("rough"))
    >>> hands = dealt([case.name for case in study.cases], ["Ada", "Ben"])
    >>> copies = split(study, Path("copies"), hands)
    >>> copies["Ada"].name, copies["Ben"].name
    ('heart-Ada.mlbseg', 'heart-Ben.mlbseg')
    >>> with Study.open(copies["Ada"], writable=False) as ada:
    ...     merged = study.merge(ada)
    >>> merged.revisions, merged.conflicts
    (0, ())
    >>> study.close()
    """
    for name, hand in hands.items():
        if not hand:
            raise UserError(f"{name} gets no case: there are more people than cases.")
    common = {key.case_id for key in blind}
    wanted = {
        name: {study.named(case).id for case in hand} | common for name, hand in hands.items()
    }
    made: dict[str, Path] = {}
    copies: list[Study] = []
    try:
        for name, ids in wanted.items():
            with Study.create(folder / f"{study.name}-{name}{SUFFIX}", author=name) as copy:
                copies.append(copy)
                copy.set_classes(study.classes)
                copy.merge(study, ids)
                if blind:
                    copy.blind.ask(blind)
                made[name] = copy.path
    except BaseException:
        for copy in copies:
            copy.discard()
        raise
    return made

"""How far people agree on slices that they corrected without knowing of each other's work."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Agreement:
    """How far two people agree on a class in one slice, or the mean over slices.

    Attributes
    ----------
    dice
        0 where only one of them marked the class.
    distance_mm
        Mean distance between the two outlines, both ways; None where only one of them marked it.
    slices
        How many slices this is the mean of.
    """

    people: tuple[str, str]
    value: int
    dice: float
    distance_mm: float | None
    slices: int = 1


def agreement(study: Study) -> tuple[Agreement, ...]:
    """The mean agreement of each pair of people on each class that one of them marked.

    Looks at all slices that were united from masks of several people, also those that were settled
    since. Whoever accepted one of them had not seen the others.

    Examples
    --------
    >>> from pathlib import Path
    >>> study = Study.create(Path("heart.mlbseg"))
    >>> agreement(study)  # nobody has worked on a copy yet
    ()
    >>> study.close()
    """
    found: dict[tuple[tuple[str, str], int], list[Agreement]] = {}
    for one in each(study):
        found.setdefault((one.people, one.value), []).append(one)
    return tuple(_mean(found[place]) for place in sorted(found))


def each(study: Study) -> Iterator[Agreement]:
    """The agreement on each class in each slice."""
    seen, kept = set(), {case.id for case in study.cases}
    for union in study.unions.all():
        if union.key.case_id not in kept:
            continue
        for pair in combinations(sorted(union.opinions, key=lambda one: one.author), 2):
            people = pair[0].author, pair[1].author
            versions = tuple((one.author, one.created_at) for one in pair)
            if people[0] == people[1] or (union.key, versions) in seen:
                continue
            seen.add((union.key, versions))
            masks = [study.slices.revision_mask(one.revision) for one in pair]
            spacing = _spacing(study, union.key)
            for value in sorted(set(np.unique(np.stack(masks)).tolist()) - {0}):
                a, b = (mask == value for mask in masks)
                yield Agreement(people, value, dice(a, b), distance_mm(a, b, spacing))


def dice(a: Mask, b: Mask) -> float:
    """Twice the pixels that both masks have, over those of each.

    >>> dice(np.array([[True, True]]), np.array([[True, False]]))
    0.6666666666666666
    """
    return 2 * int((a & b).sum()) / (int(a.sum()) + int(b.sum()))


def distance_mm(a: Mask, b: Mask, spacing_mm: tuple[float, float]) -> float | None:
    """Mean distance from each outline to the other one; None if one of the masks is empty.

    The outline of a mask are its pixels that touch another one by an edge, or the end of the slice.
    """
    if not a.any() or not b.any():
        return None
    outlines = [mask & ~ndimage.binary_erosion(mask) for mask in (a, b)]
    ways = [
        ndimage.distance_transform_edt(~there, sampling=spacing_mm)[here]
        for here, there in (outlines, outlines[::-1])
    ]
    return float(np.concatenate(ways).mean())


def _spacing(study: Study, key: SliceKey) -> tuple[float, float]:
    spacing = study.case(key.case_id).geometry.spacing_mm
    rows, columns = (mm for axis, mm in enumerate(spacing) if axis != key.axis)
    return float(rows), float(columns)


def _mean(found: list[Agreement]) -> Agreement:
    known = [one.distance_mm for one in found if one.distance_mm is not None]
    return Agreement(
        found[0].people,
        found[0].value,
        fmean(one.dice for one in found),
        fmean(known) if known else None,
        len(found),
    )

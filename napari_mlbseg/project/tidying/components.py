"""Connected components of a volume of which one slab after the other is looked at.

Each slab is numbered on its own, always in the same way; a graph of the numbers that touch from
slab to slab says which of them belong together. So only one slab is unpacked at a time, and the
components of a slab are found again by numbering it again.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage import measure

from napari_mlbseg.project.tidying.persons import EDITED, SEEN

Ids = NDArray[np.int64]
Pairs = NDArray[np.int64]
"""Two ids in each row."""

Looked = tuple[NDArray[Any], NDArray[np.uint8]]
"""The labels of a slab, and whose each voxel is (see `persons`)."""


@dataclass(frozen=True)
class Components:
    """Components of equal labels; each id is a part of one within a slab.

    All arrays but the first have one entry for each component. Components are in the order of
    their first voxels, slice by slice and row by row.

    Attributes
    ----------
    of_id
        The component of each id.
    first_id
        The first id of each slab, and the one after the last.
    value
        The label.
    free, edited, seen
        How many voxels are the machine's, a person's on drafts, and a person's on clean slices.
    border
        Whether it lies at the border of what was looked at.
    touching
        Pairs of components that share a face; only if asked for.
    """

    of_id: Ids
    first_id: Ids
    value: NDArray[np.int64]
    free: NDArray[np.int64]
    edited: NDArray[np.int64]
    seen: NDArray[np.int64]
    border: NDArray[np.bool_]
    touching: Pairs

    def __len__(self) -> int:
        return len(self.value)

    def in_slab(self, number: int) -> Ids:
        """The component of each number that `numbered` gives within this slab."""
        return self.of_id[self.first_id[number] : self.first_id[number + 1]]


def numbered(labels: NDArray[Any], *, corners: bool) -> tuple[Ids, int]:
    """Number the components of a slab from 1, by their first voxels; tell how many there are.

    With `corners` voxels of a component touch by a face, an edge or a corner, and 0 is no
    component; without, they share a face, and those of 0 are components, too.
    """
    background, reach = (0, 3) if corners else (-1, 1)
    label: Any = measure.label  # which is not annotated
    ids, count = label(labels, background=background, connectivity=reach, return_num=True)
    if 1 in ids.shape[1:]:  # scikit-image looks along such a side first
        ids = in_order(np.concatenate([[0], ids.ravel()]))[1:].reshape(ids.shape)
    return ids, int(count)


def components_in(look: Callable[[int], Looked], slabs: int, *, corners: bool) -> Components:
    """Find the components of a volume that is looked at slab by slab, see `numbered`."""
    tables: list[_Table] = []
    same: list[Pairs] = []
    touching: list[Pairs] = []
    above: tuple[NDArray[Any], Ids] | None = None
    for number in range(slabs):
        labels, whose = look(number)
        ids, count = numbered(labels, corners=corners)
        first = 0 if not tables else tables[-1].first + len(tables[-1].value)
        ends = number == 0, number == slabs - 1
        tables.append(_table(labels, whose, ids, count, first, ends))
        if not corners:
            touching += [first + pairs for pairs in _neighbours(ids)]
        if above is not None:
            meet = (*above, labels[0], ids[0] + first)
            same.append(_joined(*meet, corners=corners))
            if not corners:
                touching.append(_unique(above[1], ids[0] + first, above[0] != labels[0]))
        # Copies, so that the slab itself can go.
        above = labels[-1].copy(), ids[-1] + first
    return _together(tables, same, touching)


@dataclass(frozen=True)
class _Table:
    """What is known of the numbers of a slab; the first, 0, is no component."""

    first: int
    value: NDArray[np.int64]
    free: NDArray[np.int64]
    edited: NDArray[np.int64]
    seen: NDArray[np.int64]
    border: NDArray[np.bool_]


def _table(
    labels: NDArray[Any],
    whose: NDArray[np.uint8],
    ids: Ids,
    count: int,
    first: int,
    ends: tuple[bool, bool],
) -> _Table:
    value = np.zeros(count + 1, np.int64)
    value[ids.ravel()] = labels.ravel()
    border = np.zeros(count + 1, bool)
    for face in _faces(ids, ends):
        border[face] = True
    free = np.bincount(ids.ravel(), minlength=count + 1)
    edited, seen = np.zeros((2, count + 1), np.int64)
    if whose.any():  # on most slabs nobody worked
        edited, seen = (
            np.bincount(ids[whose == code], minlength=count + 1) for code in (EDITED, SEEN)
        )
    return _Table(first, value, free - edited - seen, edited, seen, border)


def _faces(ids: Ids, ends: tuple[bool, bool]) -> Iterator[Ids]:
    yield from (ids[:, 0], ids[:, -1], ids[:, :, 0], ids[:, :, -1])
    if ends[0]:
        yield ids[0]
    if ends[1]:
        yield ids[-1]


def _neighbours(ids: Ids) -> Iterator[Pairs]:
    """Pairs of different numbers that share a face within a slab."""
    for axis in range(3):
        turned = np.moveaxis(ids, axis, 0)
        before, after = turned[:-1], turned[1:]
        yield _unique(before, after, before != after)


def _joined(
    upper: NDArray[Any], upper_ids: Ids, lower: NDArray[Any], lower_ids: Ids, *, corners: bool
) -> Pairs:
    """Pairs of ids of two slices (rows columns) that follow each other and are one component."""
    found = []
    steps = (0, -1, 1) if corners else (0,)
    for step in product(steps, steps):
        one, other = tuple(_cut(n) for n in step), tuple(_cut(-n) for n in step)
        same = upper[one] == lower[other]
        if corners:
            same &= upper[one] != 0
        found.append(_unique(upper_ids[one], lower_ids[other], same))
    return np.concatenate(found)


def _cut(step: int) -> slice:
    """The part of a side that still lies on it after a step."""
    return slice(max(0, -step), -step if step > 0 else None)


def _unique(first: Ids, second: Ids, where: NDArray[np.bool_]) -> Pairs:
    one, other = first[where], second[where]
    base = int(other.max(initial=0)) + 1  # as one number each, which is quicker to sort
    return np.stack(np.divmod(np.unique(one * base + other), base), axis=1)


def _together(
    tables: Sequence[_Table], same: Sequence[Pairs], touching: Sequence[Pairs]
) -> Components:
    """Join the numbers of all slabs."""
    sizes = [len(table.value) for table in tables]
    count = sum(sizes)
    component = in_order(joined(count, _all(same)))
    parts = component.max() + 1 if count else 0

    def summed(name: str) -> NDArray[np.int64]:
        each = np.concatenate([getattr(table, name) for table in tables])
        return np.bincount(component, each, minlength=parts).astype(np.int64)

    value = np.zeros(parts, np.int64)
    value[component] = np.concatenate([table.value for table in tables])
    return Components(
        component,
        np.cumsum([0, *sizes]),
        value,
        summed("free"),
        summed("edited"),
        summed("seen"),
        summed("border") > 0,
        component[_all(touching)],
    )


def _all(pairs: Sequence[Pairs]) -> Pairs:
    return np.concatenate([np.empty((0, 2), np.int64), *pairs])


def joined(count: int, pairs: Pairs) -> Ids:
    """For each of `count` things a number that it shares with all that it is paired with."""
    ones = np.ones(len(pairs), bool)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def in_order(numbers: Ids) -> Ids:
    """The same numbers, replaced by 0, 1, 2, ... in the order in which they first come."""
    _, first, which = np.unique(numbers, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[which.reshape(numbers.shape)]

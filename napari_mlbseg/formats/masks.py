"""Labels in several masks, one for each structure: put together, and labels with other numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.limits import require_memory
from napari_mlbseg.formats.overlaps import Overlaps, empty_notes
from napari_mlbseg.formats.scan import Scan, Slabs

MAX_LABEL: Final = 254


@dataclass(frozen=True)
class Part:
    """Labels that are put together with others.

    Attributes
    ----------
    values
        Labels in the part, and what they become; None if all that is labelled becomes `value`.
    """

    path: Path
    scan: Scan
    value: int = 0
    values: Mapping[int, int] | None = None


def together(path: Path, parts: Sequence[Part], names: Mapping[int, str]) -> Scan:
    """Labels of several files on one grid; where they overlap, the larger value stays.

    Raises
    ------
    UserError
        If the parts do not lie on one grid.
    """
    first = parts[0].scan
    aligned = []
    for part in parts:
        geometry = part.scan.geometry.aligned_with(first.geometry)
        if geometry is None:
            raise UserError(
                f"{part.path} and {parts[0].path} do not lie on the same voxels, so they cannot "
                "be labels of one image. Bring them onto one grid."
            )
        aligned.append(replace(part, scan=replace(part.scan, geometry=geometry)))
    overlaps, found = Overlaps(), set[int]()

    def stored() -> Slabs:
        overlaps.begin()
        require_memory(int(np.prod(first.geometry.shape)))
        whole = np.zeros(first.geometry.shape, np.uint8)
        for part in aligned:
            _put(whole, part, overlaps)
        found.clear()
        found.update(np.flatnonzero(np.bincount(whole.ravel())).tolist())
        yield 0, first.geometry.to_file(whole)

    def later() -> tuple[str, ...]:
        told = [note for part in parts for note in part.scan.found_later()]
        return (*told, *overlaps.notes(path, names), *empty_notes(path, names, found))

    return replace(
        first,
        dtype=np.dtype(np.uint8),
        stored=stored,
        axis=2,
        notes=tuple(note for part in parts for note in part.scan.notes),
        names=names,
        colors={},
        onto=None,
        found_later=later,
    )


def _put(whole: NDArray[np.uint8], part: Part, overlaps: Overlaps) -> None:
    """Put one part on top of the others."""
    seen = set[int]()
    for axis, start, slab in part.scan.slabs():
        window: list[slice] = [slice(None)] * 3
        window[axis] = slice(start, start + slab.shape[axis])
        target = whole[tuple(window)]
        here = np.flatnonzero(np.bincount(slab.ravel()))
        seen.update(here[here > 0].tolist())
        if part.values is None:
            overlaps.put(target, slab > 0, part.value)
        else:
            for value in here[here > 0].tolist():
                overlaps.put(target, slab == value, part.values.get(value, value))
    if part.values is None and len(seen) > 1:
        labels = ", ".join(map(str, sorted(seen)))
        raise UserError(
            f"{part.path} holds the labels {labels}, but a mask of one structure has one. Give "
            "labels of several structures as one file for each image."
        )


def numbered_together(names: Sequence[Mapping[int, str]]) -> list[dict[int, int]]:
    """New values for the named labels of several files, so that one name has one value.

    A label keeps its value unless another name has it.

    >>> numbered_together([{1: "organ"}, {1: "lesion", 2: "organ"}])
    [{1: 1}, {1: 2, 2: 1}]
    """
    known: dict[str, int] = {}
    taken: set[int] = set()
    for file in names:
        for value, name in sorted(file.items()):
            if name not in known and value not in taken:
                known[name] = value
                taken.add(value)
            elif name not in known:
                known[name] = next(n for n in range(1, 2 * MAX_LABEL) if n not in taken)
                taken.add(known[name])
    return [{value: known[name] for value, name in file.items()} for file in names]


def renumbered(path: Path, labels: Scan, numbers: Sequence[tuple[int, int]]) -> Scan:
    """The same labels with other numbers; those that are not listed stay.

    Raises
    ------
    UserError
        If a number is not that of a label.
    """
    if not numbers:
        return labels
    table = np.arange(256)
    for old, new in numbers:
        if not (0 <= old <= 255 and 0 <= new <= MAX_LABEL):
            raise UserError(
                f"{path}: label {old} cannot become {new}; labels are 0 to 255, classes 1 to "
                f"{MAX_LABEL}, and 0 is the background."
            )
        table[old] = new
    lookup = table.astype(np.uint8)

    def moved(values: Mapping[int, Any]) -> dict[int, Any]:
        return {int(lookup[value]): what for value, what in values.items() if lookup[value]}

    def stored() -> Slabs:
        for start, slab in labels.stored():
            yield start, lookup[slab]

    onto = labels.onto
    return replace(
        labels,
        stored=stored,
        names=moved(labels.names),
        colors=moved(labels.colors),
        onto=None if onto is None else lambda image: renumbered(path, onto(image), numbers),
    )

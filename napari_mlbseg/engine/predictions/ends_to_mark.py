"""Which ends of classes a person should mark, because nothing says where they are."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.project.exporting.voxels import in_bands
from napari_mlbseg.project.labels import machine_array
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.extents import End
from napari_mlbseg.project.records.progress import Progress, silent
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study

MOST_CLASSES: Final = 3


@dataclass(frozen=True)
class EndToMark:
    """A slice near an end of some classes (by their values) along the axis of its case."""

    key: SliceKey
    end: End
    classes: tuple[int, ...]


def ends_to_mark(study: Study, most: int, progress: Progress = silent) -> list[EndToMark]:
    """Up to `most` ends, at most one on each side of a case; cases with clean slices come first.

    An end is asked for where neither a mark nor a clean slice says where it is, of classes that
    the case shows. The slice is the one where the labels on view end; without any labels of the
    machine it lies in the middle of the first or the last third of the case.
    """
    if most < 1:
        return []
    begun = {key.case_id for key in study.slices.clean()}
    cases = sorted(study.cases, key=lambda case: case.id not in begun)
    return list(islice(_all_ends(study, cases, progress), most))


def _all_ends(study: Study, cases: list[Case], progress: Progress) -> Iterator[EndToMark]:
    for done, case in enumerate(cases):
        unknown = study.extents.unknown_ends(case.id, case.axis)
        values = sorted({value for found in unknown.values() for value in found})
        if not values:
            continue
        progress(f"Looking for the ends in {case.name}", done, len(cases))
        places = _places(study, case, values)
        for end, found in unknown.items():
            shown = [value for value in found if value in places][:MOST_CLASSES]
            if shown:
                index = places[shown[0]][0 if end is End.FIRST else 1]
                yield EndToMark(SliceKey(case.id, case.axis, index), end, tuple(shown))


def _places(study: Study, case: Case, values: list[int]) -> dict[int, tuple[int, int]]:
    """Where to look for the first and the last slice of each class."""
    shown = _shown(study, case, values)
    spans = {value: (found[0], found[-1]) for value, found in shown.items() if found}
    if machine_array(lambda name: study.arrays.has(case.id, name)) is not None:
        return spans
    last = case.geometry.shape[case.axis] - 1
    first_third, last_third = last // 6, last - last // 6
    return {
        value: (min(first_third, low), max(last_third, high))
        for value in values
        for low, high in [spans.get(value, (last, 0))]
    }


def _shown(study: Study, case: Case, values: Iterable[int]) -> dict[int, list[int]]:
    """The slices along the axis of a case on which its working labels show each class."""
    across = tuple(k for k in range(3) if k != case.axis)
    parts: dict[int, list[NDArray[np.bool_]]] = {value: [] for value in values}
    for slab in in_bands(study.labels.windows(case.id), case.axis):
        for value, found in parts.items():
            found.append((slab == value).any(axis=across))
    return {value: np.flatnonzero(np.concatenate(found)).tolist() for value, found in parts.items()}

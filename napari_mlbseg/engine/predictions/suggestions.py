"""Suggestions for a whole study, from the arrays of the last run; needs no network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from napari_mlbseg.engine.predictions.ends_to_mark import ends_to_mark
from napari_mlbseg.engine.steps import next_slice
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.coverage import looked_at_everywhere
from napari_mlbseg.project.records.extents import Certified, End
from napari_mlbseg.project.records.masks import plane
from napari_mlbseg.project.records.progress import Progress, silent
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

MOST_SLICES = 4096
SIDE = 8
READ_AT_ONCE = 16
MOST_ENDS = 6
"""Ends to mark come first, but a batch holds slices to correct as well."""


@dataclass(frozen=True)
class Suggestion:
    """A slice that is worth correcting, or one near an end that is worth marking.

    Attributes
    ----------
    gain
        How much correcting the slice adds to the clean slices and the suggestions before it, as a
        share of all that can be learnt about the cohort; None before the first run.
    doubtful_mm2
        Area of the slice (mm²) whose labels are expected to be wrong; None without a trust map.
    never_looked_at
        Whether no clean slice is near, see `napari_mlbseg.project.records.coverage`.
    asks_for
        The end to mark, in the order of the display axis; None for a slice to correct.
    classes
        The values of the classes whose end is to be marked.
    """

    key: SliceKey
    gain: float | None
    doubtful_mm2: float | None
    never_looked_at: bool = False
    asks_for: End | None = None
    classes: tuple[int, ...] = ()


def suggest(
    study: Study, count: int = 10, *, seed: int = 0, progress: Progress | None = None
) -> list[Suggestion]:
    """Choose up to `count` slices to turn to next, the best first.

    Where nothing says where a class begins or ends in a case, the first suggestions (up to
    `MOST_ENDS`) are to mark that: one click teaches more there than a corrected slice. The others
    are those of `slices_to_correct`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from napari_mlbseg.api import import_folder
    >>> with Study.create(Path("heart.mlbseg")) as study:
    ...     imported = import_folder(study, Path("images"), Path("rough"))
    ...     found = suggest(study, 6)
    >>> [(one.key.index, str(one.asks_for)) for one in found if one.key.case_id == "phantom_01"]
    [(4, 'first'), (19, 'last'), (14, 'None')]
    """
    ends = ends_to_mark(study, min(count, MOST_ENDS), progress or silent)
    asked = [Suggestion(one.key, None, None, asks_for=one.end, classes=one.classes) for one in ends]
    named = frozenset(one.key for one in asked)
    return asked + slices_to_correct(
        study, count - len(asked), without=named, seed=seed, progress=progress
    )


def slices_to_correct(
    study: Study,
    count: int = 10,
    *,
    without: frozenset[SliceKey] = frozenset(),
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Suggestion]:
    """Choose up to `count` slices to correct next, the best first.

    Clean and skipped slices, those that are certified empty, and those of `without` are never
    chosen. Slices that were never looked at come before all others; suggestions count as looked
    at. The same study gives the same suggestions. Before the first run they are spread evenly
    over cases and heights, in an order that depends on `seed`. In a cohort of more than
    `MOST_SLICES` slices, only every second, third, ... slice of a case is considered.

    Examples
    --------
    >>> from pathlib import Path
    >>> from napari_mlbseg.api import import_folder
    >>> with Study.create(Path("heart.mlbseg")) as study:
    ...     imported = import_folder(study, Path("images"), Path("rough"))
    ...     [(one.key.case_id, one.key.index) for one in slices_to_correct(study, 3)]
    [('phantom_01', 14), ('phantom_02', 8), ('phantom_01', 4)]
    """
    if count < 1:
        return []
    closed = _closed(study) | without
    certified = study.extents.certified()
    if not any(study.arrays.has(case.id, ArrayName.PREDICTION) for case in study.cases):
        return _before_the_first_run(study, count, closed, certified, seed=seed)
    clean = set(study.slices.clean())
    seen = _look_around(study, clean, progress)
    cases, keys = study.cases, [one.key for one in seen]
    empty = np.array([_is_empty(key, certified) for key in keys], dtype=np.bool_)
    doubt = np.array([one.doubtful_mm2 for one in seen], dtype=np.float32)

    def unseen(chosen: Sequence[int]) -> NDArray[np.bool_]:
        return _never_looked_at(cases, keys, {*clean, *(keys[i] for i in chosen)}, certified)

    found = next_slice.choose(
        _similarity(seen),
        next_slice.relative_doubt(doubt),
        clean=np.array([key in clean for key in keys]) | empty,
        free=np.array([key not in closed for key in keys]),
        count=count,
        first=unseen,
    )
    now = unseen([])
    return [Suggestion(keys[i], gain, seen[i].told_doubt, bool(now[i])) for i, gain in found]


def _closed(study: Study) -> set[SliceKey]:
    """The slices that are clean or skipped."""
    states = SliceState.CLEAN, SliceState.SKIPPED
    return {record.key for state in states for record in study.slices.records(state=state)}


def _is_empty(key: SliceKey, certified: Certified) -> bool:
    """Whether a slice is certified to show no class."""
    found = certified.get((key.case_id, key.axis))
    return found is not None and bool(found[key.index])


def _similarity(seen: Sequence["_Seen"]) -> NDArray[np.float32]:
    """How much correcting one slice (second index) teaches about another (first index), 0 to 1."""
    names = sorted({one.key.case_id for one in seen})
    heights = np.array([one.height for one in seen], dtype=np.float32)
    return next_slice.likeness(
        next_slice.alike(
            np.stack([one.image for one in seen]),
            np.stack([one.shown for one in seen]),
            heights[:, None],
        ),
        next_slice.near(np.array([names.index(one.key.case_id) for one in seen]), heights),
    )


def _before_the_first_run(
    study: Study, count: int, closed: set[SliceKey], certified: Certified, *, seed: int
) -> list[Suggestion]:
    """Evenly spread slices, those that were never looked at first."""
    order = evenly_spread_slices(study.cases, seed=seed)
    free = [key for key in order if key not in closed and not _is_empty(key, certified)]
    unseen = _never_looked_at(study.cases, free, set(study.slices.clean()), certified)
    found = [Suggestion(key, None, None, bool(far)) for key, far in zip(free, unseen, strict=True)]
    return sorted(found, key=lambda one: not one.never_looked_at)[:count]


def _never_looked_at(
    cases: Sequence[Case], keys: Sequence[SliceKey], clean: set[SliceKey], certified: Certified
) -> NDArray[np.bool_]:
    """Which slices have no clean slice near them, nor one that is certified empty."""
    near = looked_at_everywhere(cases, clean, certified)
    axes = {case.id: case.axis for case in cases}
    return np.array(
        [k.axis == axes[k.case_id] and not near[k.case_id][k.index] for k in keys], dtype=np.bool_
    )


def evenly_spread_slices(cases: Sequence[Case], *, seed: int) -> Iterator[SliceKey]:
    """Every slice along its case's axis; every prefix is spread over cases and heights."""
    counts = [case.geometry.shape[case.axis] for case in cases]
    for number, index in next_slice.evenly_spread(counts, seed=seed):
        yield SliceKey(cases[number].id, cases[number].axis, index)


@dataclass(frozen=True)
class _Seen:
    """One slice: features of its image and labels, and the doubtful area (NaN: not known)."""

    key: SliceKey
    height: float
    image: Float[np.ndarray, " features"]
    shown: Float[np.ndarray, " features"]
    doubtful_mm2: float

    @property
    def told_doubt(self) -> float | None:
        return None if np.isnan(self.doubtful_mm2) else self.doubtful_mm2


def _look_around(study: Study, clean: set[SliceKey], progress: Progress | None) -> list[_Seen]:
    """Read the considered slices of all cases."""
    seen: list[_Seen] = []
    for done, case in enumerate(study.cases):
        if progress is not None:
            progress(f"Looking at {case.name}", done, len(study.cases))
        seen.extend(_look_at(study, case, clean))
    return seen


def _look_at(study: Study, case: Case, clean: set[SliceKey]) -> Iterator[_Seen]:
    """Read the considered slices of a case; clean slices always are."""
    count = case.geometry.shape[case.axis]
    total = sum(c.geometry.shape[c.axis] for c in study.cases)
    stride = -(-total // MOST_SLICES)
    scale = case.intensity
    spacing = [mm for axis, mm in enumerate(case.geometry.spacing_mm) if axis != case.axis]
    wanted = {key.index for key in clean if (key.case_id, key.axis) == (case.id, case.axis)}
    wanted |= set(range(stride // 2, count, stride))
    for start in range(0, count, READ_AT_ONCE):
        stop = min(start + READ_AT_ONCE, count)
        indices = sorted(wanted & set(range(start, stop)))
        if not indices:
            continue
        images = _read(study, case, ArrayName.IMAGE, start, stop)
        labels = _read(study, case, ArrayName.PREDICTION, start, stop)
        trust = _read(study, case, ArrayName.TRUST, start, stop)
        assert images is not None
        shape = images.shape[1:]
        for i in indices:
            image = np.clip(images[i - start].astype(np.float32), scale.low, scale.high)
            shown = np.zeros(shape) if labels is None else labels[i - start] > 0
            doubt = np.nan
            if trust is not None:
                doubt = float((1 - trust[i - start].astype(np.float32)).sum() * np.prod(spacing))
            yield _Seen(
                SliceKey(case.id, case.axis, i),
                i / max(1, count - 1),
                next_slice.pooled((image - scale.mean) / scale.std, SIDE).ravel(),
                next_slice.pooled(shown.astype(np.float32), SIDE).ravel(),
                doubt,
            )


def _read(study: Study, case: Case, name: ArrayName, start: int, stop: int) -> NDArray[Any] | None:
    """Slices along the case's axis, stacked on the first axis; None if there is no such array."""
    if not study.arrays.has(case.id, name):
        return None
    slab = np.asarray(study.arrays.open(case.id, name)[plane(case.axis, start, stop)])
    return np.moveaxis(slab, case.axis, 0)

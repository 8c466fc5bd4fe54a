"""Edits that could not be saved to their study, kept apart from it until they can be.

`rescue_files` writes them to files and reads them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.extents import Extent
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study


@dataclass(frozen=True, order=True)
class Along:
    """A class, by its value, along a display axis (0 z, 1 y, 2 x) of a case."""

    case_id: str
    axis: int
    value: int


@dataclass(frozen=True)
class Rescue:
    """What a person did that its study does not have.

    Attributes
    ----------
    study, identity
        The path that the study had, and its identity (`Study.identity`), by which it is recognised
        wherever it is now.
    classes
        Names of the study's classes by label value.
    at
        When the file was written, in UTC.
    masks
        Labels of each slice, uint8, its two display axes in order; values need not be classes.
    states
        New states of slices without labels of a person: skipped, or untouched again.
    extents
        Marked extents of classes.
    damaged
        Number of slices in the file that can no longer be read.
    """

    study: Path
    identity: str
    classes: Mapping[int, str]
    at: datetime
    masks: Mapping[SliceKey, NDArray[np.uint8]]
    states: Mapping[SliceKey, SliceState] = field(default_factory=dict)
    extents: Mapping[Along, Extent] = field(default_factory=dict)
    damaged: int = 0

    @classmethod
    def of(
        cls,
        study: Study,
        masks: Mapping[SliceKey, NDArray[np.uint8]],
        states: Mapping[SliceKey, SliceState] | None = None,
        extents: Mapping[Along, Extent] | None = None,
    ) -> "Rescue":
        """The current edits of an open study; its folder may be gone if `identity` was read."""
        try:
            names = {c.value: c.name for c in study.classes}
        except UserError:
            names = {}
        now = datetime.now(UTC)
        return cls(study.path, study.identity, names, now, masks, states or {}, extents or {})

    def __bool__(self) -> bool:
        """Whether it holds anything."""
        return bool(self.masks or self.states or self.extents)

    @property
    def keys(self) -> tuple[SliceKey, ...]:
        """The slices with labels or a new state."""
        return (*self.masks, *self.states)

    def holds(self, other: "Rescue") -> bool:
        """Whether all of another rescue of the same study is in this one, too."""
        return (
            all(
                key in self.masks and np.array_equal(mask, self.masks[key])
                for key, mask in other.masks.items()
            )
            and other.states.items() <= self.states.items()
            and other.extents.items() <= self.extents.items()
        )


@dataclass(frozen=True)
class Restored:
    """The outcome of a rescue.

    Attributes
    ----------
    done
        What the study has now; its masks are drafts.
    left
        What it could not take.
    problems
        Why, a sentence for each slice and extent.
    """

    done: Rescue
    left: Rescue
    problems: tuple[str, ...]


def changed_since(study: Study, rescue: Rescue) -> tuple[SliceKey, ...]:
    """Slices of a rescue that were saved in the study after the rescue file was written."""
    newest = {record.key: record.created_at for record in study.slices.records()}
    return tuple(key for key in rescue.keys if key in newest and newest[key] > rescue.at)


def restore(study: Study, rescue: Rescue) -> Restored:
    """Save what a rescue holds, one by one: masks as drafts, then states and extents.

    The study keeps earlier revisions and marks.

    Raises
    ------
    UserError
        If the rescue belongs to another study.
    """
    if rescue.identity != study.identity:
        raise UserError(
            f"The rescued edits do not belong to {study.path}, but to the study that was at "
            f"{rescue.study}. Open that study."
        )
    problems: dict[SliceKey | Along, str] = {}

    def try_to(save: Callable[[], object], what: SliceKey | Along) -> None:
        try:
            save()
        except (UserError, OSError) as error:
            problems[what] = str(error)

    for key, mask in rescue.masks.items():
        try_to(partial(_save_mask, study, key, mask), key)
    for key, state in rescue.states.items():
        try_to(partial(_save_state, study, key, state), key)
    for along, extent in rescue.extents.items():
        mark = partial(study.extents.mark, along.case_id, along.axis, along.value, extent)
        try_to(mark, along)
    return Restored(
        done=_part(rescue, lambda one: one not in problems),
        left=_part(rescue, problems.__contains__),
        problems=tuple(_in_words(one, text) for one, text in problems.items()),
    )


def _save_mask(study: Study, key: SliceKey, mask: NDArray[np.uint8]) -> None:
    case = study.case(key.case_id)
    if mask.shape != case.slice_shape(key.axis):
        raise UserError(
            f"Slices of {case.name} along this axis have the shape "
            f"{case.slice_shape(key.axis)}, but the rescued slice has {mask.shape}."
        )
    study.save_slice(key, mask, SliceState.DRAFT)


def _save_state(study: Study, key: SliceKey, state: SliceState) -> None:
    study.case(key.case_id)
    study.slices.set_state(key, state)


def _part(rescue: Rescue, wanted: Callable[[SliceKey | Along], bool]) -> Rescue:
    return replace(
        rescue,
        masks={key: mask for key, mask in rescue.masks.items() if wanted(key)},
        states={key: state for key, state in rescue.states.items() if wanted(key)},
        extents={along: extent for along, extent in rescue.extents.items() if wanted(along)},
    )


def _in_words(one: SliceKey | Along, text: str) -> str:
    if isinstance(one, SliceKey):
        return f"Slice {one.index}: {text}"
    return f"The ends of class {one.value}: {text}"

"""The commands of the tools that spare strokes: each is one step of the history."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise, takewhile
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.labels import Labels
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.slices import HUMAN, SliceKey, SliceState
from napari_mlbseg.project.records.values import values_in
from napari_mlbseg.widgets.case.class_marks import stayed_in_words
from napari_mlbseg.widgets.case.extent_keeper import ExtentKeeper
from napari_mlbseg.widgets.case.history import Look
from napari_mlbseg.widgets.case.journal import Journal
from napari_mlbseg.widgets.case.proposed_labels import NONE_PROPOSED
from napari_mlbseg.widgets.case.saving import named, pixels_in_words, slices_in_words
from napari_mlbseg.widgets.case.slice_states import SliceStates
from napari_mlbseg.widgets.case.stored import CaseArrays, clear_in_slice
from napari_mlbseg.widgets.case.working_labels import WorkingLabels
from napari_mlbseg.widgets.tools import cleaning
from napari_mlbseg.widgets.tools.interpolation import interpolated
from napari_mlbseg.widgets.tools.passing_on import passed_on
from napari_mlbseg.widgets.tools.regions import region

Mask = NDArray[np.bool_]
Spacing = tuple[float, float]

_OPEN: Final = (SliceState.UNTOUCHED, SliceState.DRAFT)
_SOURCES: Final = {
    ArrayName.PROPOSED_LABELS: ("the proposed labels", NONE_PROPOSED),
    ArrayName.PREDICTION: (
        "the prediction",
        "There is no prediction yet. The training makes it: accept a few slices and press Start.",
    ),
    ArrayName.INITIAL_LABELS: (
        "the initial labels",
        "There are no initial labels: none were imported, and no training has made any.",
    ),
}
"""What a region can take: in words, and what to say where there is none."""


class ToolCommands(QObject):
    """Changes slices by tools; every command raises UserError if that is impossible.

    On the slice on view a person decides, so that it may change whatever it holds. On slices that
    are not on view nothing of a person's changes.

    Signals
    -------
    told(str)
        What was done, for the annotator.
    """

    told = Signal(str)

    def __init__(
        self,
        ready: Callable[[str], SliceKey],
        journal: Journal,
        states: SliceStates,
        arrays: CaseArrays,
        working: WorkingLabels,
        extents: ExtentKeeper,
        *,
        meant: Callable[[str], LabelClass],
        sides_mm: Callable[[int], Spacing],
        parent: QObject | None = None,
    ) -> None:
        """Work on a case; `sides_mm` returns the sides (y x) of a pixel along an axis.

        `ready` saves the edits and returns the slice on view, see `SliceCommands.ready`; `meant`
        returns the class to paint with, see `class_meant`.
        """
        super().__init__(parent)
        self._ready = ready
        self._journal = journal
        self._states = states
        self._arrays = arrays
        self._working = working
        self._extents = extents
        self._meant = meant
        self._sides_mm = sides_mm

    # --- cleaning up -----------------------------------------------------------------------------

    def grow(self) -> None:
        """Let the class to paint with grow by a pixel."""
        self._clean_up("grow", cleaning.grow)

    def shrink(self) -> None:
        """Let the class to paint with shrink by a pixel."""
        self._clean_up("shrink", cleaning.shrink)

    def smooth(self) -> None:
        """Smooth the border of the class to paint with."""
        self._clean_up("smooth", cleaning.smooth)

    def fill_holes(self) -> None:
        """Fill the holes of the class to paint with."""
        self._clean_up("fill holes of", lambda labels, value, _: cleaning.fill_holes(labels, value))

    def remove_islands(self, below_mm2: float) -> None:
        """Remove the pieces of the class to paint with that cover less than an area in mm²."""
        self._clean_up(
            "remove islands of",
            lambda labels, value, side: cleaning.remove_islands(labels, value, below_mm2, side),
        )

    def keep_largest(self) -> None:
        """Keep the largest piece of the class to paint with."""
        self._clean_up(
            "keep the largest piece of",
            lambda labels, value, _: cleaning.keep_largest(labels, value),
        )

    def _clean_up(self, doing: str, change: Callable[[Labels, int, Spacing], Labels]) -> None:
        key = self._ready("clean a slice up")
        meant = self._meant("to clean up")
        shown = self._shown(key)
        wanted = change(shown, meant.value, self._sides_mm(key.axis))
        changed = self._working.sparing((key.axis, key.index), wanted)
        name = f"{doing} '{meant.name}'"
        self._journal.draft(f"{name} on", key, changed)
        self.told.emit(
            f"Slice {key.index}, {name}: {_changed(shown, changed)}."
            + stayed_in_words(wanted, changed)
        )

    # --- between a person's slices ---------------------------------------------------------------

    def interpolate(self, *, only_here: bool) -> None:
        """Draft untouched slices between the nearest drafts or clean slices along the axis.

        On a slice of a person's, those are the nearest on both sides and this one. `only_here`
        drafts the slice on view alone.
        """
        key = self._ready("interpolate")
        states = self._along(key.axis)
        ends = _ends_around(states, key.index)
        if only_here and states[key.index] is not SliceState.UNTOUCHED:
            raise UserError(
                f"Slice {key.index} is {states[key.index]}, and interpolation never replaces a "
                "person's work. Go to an untouched slice between two of yours."
            )
        if len(ends) < 2:
            raise UserError(
                f"Interpolation needs a draft or a clean slice on both sides of slice {key.index}. "
                "Correct one slice further on, and try again."
            )
        wanted = [
            SliceKey(key.case_id, key.axis, index)
            for index in ([key.index] if only_here else range(ends[0], ends[-1]))
            if states[index] is SliceState.UNTOUCHED
        ]
        between = f"between your slices {' and '.join(map(str, ends))}"
        if not wanted:
            self.told.emit(f"There is no untouched slice {between}.")
            return
        drafts = {
            one: labels
            for first, last in pairwise(ends)
            for one, labels in self._interpolated(wanted, first, last)
        }
        looks = {one: Look.human(SliceState.DRAFT, labels) for one, labels in drafts.items()}
        self._journal.change_all(f"interpolate {named(wanted)}", _seen(key, wanted), looks)
        now = np.stack([self._shown(one) for one in drafts])
        self.told.emit(
            f"Interpolated {named(wanted)} {between}. Undo takes it back as a whole."
            + stayed_in_words(np.stack(list(drafts.values())), now)
        )

    def _interpolated(
        self, wanted: Iterable[SliceKey], first: int, last: int
    ) -> Iterable[tuple[SliceKey, Labels]]:
        inside = [key for key in wanted if first < key.index < last]
        if not inside:
            return
        axis = inside[0].axis
        ends = [self._working.read(axis, index) for index in (first, last)]
        shares = [(key.index - first) / (last - first) for key in inside]
        found = interpolated(ends[0], ends[1], shares, self._sides_mm(axis))
        for key, labels in zip(inside, found, strict=True):
            clear_in_slice(labels, axis, key.index, self._extents.excluded())
            persons = self._working.persons(axis, key.index)
            yield key, np.where(persons, self._shown(key), labels)

    # --- regions that are wrong ------------------------------------------------------------------

    def fix_region(
        self, place: tuple[int, int, int], source: ArrayName, *, through: bool = False
    ) -> None:
        """Let the region around a voxel (z y x) of the slice on view take other labels.

        The region is where the slice shows something else than the source: proposed labels,
        prediction or initial labels. `through` goes on into neighbouring slices that are untouched.
        """
        key = self._ready("fix a region")
        name, missing = _SOURCES[source]
        if not self._arrays[source].there:
            raise UserError(missing)
        shape = self._working.shape
        if not all(0 <= c < n for c, n in zip(place, shape, strict=True)):
            raise UserError("Click inside the image to fix a region.")
        y, x = (c for k, c in enumerate(place) if k != key.axis)
        within = range(shape[key.axis]) if through else range(key.index, key.index + 1)
        states = self._along(key.axis)

        def differs(index: int) -> Mask:
            one = SliceKey(key.case_id, key.axis, index)
            where = np.asarray(self._shown(one) != self._wanted(one, source))
            where &= ~np.isin(self._shown(one), list(self._working.locked))
            if index != key.index:
                where &= ~self._working.persons(key.axis, index)
                where &= states[index] is SliceState.UNTOUCHED
            return where

        found = region(differs, key.index, (y, x), within)
        if not found and int(self._shown(key)[y, x]) in self._working.locked:
            raise UserError(
                f"The class of that pixel on slice {key.index} is locked. Unlock it (the padlock "
                "beside its name) to fix the region."
            )
        if not found:
            self.told.emit(f"Nothing to fix there: slice {key.index} shows {name} already.")
            return
        keys = [SliceKey(key.case_id, key.axis, index) for index in found]
        taken = {
            one: np.where(found[one.index], self._wanted(one, source), self._shown(one))
            for one in keys
        }
        looks = {one: Look.human(SliceState.DRAFT, labels) for one, labels in taken.items()}
        self._journal.change_all(f"fix a region on {named(keys)}", key, looks)
        count = sum(int(np.count_nonzero(mask)) for mask in found.values())
        self.told.emit(f"{pixels_in_words(count)} on {named(keys)} took {name}.")

    def _wanted(self, key: SliceKey, source: ArrayName) -> Labels:
        return self._arrays.labels(source, key.axis, key.index)

    # --- on to the neighbours --------------------------------------------------------------------

    def pass_on(self) -> None:
        """Let neighbouring untouched slices take what a person changed on the slice on view.

        That is where it differs from the machine's labels now. On both sides it goes from slice to
        slice, until image or labels no longer agree or a slice is a person's or skipped.
        """
        key = self._ready("pass a correction on")
        machine = self._arrays.machine_slice(key.axis, key.index)
        shown = self._shown(key)
        if np.array_equal(machine, shown):
            raise UserError(
                f"There is nothing to pass on: slice {key.index} shows what the machine says. "
                "Correct it first."
            )
        looks = dict(
            sorted((*self._passed_on(key, machine, -1), *self._passed_on(key, machine, +1)))
        )
        if not looks:
            self.told.emit(
                f"The correction of slice {key.index} fits none of its untouched neighbours."
            )
            return
        keys = list(looks)
        before = np.stack([self._shown(one) for one in keys])
        self._journal.change_all(
            f"pass slice {key.index} on to {named(keys)}",
            key,
            {one: Look.human(SliceState.DRAFT, labels) for one, labels in looks.items()},
        )
        now = np.stack([self._shown(one) for one in keys])
        count = int(np.count_nonzero(now != before))
        self.told.emit(
            f"{pixels_in_words(count)} of the correction passed on to {named(keys)}, as drafts. "
            "Undo takes them back as a whole."
            + stayed_in_words(np.stack(list(looks.values())), now)
        )

    def _passed_on(
        self, key: SliceKey, machine: Labels, step: int
    ) -> Iterable[tuple[SliceKey, Labels]]:
        states, image = self._along(key.axis), self._arrays.image

        def following() -> Iterable[tuple[Labels, NDArray[Any], Mask]]:
            for one in self._onwards(key, step, states):
                free = ~self._working.persons(one.axis, one.index)
                yield self._shown(one), image.slice(one.axis, one.index), free

        here = image.slice(key.axis, key.index)
        found = passed_on(machine, self._shown(key), here, following())
        return zip(self._onwards(key, step, states), found, strict=False)

    def _onwards(
        self, key: SliceKey, step: int, states: Sequence[SliceState]
    ) -> Iterable[SliceKey]:
        """The untouched slices from a slice on, in one direction, up to the first other one."""
        stop = len(states) if step > 0 else -1
        indices = range(key.index + step, stop, step)
        untouched = takewhile(lambda index: states[index] is SliceState.UNTOUCHED, indices)
        return (SliceKey(key.case_id, key.axis, index) for index in untouched)

    # --- several slices --------------------------------------------------------------------------

    def accept_range(self, first: int) -> None:
        """Accept the open slices from `first` to the slice on view as shown, in either order."""
        key = self._ready("accept slices")
        low, high = sorted((first, key.index))
        states = self._along(key.axis)
        keys = [
            SliceKey(key.case_id, key.axis, index)
            for index in range(low, high + 1)
            if states[index] in _OPEN
        ]
        told = [f"Accepted {slices_in_words(len(keys))} from slice {low} to {high}."]
        rest = Counter(state for state in states[low : high + 1] if state not in _OPEN)
        if rest:
            told.append(f"Left: {', '.join(f'{n} {state}' for state, n in sorted(rest.items()))}.")
        shown = {one: self._shown(one) for one in keys}
        widened = {
            name
            for one, labels in shown.items()
            for name in self._extents.widened_by(one, values_in(labels))
        }
        if widened:
            names = " and ".join(f"'{name}'" for name in sorted(widened))
            told.append(f"They show {names} beyond a marked end, so that extent is wider now.")
        looks = {one: Look.human(SliceState.CLEAN, labels) for one, labels in shown.items()}
        self._journal.change_all(f"accept slices {low} to {high}", key, looks)
        self.told.emit(" ".join(told))

    # --- inside ----------------------------------------------------------------------------------

    def _shown(self, key: SliceKey) -> Labels:
        return self._working.read(key.axis, key.index)

    def _along(self, axis: int) -> list[SliceState]:
        """The states of the slices along an axis; with unsaved edits a slice is a draft."""
        states = list(self._states.along(axis))
        for across, index in self._working.edits():
            if across == axis:
                states[index] = SliceState.DRAFT
        return states


def _ends_around(states: Sequence[SliceState], index: int) -> list[int]:
    """The nearest slices of a person's before and after a slice, and the slice if it is one."""
    persons = [k for k, state in enumerate(states) if state in HUMAN]
    before, after = [k for k in persons if k < index], [k for k in persons if k > index]
    return [*before[-1:], *([index] if index in persons else []), *after[:1]]


def _seen(here: SliceKey, keys: Sequence[SliceKey]) -> SliceKey:
    return here if here in keys else keys[0]


def _changed(before: Labels, after: Labels) -> str:
    count = int(np.count_nonzero(before != after))
    return f"{pixels_in_words(count)} changed" if count else "nothing to change"

"""The commands for the slice on view: each is one step of the history, and can be undone."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.extents import End, Extent
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.records.values import values_in
from napari_mlbseg.widgets.case.class_marks import painted_across_in_words, stayed_in_words
from napari_mlbseg.widgets.case.extent_keeper import ExtentKeeper
from napari_mlbseg.widgets.case.history import Look, Marking
from napari_mlbseg.widgets.case.journal import Journal
from napari_mlbseg.widgets.case.layers import CaseLayers
from napari_mlbseg.widgets.case.proposed_labels import with_proposed_labels
from napari_mlbseg.widgets.case.slice_states import SliceStates
from napari_mlbseg.widgets.case.stored import CaseArrays
from napari_mlbseg.widgets.case.working_labels import WorkingLabels


class Desk(Protocol):
    """The parts of an annotation that the commands need."""

    @property
    def key(self) -> SliceKey:
        """The slice on view."""

    @property
    def unsaved(self) -> Mapping[SliceKey, str]:
        """Edited slices that could not be saved at the last attempt, and why."""

    def flush(self) -> None:
        """Save every edited slice."""

    def go_to_slice(self, key: SliceKey) -> None:
        """Show a slice of the case."""


class SliceCommands(QObject):
    """Changes the slice on view; every command raises UserError if that is impossible.

    Signals
    -------
    failed(str), told(str)
        What could not be done, and what was done or followed from it; for the annotator.
    """

    failed = Signal(str)
    told = Signal(str)

    def __init__(
        self,
        desk: Desk,
        journal: Journal,
        states: SliceStates,
        arrays: CaseArrays,
        working: WorkingLabels,
        layers: CaseLayers,
        extents: ExtentKeeper,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._desk = desk
        self._journal = journal
        self._states = states
        self._arrays = arrays
        self._working = working
        self._layers = layers
        self._extents = extents

    def accept(self) -> None:
        """Make the slice clean as shown, and go to the next open slice."""
        key = self.ready("accept a slice")
        shown = self._shown(key)
        widened = self._extents.widened_by(key, values_in(shown))
        if self._states[key] is not SliceState.CLEAN:
            self._journal.change("accept", key, Look.human(SliceState.CLEAN, shown))
        self._advance(key)
        if widened:
            names = " and ".join(f"'{name}'" for name in widened)
            self.told.emit(
                f"Slice {key.index} shows {names} beyond the marked end, so the extent now reaches "
                "up to it."
            )

    def choose(self, mask: NDArray[np.uint8]) -> None:
        """Make the slice clean with one of the masks that people accepted for it."""
        key = self.ready("choose a mask")
        self._journal.change("choose", key, Look.human(SliceState.CLEAN, mask))

    def reopen(self) -> None:
        """Turn a clean slice into a draft, and a skipped slice into an untouched one."""
        key = self.ready("reopen a slice")
        if self._states[key] is SliceState.CLEAN:
            self._journal.change("reopen", key, Look.human(SliceState.DRAFT, self._shown(key)))
        elif self._states[key] is SliceState.SKIPPED:
            self._journal.change("reopen", key, Look(SliceState.UNTOUCHED))

    def skip(self) -> None:
        """Skip the slice and go to the next open slice; a draft of it stays in the history."""
        key = self.ready("skip a slice")
        self._journal.change("skip", key, Look(SliceState.SKIPPED))
        self._advance(key)

    def revert(self) -> None:
        """Replace the edits with the prediction; undo restores them.

        With pixels of locked classes that the prediction does not show, the slice is a draft.
        """
        key = self.ready("revert a slice")
        where = key.axis, key.index
        machine = self._working.beneath(where)
        kept = self._working.sparing(where, machine)
        if np.array_equal(kept, machine):
            self._journal.change("revert", key, Look(SliceState.UNTOUCHED))
        else:
            self._journal.change("revert", key, Look.human(SliceState.DRAFT, machine))
            self.told.emit(f"Reverted slice {key.index}.{stayed_in_words(machine, kept)}")

    def copy_from(self, step: int) -> None:
        """Copy the labels of the slice `step` further along the axis.

        Pixels on a person's slices along other axes stay, and those of locked classes.
        """
        key = self.ready("copy labels to a slice")
        source = key.index + step
        if not 0 <= source < len(self._states.along(key.axis)):
            raise UserError("There is no slice on that side to copy from.")
        where, shown = (key.axis, key.index), self._shown(key)
        copied = self._working.read(key.axis, source)
        across = self._working.across(*where)
        wanted = np.where(across, shown, copied)
        kept = self._working.sparing(where, wanted)
        self._journal.draft("copy to", key, wanted)
        told = painted_across_in_words(copied, wanted) + stayed_in_words(wanted, kept)
        if told:
            self.told.emit(f"Copied slice {source} to slice {key.index}.{told}")

    def take_proposed_labels(self, below: float) -> int:
        """Take the proposed labels where trust is below a threshold (0 to 1).

        Pixels of locked classes stay.

        Returns
        -------
        int
            Number of pixels of the slice whose label changed.
        """
        key = self.ready("take proposed labels")
        shown = self._shown(key)
        taken = with_proposed_labels(self._arrays, shown, key.axis, key.index, below)
        self._journal.draft("take proposed labels on", key, taken)
        return int((self._shown(key) != shown).sum())

    def mark_end(self, end: End) -> None:
        """Mark the slice on view as an end of the class to paint with; again takes it away."""
        key = self.ready("mark where a class begins or ends")
        label = self._extents.class_to_mark(int(self._layers.working.selected_label))
        before = self._extents.marked(key.axis, label.value)
        again = before.at(end) == key.index
        if not again:
            _require_order(before, end, key.index, label.name)
        after = before.moved(end, None if again else key.index)
        verb = "begin" if end is End.FIRST else "end"
        name = f"{'unmark' if again else 'mark'} where '{label.name}' {verb}s"
        self._journal.mark(
            f"{name} (slice {key.index})", key, Marking(key.axis, label.value, before, after)
        )
        if again:
            self.told.emit(f"Where '{label.name}' {verb}s is no longer marked.")
            return
        side = "before" if end is End.FIRST else "after"
        text = f"'{label.name}' {verb}s at slice {key.index}: no slice {side} it shows it any more."
        beyond = self._extents.shown_beyond(key.axis, label.value)
        if beyond:
            text += (
                f" But you accepted slice {' and '.join(map(str, sorted(beyond)))} with it, so "
                "the extent reaches up to there. Reopen that slice if the mark is right."
            )
        self.told.emit(text)

    def undo(self) -> None:
        """Undo the last step, and show its slice."""
        self._travel(back=True)

    def redo(self) -> None:
        """Redo the step that was undone last, and show its slice."""
        self._travel(back=False)

    def ready(self, doing: str) -> SliceKey:
        """Save the edits, return the slice on view; UserError if it is unsaved or not visible."""
        if self._layers.unseen is not None:
            raise UserError(f"{self._layers.unseen} to {doing}.")
        self._desk.flush()
        key, unsaved = self._desk.key, self._desk.unsaved
        if key in unsaved:
            raise UserError(f"Slice {key.index} is not saved: {unsaved[key]}")
        return key

    # --- inside ----------------------------------------------------------------------------------

    def _shown(self, key: SliceKey) -> NDArray[np.uint8]:
        return self._working.read(key.axis, key.index)

    def _travel(self, *, back: bool) -> None:
        self._desk.flush()
        step, doing = self._journal.following(back=back), "undo" if back else "redo"
        if step is None:
            self.told.emit(f"There is nothing to {doing} in this case.")
            return
        self._layers.reveal()
        self._desk.go_to_slice(step.where)
        try:
            self.ready(doing)
            self._journal.travel(back=back)
        except (UserError, OSError) as error:
            self.failed.emit(f"Could not {doing} {step.name}: {error}")
            return
        self.told.emit(f"{'Undone' if back else 'Redone'}: {step.name}.")

    def _advance(self, key: SliceKey) -> None:
        following = self._states.open_after(key.axis, key.index)
        if following is not None:
            self._layers.show_slice(key.axis, following)


def _require_order(before: Extent, end: End, index: int, name: str) -> None:
    """Raise UserError if a class would begin after its end."""
    first, last = before.first, before.last
    if end is End.FIRST and last is not None and index > last:
        raise UserError(
            f"'{name}' cannot begin at slice {index}, because it is marked to end at slice {last}. "
            f"Take that mark away first (Shift+E on slice {last}), or mark a slice up to {last}."
        )
    if end is End.LAST and first is not None and index < first:
        raise UserError(
            f"'{name}' cannot end at slice {index}, because it is marked to begin at slice {first}."
            f" Take that mark away first (Shift+B on slice {first}), or mark a slice from {first} "
            "on."
        )


BY_NAME: dict[str, Callable[[SliceCommands], None]] = {
    "accept": SliceCommands.accept,
    "reopen": SliceCommands.reopen,
    "skip": SliceCommands.skip,
    "revert": SliceCommands.revert,
    "copy_previous": lambda commands: commands.copy_from(-1),
    "copy_next": lambda commands: commands.copy_from(+1),
    "begins_here": lambda commands: commands.mark_end(End.FIRST),
    "ends_here": lambda commands: commands.mark_end(End.LAST),
    "undo": SliceCommands.undo,
    "redo": SliceCommands.redo,
}
"""The commands of keys and buttons, by their names in `shortcuts`."""

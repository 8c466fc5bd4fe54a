"""Turns the writes of napari's tools, and the commands, into steps of the history."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from napari_mlbseg.project.labels import Labels
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.widgets.case.extent_keeper import ExtentKeeper
from napari_mlbseg.widgets.case.history import Change, History, Look, Marking, Packed, Step
from napari_mlbseg.widgets.case.slice_keeper import SliceKeeper


@dataclass(frozen=True)
class Beginning:
    """A slice before the current step: its look, and the labels that it showed."""

    look: Look
    shown: Labels


class Journal:
    """Keeps the history of one case.

    napari announces a stroke after its last write, but a single write (a polygon) just before it.
    So a step ends with the announcement, or with the write that follows it.
    """

    def __init__(
        self,
        keeper: SliceKeeper,
        extents: ExtentKeeper,
        history: History,
        *,
        here: Callable[[], SliceKey],
        tool: Callable[[], str],
        changed: Callable[[], object],
    ) -> None:
        """Begin without a current step.

        Parameters
        ----------
        here
            Returns the slice on view.
        tool
            Returns the name of the tool in use, as a verb.
        changed
            Called when the history has changed.
        """
        self._keeper = keeper
        self._extents = extents
        self._history = history
        self._here = here
        self._tool = tool
        self._changed = changed
        self._begun: dict[SliceKey, Beginning] = {}
        self._announced = False

    # --- what napari's tools write ---------------------------------------------------------------

    def touch(self, key: SliceKey) -> None:
        """Remember a slice before it is written to."""
        if key not in self._begun:
            self._begun[key] = Beginning(self._keeper.look(key), self._keeper.shown(key))

    def wrote(self) -> None:
        """Take note of a write, and end the step if napari has announced it."""
        if self._announced:
            self._announced = False
            self.close()

    def announce(self) -> None:
        """Take napari's announcement of what was done, or will be done next."""
        self._announced = not self.close()

    def close(self) -> bool:
        """End the current step; return whether there was one."""
        begun, self._begun = self._begun, {}
        changes = [change for key, old in begun.items() if (change := self._changed_from(key, old))]
        if changes:
            self._add(_painted(self._tool(), changes, self._here()))
        return bool(changes)

    def save(self, key: SliceKey) -> None:
        """Save a slice that was written to as a draft.

        If nothing is left of the current step (an abandoned stroke), the slice keeps its former
        look.
        """
        begun, shown = self._begun.get(key), self._keeper.shown(key)
        look = Look.human(SliceState.DRAFT, shown)
        if begun is not None and np.array_equal(shown, begun.shown):
            look = begun.look
        self._keeper.keep(key, look)

    # --- what is commanded -----------------------------------------------------------------------

    def change(self, name: str, key: SliceKey, look: Look) -> None:
        """Give a slice another look as one step, unless that fails or changes nothing."""
        self.change_all(f"{name} slice {key.index}", key, {key: look})

    def change_all(
        self,
        name: str,
        where: SliceKey,
        looks: Mapping[SliceKey, Look],
        *,
        in_volume: bool = False,
    ) -> None:
        """Give several slices other looks as one step, which shows the slice `where`.

        Pixels of locked classes stay. If one of the slices cannot be saved, none changes; raises
        UserError or OSError.
        """
        self.close()
        before = {key: self._keeper.look(key) for key in looks}
        self._keeper.keep_all({k: self._keeper.sparing(k, look) for k, look in looks.items()})
        changes = [
            Change(key, before[key], after)
            for key in looks
            if (after := self._keeper.look(key)) != before[key]
        ]
        if changes:
            self._add(Step(name, where, tuple(changes), in_volume))

    def drafted_in_volume(self) -> frozenset[SliceKey]:
        """Return the slices that a clean-up of the whole volume changed last."""
        self.close()
        return self._history.drafted_in_volume()

    def draft(self, name: str, key: SliceKey, labels: Labels) -> None:
        """Turn a slice into a draft with these labels, unless it already shows them."""
        if not np.array_equal(self._keeper.spared(key, labels), self._keeper.shown(key)):
            self.change(name, key, Look.human(SliceState.DRAFT, labels))

    def mark(self, name: str, key: SliceKey, marking: Marking) -> None:
        """Change an extent as one step, which shows a slice; UserError or OSError if it fails."""
        self.close()
        self._extents.keep(marking.axis, marking.value, marking.after)
        self._add(Step(name, key, (marking,)))

    def before_strokes(self, key: SliceKey) -> Labels | None:
        """Return what a slice showed before the strokes on it, see `History.before_strokes`."""
        self.close()
        return self._history.before_strokes(key)

    def following(self, *, back: bool) -> Step | None:
        """Return the next step to undo or redo."""
        self.close()
        return self._history.last if back else self._history.next

    def travel(self, *, back: bool) -> None:
        """Undo or redo a step; UserError or OSError if the result cannot be saved."""
        step = self.following(back=back)
        looks: dict[SliceKey, Look] = {}
        for change in step.changes if step else ():
            if isinstance(change, Marking):
                extent = change.before if back else change.after
                self._extents.keep(change.axis, change.value, extent)
            else:
                looks[change.key] = change.before if back else change.after
        self._keeper.keep_all(looks)
        self._history.went(back=back)
        self._changed()

    # --- inside ----------------------------------------------------------------------------------

    def _changed_from(self, key: SliceKey, old: Beginning) -> Change | None:
        if not np.array_equal(self._keeper.shown(key), old.shown):
            return Change(key, old.look, self._keeper.look(key), Packed.pack(old.shown))
        if old.look.labels is None and not self._keeper.edited(key):
            self._keeper.keep(key, old.look)
        return None

    def _add(self, step: Step) -> None:
        self._history.add(step)
        self._changed()


def _painted(tool: str, changes: list[Change], here: SliceKey) -> Step:
    keys = sorted(change.key for change in changes)
    first, last = keys[0], keys[-1]
    several = f"slices {first.index} to {last.index}"
    name = f"{tool} on {f'slice {first.index}' if first == last else several}"
    return Step(name, here if here in keys else first, tuple(changes))

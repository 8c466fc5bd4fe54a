"""Rescue files of this user: offered when the window opens, and together with their study."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import QObject, Signal

from napari_mlbseg.engine.events import ExtentMarked, SliceReopened
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.rescue import Rescue, Restored, changed_since, restore
from napari_mlbseg.project.rescue_files import (
    read_rescue,
    rescue_folder,
    rescues_in,
    write_rescue,
)
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.case.saving import slices_in_words
from napari_mlbseg.widgets.refusals import reporting
from napari_mlbseg.widgets.workbench import Workbench


@dataclass(frozen=True)
class FoundRescue:
    """A rescue file whose edits can be restored.

    Attributes
    ----------
    ours
        Whether this program chose its place, and may delete it.
    open
        Whether its study is open for writing.
    changed
        Slices that were saved in the open study after the file was written.
    """

    path: Path
    rescue: Rescue
    ours: bool
    open: bool
    changed: tuple[SliceKey, ...]


def in_words(rescue: Rescue) -> str:
    """Say how much a rescue holds, for the annotator."""
    counts = Counter(rescue.states.values())
    told = [f"{slices_in_words(count)} {state}" for state, count in counts.items()]
    if rescue.masks:
        told.insert(0, f"{slices_in_words(len(rescue.masks))} as drafts")
    if rescue.extents:
        count = len(rescue.extents)
        told.append(f"the ends of {count} {'structure' if count == 1 else 'structures'}")
    return ", ".join(told) or "nothing"


class Rescues(QObject):
    """Offers rescue files one after another.

    Signals
    -------
    offered(FoundRescue)
        Ask what to do with the file, and answer with `take_back`, `discard` or `put_off`.
    """

    offered = Signal(object)

    def __init__(self, bench: Workbench, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._bench = bench
        self._queue: deque[Path] = deque()
        self._wanted: Path | None = None
        bench.study_changed.connect(self._on_study)

    def offer_all(self) -> None:
        """Offer every file, and report files that cannot be read."""
        self._offer(rescues_in(rescue_folder()))

    def offer_file(self, path: Path) -> None:
        """Offer a file that somebody chose; raises UserError if it is not a rescue file."""
        read_rescue(path)
        self._add(path)

    def take_back(self, found: FoundRescue) -> None:
        """Restore the edits as drafts; opens their study first if necessary."""
        if found.open:
            self._restore(found)
        else:
            self._wanted = found.path
            self._bench.open_study(found.rescue.study)
            if not self._bench.opening.going_on:
                self._wanted = None
        self._next()

    def discard(self, found: FoundRescue) -> None:
        """Delete the file."""
        self._delete(found.path)
        self._next()

    def put_off(self) -> None:
        """Ask another time."""
        self._next()

    # --- inside ----------------------------------------------------------------------------------

    def _on_study(self) -> None:
        study = self._bench.study
        if study is None or not study.writable:
            return
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            found = self._found(wanted)
            if found is not None and found.open:
                self._restore(found)
        here = rescues_in(rescue_folder())
        self._offer(
            (path, one)
            for path, one in here
            if isinstance(one, Rescue) and one.identity == study.identity and path != wanted
        )

    def _offer(self, files: Iterable[tuple[Path, Rescue | UserError]]) -> None:
        for path, one in files:
            if isinstance(one, UserError):
                self._bench.failed.emit(str(one))
            else:
                self._add(path)

    def _add(self, path: Path) -> None:
        if path in self._queue:
            return
        self._queue.append(path)
        if len(self._queue) == 1:
            self._ask()

    def _next(self) -> None:
        if self._queue:
            self._queue.popleft()
            self._ask()

    def _ask(self) -> None:
        """Ask about the first file in the queue, which may have changed since it was queued."""
        while self._queue:
            found = self._found(self._queue[0])
            if found is not None:
                self.offered.emit(found)
                return
            self._queue.popleft()

    def _found(self, path: Path) -> FoundRescue | None:
        try:
            rescue = read_rescue(path)
        except UserError:
            return None
        study = self._bench.study
        here = study is not None and study.writable and study.identity == rescue.identity
        changed = changed_since(study, rescue) if here and study is not None else ()
        return FoundRescue(path, rescue, path.parent == rescue_folder(), here, changed)

    def _restore(self, found: FoundRescue) -> None:
        bench, rescue = self._bench, found.rescue
        study = bench.study
        assert study is not None
        clean = set(study.slices.clean())

        def restored(back: Restored) -> None:
            with reporting(bench.failed.emit):
                self._clear(found, back)
            for key in clean.intersection(back.done.keys):
                bench.send(SliceReopened(key))
            for case_id in sorted({along.case_id for along in back.done.extents}):
                bench.send(ExtentMarked(case_id))
            self._tell(study, back)

        with reporting(bench.failed.emit):
            bench.leaving.saves.do(lambda: restore(study, rescue), restored)

    def _clear(self, found: FoundRescue, back: Restored) -> None:
        """Delete the copies of what is restored; what could not be stays in the file."""
        for path in self._copies(found, back):
            self._delete(path)
        if back.left and found.ours:
            write_rescue(found.path, back.left)

    def _tell(self, study: Study, back: Restored) -> None:
        bench = self._bench
        done = back.done
        if done:
            bench.view.show_anew(_first(done))
            bench.view.slices_changed.emit(done.keys)
        words = f"Restored in {study.name}: {in_words(done)}."
        if back.problems:
            reasons = "\n".join(back.problems)
            bench.failed.emit(f"{words} The rest could not be restored:\n{reasons}")
        else:
            bench.told.emit(words)

    def _copies(self, found: FoundRescue, back: Restored) -> list[Path]:
        """Return our files whose edits are all in the study now."""
        return [
            path
            for path, one in rescues_in(rescue_folder())
            if isinstance(one, Rescue)
            and one.identity == found.rescue.identity
            and back.done.holds(one)
        ]

    def _delete(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self._bench.failed.emit(f"{path} could not be deleted ({error}). Delete it yourself.")


def _first(done: Rescue) -> SliceKey:
    """Return a slice that shows something of what was restored."""
    if done.keys:
        return done.keys[0]
    along, extent = next(iter(done.extents.items()))
    ends = [end for end in (extent.first, extent.last) if end is not None]
    return SliceKey(along.case_id, along.axis, next(iter(ends), 0))

"""Answers at once: asked for by strokes, offered as an outline, taken or dropped."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import QObject, Signal

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.labels import Labels
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.widgets.background.task import BackgroundTask
from napari_mlbseg.widgets.case.class_marks import stayed_in_words
from napari_mlbseg.widgets.case.journal import Journal
from napari_mlbseg.widgets.case.outline import Outline
from napari_mlbseg.widgets.case.saving import pixels_in_words
from napari_mlbseg.widgets.case.stored import CaseArrays
from napari_mlbseg.widgets.case.working_labels import WorkingLabels
from napari_mlbseg.widgets.case.working_layer import Labels as PaintedLabels
from napari_mlbseg.widgets.tools.answer import answered

TAKE, DROP = "Enter", "Escape"
_OTHERS: Final = (ArrayName.PREDICTION, ArrayName.PROPOSED_LABELS, ArrayName.INITIAL_LABELS)


@dataclass(frozen=True)
class Answer:
    """The labels of a slice as shown, and as they would be."""

    key: SliceKey
    shown: Labels
    labels: Labels

    @property
    def count(self) -> int:
        """How many pixels would change."""
        return int(np.count_nonzero(self.shown != self.labels))


class Answers(QObject):
    """Answers on the case on view, one at a time.

    While an answer is offered, Enter takes it and Escape drops it. Another step on the case asks
    anew if the slice still has strokes, and drops the answer if not.

    Signals
    -------
    failed(str), told(str)
        What could not be done, and what is offered or was done; for the annotator.
    """

    failed = Signal(str)
    told = Signal(str)

    def __init__(
        self,
        ready: Callable[[str], SliceKey],
        journal: Journal,
        arrays: CaseArrays,
        working: WorkingLabels,
        viewer: ViewerModel,
        painted: PaintedLabels,
        outline: Outline,
        *,
        sides_mm: Callable[[int], tuple[float, float]],
        parent: QObject | None = None,
    ) -> None:
        """Offer answers in `outline`; `painted` is the layer that is painted on.

        `ready` saves the edits and returns the slice on view, see `SliceCommands.ready`;
        `sides_mm` returns the sides (y x) of a pixel along an axis.
        """
        super().__init__(parent)
        self._ready, self._journal = ready, journal
        self._arrays, self._working = arrays, working
        self._viewer, self._painted, self._outline = viewer, painted, outline
        self._sides_mm = sides_mm
        self._task: BackgroundTask | None = None
        self._asked: SliceKey | None = None
        self._offered: Answer | None = None

    @property
    def offered(self) -> Answer | None:
        """The answer on offer."""
        return self._offered

    def ask(self) -> None:
        """Compute an answer for the slice on view in the background; UserError without strokes."""
        key = self._ready("answer at once")
        self.drop()
        if not self._begin(key):
            raise UserError(
                f"An answer goes on from your strokes, and slice {key.index} has none since it was "
                "last changed by a command. Paint along what is wrong, and ask again."
            )

    def take(self) -> None:
        """Give the slice the labels on offer, as one step; UserError if that is impossible."""
        answer = self._offered
        if answer is None:
            return
        key = self._ready("take an answer")
        self.drop()
        if key != answer.key or not np.array_equal(self._shown(key), answer.shown):
            raise UserError(
                f"Slice {answer.key.index} has changed since it was answered. Ask again."
            )
        self._journal.draft("take the answer on", key, answer.labels)
        now = self._shown(key)
        changed = int(np.count_nonzero(now != answer.shown))
        self.told.emit(
            f"Slice {key.index} took the answer: {pixels_in_words(changed)} changed."
            + stayed_in_words(answer.labels, now)
        )

    def drop(self) -> None:
        """Take the offer away, and await none."""
        self._task = self._asked = None
        if self._offered is None:
            return
        self._offered = None
        self._outline.hide()
        for each in (self._viewer, self._painted):
            for key in (TAKE, DROP):
                each.bind_key(key, None)

    def renew(self) -> None:
        """Take note of a step on the case: what is offered or awaited is asked for anew."""
        key = self._asked if self._offered is None else self._offered.key
        self.drop()
        if key is not None:
            self._begin(key)

    # --- inside ----------------------------------------------------------------------------------

    def _begin(self, key: SliceKey) -> bool:
        """Begin to compute; return whether there are strokes to go on from."""
        before, shown = self._journal.before_strokes(key), self._shown(key)
        if before is None or np.array_equal(before, shown):
            return False
        image = self._arrays.intensities(key.axis, key.index)
        there = [name for name in _OTHERS if self._arrays[name].there]
        others = [self._arrays.labels(name, key.axis, key.index) for name in there]
        sides = self._sides_mm(key.axis)
        task = BackgroundTask(
            lambda _: Answer(key, shown, answered(before, shown, image, sides, others)),
            "mlbseg-answer",
            self,
        )
        task.ended.connect(partial(self._on_ended, task))
        self._task, self._asked = task, key
        task.start()
        return True

    def _on_ended(
        self, task: BackgroundTask, answer: Answer | None, error: BaseException | None
    ) -> None:
        task.deleteLater()
        if task is not self._task:
            return
        self._task = None
        if answer is not None and not np.array_equal(self._shown(answer.key), answer.shown):
            return  # amid another stroke, whose end asks anew
        self._asked = None
        if answer is None:
            self.failed.emit(f"Unexpected error: {error}")
            return
        index = answer.key.index
        if not answer.count:
            self.told.emit(f"Slice {index}: the strokes say it all, nothing else would change.")
            return
        self._offered = answer
        self._outline.show(answer.key.axis, index, answer.shown, answer.labels)
        for each in (self._viewer, self._painted):
            each.bind_key(TAKE, self._on_take, overwrite=True)
            each.bind_key(DROP, self._on_drop, overwrite=True)
        self.told.emit(
            f"Slice {index}, answer: {pixels_in_words(answer.count)} would change as outlined. "
            f"{TAKE} takes it, {DROP} drops it."
        )

    def _on_take(self, _: Any) -> None:
        try:
            self.take()
        except (UserError, OSError) as error:
            self.failed.emit(str(error))

    def _on_drop(self, _: Any) -> None:
        self.drop()
        self.told.emit("The answer was dropped.")

    def _shown(self, key: SliceKey) -> Labels:
        return self._working.read(key.axis, key.index)

"""Reviews in the window: which slices await one, and verdicts on what is on view.

The study is shown read-only, so that nobody paints in passing; it is opened for writing only while
a verdict is written. So a reviewer keeps nobody from working for longer than that.
"""

from collections.abc import Mapping, Sequence

from qtpy.QtCore import QObject, Signal

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.reviews import Verdict
from napari_mlbseg.project.records.slices import SliceKey, SliceRecord, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.preferences import annotator
from napari_mlbseg.widgets.refusals import opened, reporting
from napari_mlbseg.widgets.requests import TO_REVIEW, ReviewRow, review_rows
from napari_mlbseg.widgets.workbench import Workbench


class Reviewing(QObject):
    """The reviews of the study that is open.

    Signals
    -------
    changed()
        Slices were reviewed.
    """

    changed = Signal()

    def __init__(self, bench: Workbench, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._bench = bench
        self._seen: Mapping[SliceKey, int] = {}
        bench.view.changed.connect(self._look)

    def rows(self) -> Sequence[ReviewRow]:
        """The slices that are to be reviewed, or were."""
        return review_rows(self._bench.study)

    def record(self) -> SliceRecord | None:
        """The slice on view, as the study has it now."""
        study, annotation = self._bench.study, self._bench.annotation
        if study is None or annotation is None:
            return None
        return study.slices.record(annotation.key)

    def may_review(self) -> bool:
        """Whether the slice on view may be reviewed by whoever sits here."""
        study, record = self._bench.study, self.record()
        return study is not None and record is not None and study.reviews.may_review(record)

    def states(self) -> tuple[list[SliceState], int]:
        """The states of the slices along the axis on view, and the one on view; none without."""
        study, annotation = self._bench.study, self._bench.annotation
        if study is None or annotation is None:
            return [], 0
        key = annotation.key
        states = [SliceState.UNTOUCHED] * annotation.case.geometry.shape[key.axis]
        for record in study.slices.records(key.case_id):
            if record.key.axis == key.axis:
                states[record.key.index] = record.state
        return states, key.index

    def go_on(self) -> bool:
        """Show the next slice that awaits a review, after the last one the first; False if none."""
        waiting = [row.key for row in self.rows() if TO_REVIEW in row.tags]
        annotation = self._bench.annotation
        here = annotation.key if annotation is not None else None
        others = [key for key in waiting if key != here]
        if not others:
            return bool(waiting)
        keys = [row.key for row in self.rows()]
        place = keys.index(here) if here in keys else -1
        self._bench.view.go_to(
            min(others, key=lambda key: (keys.index(key) <= place, keys.index(key)))
        )
        return True

    def give(self, verdict: Verdict, note: str, *, whole: bool) -> bool:
        """Review the slice on view, or all of its case that await it; whether that was saved."""
        given = False
        with reporting(self._bench.failed.emit):
            study, annotation = opened(self._bench.study), self._bench.annotation
            if annotation is None:
                raise UserError("Choose a slice first.")
            keys = [annotation.key]
            if whole:
                mine = [row.key for row in self.rows() if TO_REVIEW in row.tags]
                keys = [key for key in mine if key.case_id == annotation.case.id]
            with Study.open(study.path, author=annotator()) as writer:
                self._require_as_seen(writer, keys)
                writer.reviews.give(keys, verdict, note)
            given = True
            self.changed.emit()
        return given

    def _look(self) -> None:
        """Take note of what is shown: only that may be reviewed."""
        study, annotation = self._bench.study, self._bench.annotation
        shown = (
            () if study is None or annotation is None else study.slices.records(annotation.case.id)
        )
        self._seen = {record.key: record.revision for record in shown}

    def _require_as_seen(self, study: Study, keys: Sequence[SliceKey]) -> None:
        for key in keys:
            record = study.slices.record(key)
            if record is not None and self._seen.get(key) != record.revision:
                self._bench.view.show_anew(key)
                raise UserError(
                    f"{study.slices.in_words(key)} was changed since you opened the case. It is "
                    "shown as it is now: look at it again."
                )

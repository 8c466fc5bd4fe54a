"""Makes studies from folders in the background, and asks which series and frames to import."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_mlbseg.project.importing.cohort import Imported
from napari_mlbseg.project.importing.offers import Offer
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background import jobs
from napari_mlbseg.widgets.background.errands import Errands
from napari_mlbseg.widgets.background.task import Report
from napari_mlbseg.widgets.preferences import annotator
from napari_mlbseg.widgets.requests import NewStudy


class Intake(QObject):
    """Makes studies from folders.

    Signals
    -------
    made(Study, Imported)
        A new study, open for writing, and what was imported and what was left out.
    choice_needed(NewStudy, tuple)
        There are several series or frames (`Offer`): create the study again with choices.
    """

    made = Signal(object, object)
    choice_needed = Signal(object, object)

    def __init__(self, errands: Errands, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._errands = errands

    def create(self, new: NewStudy) -> None:
        """Make a study, or ask for choices if there are several series and `new` has none."""

        def looked(offers: tuple[Offer, ...]) -> None:
            if offers:
                self.choice_needed.emit(new, offers)
            else:
                self.create(replace(new, choices={}))

        def made(study_and_imported: tuple[Study, Imported]) -> None:
            self.made.emit(*study_and_imported)

        if new.choices is None:
            self._run(jobs.survey(new.images), looked)
        else:
            self._run(jobs.creation(new, annotator()), made)

    def _run(self, work: Callable[[Report], Any], done: Callable[[Any], None]) -> None:
        told = "Cancelled. Nothing was imported, and nothing changed."
        self._errands.run(work, done, cancelled=told, keeping=False)

"""Between two pieces of work: handle requests, wait during a pause, read changed clean slices."""

from collections.abc import Iterator

from napari_mlbseg.engine.events import CleanSlicesChanged, Event
from napari_mlbseg.engine.interruption import CutOffError
from napari_mlbseg.engine.session.attention import Attention
from napari_mlbseg.engine.session.braking import Braking
from napari_mlbseg.engine.session.pace import Pace
from napari_mlbseg.engine.session.showing import Showing
from napari_mlbseg.engine.session.upkeep import Work
from napari_mlbseg.engine.training.clean_slices import check_enough
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.study import Study


class Between:
    """Carries out a person's requests between two pieces of work."""

    def __init__(
        self,
        study: Study,
        trainer: Trainer,
        attention: Attention,
        braking: Braking,
        showing: Showing,
        pace: Pace,
    ) -> None:
        self._study, self._trainer, self._attention = study, trainer, attention
        self._braking, self._showing, self._pace = braking, showing, pace

    def steps(self) -> Iterator[Event]:
        """Handle the requests that have arrived; wait here during a pause."""
        attention = self._attention
        while True:
            for event in attention.attend():
                yield event
                self._pace.restart()
            self._showing.look_at(attention.focus)
            if attention.stop or not attention.take_clean_slices():
                return
            try:
                yield from self._take_clean_slices()
            except CutOffError:
                attention.clean_slices_are_due()

    def heeding(self, work: Work) -> Iterator[Event]:
        """Do a piece of work and yield its event.

        Work that a pause interrupts starts over; after a stop none starts.
        """
        while not self._attention.stop:
            try:
                event = work()
            except CutOffError:
                yield from self.steps()
                continue
            if event is not None:
                yield event
            return

    def read_clean_slices(self) -> None:
        """Train, score and publish with the current clean slices from now on."""
        self._trainer.read_clean_slices()
        self._showing.clean_slices_changed()

    def _take_clean_slices(self) -> Iterator[Event]:
        """Switch to the current clean slices; keep the former ones if too few are left."""
        try:
            check_enough(self._study, has_model=self._trainer.earlier is not None)
        except UserError:
            return
        self.read_clean_slices()
        trainer = self._trainer
        yield CleanSlicesChanged(len(trainer.training_slices), len(trainer.validation_slices))
        yield self._braking.coverage()

"""The loop as the window and the command line see it: an iterator of events with an inbox."""

import logging
import time
import traceback
from collections.abc import Callable, Iterator

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import Event, Failed, Inbox, Stage, StageStarted
from napari_mlbseg.engine.session.budget import Budget
from napari_mlbseg.engine.training.clean_slices import check_enough
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.study import Study

logger = logging.getLogger(__name__)


class Bootstrapper:
    """Improves the labels of every case of a study by learning from its clean slices.

    Parameters
    ----------
    study
        A study open for writing. Clean slices are read from its catalogue; predictions and weight
        maps are written to its arrays.
    config
        Settings of the run.
    clock
        Tells the seconds by which the run keeps its `minutes` and paces its work.

    Examples
    --------
    An error arrives as the last event, not as an exception:

    >>> from pathlib import Path
    >>> with Study.create(Path("heart.mlbseg")) as study:
    ...     for event in Bootstrapper(study, Config()).events(Inbox()):
    ...         print(event.message)
    The study has no cases yet. Import images first.
    """

    def __init__(
        self, study: Study, config: Config, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._study, self._config, self._clock = study, config, clock

    def events(self, inbox: Inbox) -> Iterator[Event]:
        """Run until done or stopped, in the thread that iterates.

        Never raises: the last event is `Finished` or `Failed`. torch and MONAI are imported when
        the second event is requested, and not at all if there is too little to learn from.
        """
        budget = Budget(self._config.minutes, self._clock)
        try:
            check_enough(self._study, has_model=self._config.begin_with is not None)
            yield StageStarted(Stage.LOADING, None)
            from napari_mlbseg.engine.nets.device import release_all_memory
            from napari_mlbseg.engine.session.run import Run

            with self._study.runs.going_on():
                try:
                    yield from Run(self._study, self._config, inbox, budget).events()
                finally:
                    release_all_memory()
        except UserError as error:
            yield Failed(str(error), "")
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            logger.exception("the run failed")
            yield Failed(
                f"The run stopped because of an unexpected error: {type(error).__name__}: {error}. "
                "Every slice that you saved is safe. Start again to resume from the last "
                "checkpoint.",
                traceback.format_exc(),
            )

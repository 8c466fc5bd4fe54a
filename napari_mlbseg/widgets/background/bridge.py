"""Brings the engine's events to the main thread, and requests to the engine."""

import threading
import traceback
from collections.abc import Callable, Iterator

from qtpy.QtCore import QObject, Signal

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import Event, Failed, Finished, Inbox, Request, Stop
from napari_mlbseg.engine.training.clean_slices import check_enough
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background.task import BackgroundTask, Report

EventSource = Callable[[Inbox], Iterator[Event]]
EngineFactory = Callable[[Study, Config], EventSource]


def engine_of(study: Study, config: Config) -> EventSource:
    """Return the engine's event source, which imports and builds the engine in the calling thread.

    Raises
    ------
    UserError
        Immediately, if there are too few clean slices to learn from.
    """
    check_enough(study, has_model=config.begin_with is not None)

    def events(inbox: Inbox) -> Iterator[Event]:
        from napari_mlbseg.engine.loop import Bootstrapper

        return Bootstrapper(study, config).events(inbox)

    return events


class EngineBridge(QObject):
    """Runs one engine at a time in a thread of its own.

    Signals
    -------
    told(object)
        Every event of the engine, on the main thread; the last is always `Finished` or `Failed`.
    """

    told = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._inbox = Inbox()
        self._task: BackgroundTask | None = None
        self._last: object = None
        self._end = _End()

    @property
    def running(self) -> bool:
        """Whether a run has started and its last event has not arrived yet."""
        return self._task is not None

    def start(self, source: EventSource) -> None:
        """Start a run: `source` is called, and iterated over, in the engine's thread."""
        if self.running:
            raise UserError("Training is already running. Stop it before you start another run.")
        self._inbox = inbox = Inbox()
        self._last = None
        self._end = end = _End()

        def work(report: Report) -> None:
            try:
                for event in source(inbox):
                    report(event)
            finally:
                end.reach()

        self._task = BackgroundTask(work, "mlbseg-engine", self)
        self._task.reported.connect(self._on_reported)
        self._task.ended.connect(self._on_ended)
        self._task.start()

    def send(self, request: Request) -> None:
        """Pass a request to the engine; without a run it is dropped."""
        if self.running:
            self._inbox.put(request)

    def stop(self, timeout_s: float) -> bool:
        """Ask the run to finish, and wait for it. Return True if no run is left.

        The window freezes meanwhile, so call this on closing only; otherwise `send` a `Stop`.
        """
        if self._task is None:
            return True
        self._inbox.put(Stop())
        return self._task.wait(timeout_s)

    def abandon(self, afterwards: Callable[[], object]) -> None:
        """Ignore a run from now on; `afterwards` is called in its thread when it ends."""
        task, self._task = self._task, None
        if task is not None:
            task.reported.disconnect(self._on_reported)
            task.ended.disconnect(self._on_ended)
            task.cancel()
        self._end.then(afterwards)

    def _on_reported(self, event: object) -> None:
        self._last = event
        if not isinstance(event, Finished | Failed):
            self.told.emit(event)

    def _on_ended(self, _: object, error: BaseException | None) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.deleteLater()
        self.told.emit(_last_event(self._last, error))


class _End:
    """The end of a run, and what to do then; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reached = False
        self._afterwards: Callable[[], object] | None = None

    def reach(self) -> None:
        with self._lock:
            self._reached = True
            afterwards = self._afterwards
        if afterwards is not None:
            afterwards()

    def then(self, afterwards: Callable[[], object]) -> None:
        with self._lock:
            self._afterwards = afterwards
            reached = self._reached
        if reached:
            afterwards()


def _last_event(last: object, error: BaseException | None) -> Event:
    if isinstance(error, UserError):
        return Failed(str(error), "")
    if error is not None:
        message = f"The training stopped with an unexpected error: {error}"
        return Failed(message, "".join(traceback.format_exception(error)))
    if isinstance(last, Finished | Failed):
        return last
    return Failed("The training ended without giving a reason. Start it again to resume.", "")

"""A stand-in for the engine: yields what it is told to, heeds what it is asked."""

from collections.abc import Iterator
from queue import SimpleQueue

from napari_mlbseg.engine import events as ev
from napari_mlbseg.engine.config import Config
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.background.bridge import EventSource


class ScriptedEngine:
    """Yields the events that `tell` is given until it is asked to stop.

    Attributes
    ----------
    heard
        Every request that arrived.
    started
        Studies and configurations of the runs.
    """

    def __init__(self) -> None:
        self.heard: list[ev.Request] = []
        self.started: list[tuple[Study, Config]] = []
        self._script: SimpleQueue[ev.Event | Exception] = SimpleQueue()

    def __call__(self, study: Study, config: Config) -> EventSource:
        self.started.append((study, config))
        return self._run

    def tell(self, event: ev.Event | Exception) -> None:
        self._script.put(event)

    def _run(self, inbox: ev.Inbox) -> Iterator[ev.Event]:
        yield ev.RunStarted(1, "cpu", "scripted", 1000, 2, 1, 0)
        while True:
            for request in inbox.drain(timeout_s=0.01):
                self.heard.append(request)
                match request:
                    case ev.Stop():
                        yield ev.Finished(1, 10, True, 1.0)
                        return
                    case ev.Pause():
                        yield ev.Paused()
                    case ev.Resume():
                        yield ev.Resumed()
                    case _:
                        yield ev.Heartbeat()
            while not self._script.empty():
                event = self._script.get()
                if isinstance(event, Exception):
                    raise event
                yield event

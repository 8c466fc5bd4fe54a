"""The requests from the inbox, and what they mean for the run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import assert_never

from napari_mlbseg.engine.events import (
    Event,
    ExtentMarked,
    Focus,
    Heartbeat,
    Inbox,
    Pause,
    Paused,
    Request,
    Resume,
    Resumed,
    SliceAccepted,
    SliceReopened,
    Stop,
)
from napari_mlbseg.engine.interruption import CutOffError
from napari_mlbseg.project.records.slices import SliceKey

HEARTBEAT_S = 0.1


class Attention:
    """Reads requests, between steps and within them, and keeps track of what they ask for.

    Attributes
    ----------
    paused, stop
        Whether the run is to pause or to stop.
    clean_slices_changed
        Whether the clean slices have to be read again, or the extents.
    focus
        The slice on view.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self.paused = False
        self.stop = False
        self.clean_slices_changed = False
        self.focus: SliceKey | None = None
        self._giving_way = False

    def check(self) -> None:
        """Raise `CutOffError` if a request interrupts the work in progress.

        Stop and Pause always interrupt; an accepted or reopened slice, or a marked extent, does so
        only while `giving_way`. Otherwise accepting slice after slice would keep the training from
        advancing.
        """
        self._take(timeout_s=0.0)
        if self.stop or self.paused or (self._giving_way and self.clean_slices_changed):
            raise CutOffError

    def take_clean_slices(self) -> bool:
        """Whether clean slices changed since the last call; the caller has to read them now."""
        changed, self.clean_slices_changed = self.clean_slices_changed, False
        return changed

    def clean_slices_are_due(self) -> None:
        """Have the clean slices read again, whether or not they changed."""
        self.clean_slices_changed = True

    @contextmanager
    def giving_way(self) -> Iterator[None]:
        """A block of work that an accepted or reopened slice may interrupt."""
        self._giving_way = True
        try:
            yield
        finally:
            self._giving_way = False

    def attend(self) -> Iterator[Event]:
        """Read the requests that have arrived; while paused, wait here and send heartbeats."""
        self._take(timeout_s=0.0)
        if not self._holding():
            return
        yield Paused()
        while self._holding():
            self._take(timeout_s=HEARTBEAT_S)
            yield Heartbeat()
        yield Resumed()

    def _holding(self) -> bool:
        return self.paused and not self.stop

    def _take(self, *, timeout_s: float) -> None:
        for request in self._inbox.drain(timeout_s=timeout_s):
            self._note(request)

    def _note(self, request: Request) -> None:
        match request:
            case SliceAccepted() | SliceReopened() | ExtentMarked():
                self.clean_slices_changed = True
            case Focus(key):
                self.focus = key
            case Pause():
                self.paused = True
            case Resume():
                self.paused = False
            case Stop():
                self.stop = True
            case _:
                assert_never(request)

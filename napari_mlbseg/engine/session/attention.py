"""What the inbox has asked for so far."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import assert_never

from napari_mlbseg.engine.events import (
    Event,
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
    """Reads requests, at step boundaries and in between, and keeps what they mean for the run."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self.paused = False
        self.stop = False
        self.clean_slices_changed = False
        self.focus: SliceKey | None = None
        self._giving_way = False

    def check(self) -> None:
        """Raise `CutOffError` where something was asked for that cuts off the work at hand.

        To stop and to pause do so always, an accepted or reopened slice only while `giving_way`:
        whoever accepts slice after slice shall not keep the training from moving.
        """
        self._take(timeout_s=0.0)
        if self.stop or self.paused or (self._giving_way and self.clean_slices_changed):
            raise CutOffError

    def take_clean_slices(self) -> bool:
        """Whether clean slices changed since this was last asked; they are to be taken now."""
        changed, self.clean_slices_changed = self.clean_slices_changed, False
        return changed

    def clean_slices_are_due(self) -> None:
        """The clean slices are to be taken, changed or not."""
        self.clean_slices_changed = True

    @contextmanager
    def giving_way(self) -> Iterator[None]:
        """Work that a slice on view is to come before."""
        self._giving_way = True
        try:
            yield
        finally:
            self._giving_way = False

    def attend(self) -> Iterator[Event]:
        """Take what has arrived; while paused, hold here, sending heartbeats."""
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
            case SliceAccepted() | SliceReopened():
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

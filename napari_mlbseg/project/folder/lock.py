"""One writer at a time: who has a study open for writing."""

import getpass
import json
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.folder.inside import require_own
from napari_mlbseg.project.folder.place import Place

LOCK_NAME = "writer.lock"
HOLDER_NAME = "writer.json"
_LONGEST_HOLDER = 10_000


@dataclass(frozen=True)
class Holder:
    """Who has a study open for writing; `since` is a time in UTC, ISO 8601."""

    user: str
    host: str
    pid: int
    since: str


class StudyLocked(UserError):  # noqa: N818 (a state of the study, not a mistake)
    """Somebody else has the study open for writing; `holder` is None where that is unknown."""

    def __init__(self, folder: Path, holder: Holder | None) -> None:
        self.holder = holder
        who = "another process"
        if holder is not None:
            since = f"{datetime.fromisoformat(holder.since).astimezone():%Y-%m-%d %H:%M}"
            who = f"{holder.user} on {holder.host} (process {holder.pid}) since {since}"
        super().__init__(
            f"{folder} is open for writing by {who}. Close it there, or open it for reading only."
        )


class WriterLock:
    """The right to write to a study's folder.

    The operating system takes it back when the process ends, however it ends, so a crash never
    leaves a study locked; a leftover ``writer.json`` means nothing without the lock.

    Attributes
    ----------
    after_crash
        Whether the writer before this one ended without giving the lock back.
    """

    def __init__(self, place: Place) -> None:
        self._place, self._folder = place, place.folder
        self.after_crash = False
        # Not thread-local: the thread that closes a study need not be the one that opened it.
        self._lock = FileLock(self._folder / LOCK_NAME, thread_local=False)

    def acquire(self) -> None:
        """Take the lock or raise StudyLocked at once."""
        require_own(self._folder, LOCK_NAME, HOLDER_NAME)
        try:
            self._lock.acquire(timeout=0)
            self.after_crash = (self._folder / HOLDER_NAME).exists()
            self._sign()
            self._place.hold(self._folder / LOCK_NAME)
        except Timeout:
            raise StudyLocked(self._folder, _read_holder(self._folder)) from None
        except OSError as error:
            self._lock.release()
            raise UserError(
                f"{self._folder} cannot be opened for writing ({error}). Open it for reading "
                "only, or ask for the right to write there."
            ) from error

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._lock.is_locked:
            with suppress(OSError):  # the name of the holder is not worth a lock that stays
                if not self._place.gone:  # else it is the name of another study's holder
                    (self._folder / HOLDER_NAME).unlink(missing_ok=True)
            self._lock.release()

    def _sign(self) -> None:
        holder = Holder(
            current_user(), socket.gethostname(), os.getpid(), datetime.now(UTC).isoformat()
        )
        beside = self._folder / f"{HOLDER_NAME}.new"
        beside.unlink(missing_ok=True)  # what an interrupted writer left, or a link
        with beside.open("x", encoding="utf-8") as file:
            json.dump(asdict(holder), file)
        beside.replace(self._folder / HOLDER_NAME)


def current_user() -> str:
    """Name of the person at the machine, for the records."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return "unknown"  # a container may run under a user that has no name


def _read_holder(folder: Path) -> Holder | None:
    try:
        with (folder / HOLDER_NAME).open(encoding="utf-8") as file:
            holder = Holder(**json.loads(file.read(_LONGEST_HOLDER)))
        datetime.fromisoformat(holder.since)
    except (OSError, ValueError, TypeError, RecursionError):
        return None  # the holder is just taking or giving back the lock
    return holder

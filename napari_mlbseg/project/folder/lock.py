"""One writer at a time: the lock of a study."""

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
from napari_mlbseg.project.folder.durable import private
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
    """Somebody else has the study open for writing; `holder` is None if it is unknown who."""

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

    The operating system releases it when the process ends, however it ends, so a crash never leaves
    a study locked; a leftover ``writer.json`` means nothing without the lock.

    Attributes
    ----------
    after_crash
        Whether the previous writer ended without releasing the lock.
    """

    def __init__(self, place: Place) -> None:
        self._place, self._folder = place, place.folder
        self.after_crash = False
        # Not thread-local: another thread may close the study than the one that opened it.
        self._lock = FileLock(self._folder / LOCK_NAME, mode=0o600, thread_local=False)

    def acquire(self) -> None:
        """Acquire the lock, or raise StudyLocked at once."""
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
                "only, or get permission to write there."
            ) from error

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        if self._lock.is_locked:
            with suppress(OSError):  # failing to delete the holder's name must not keep the lock
                if not self._place.gone:  # otherwise it names the holder of another study
                    (self._folder / HOLDER_NAME).unlink(missing_ok=True)
            self._lock.release()

    def _sign(self) -> None:
        holder = Holder(
            current_user(), socket.gethostname(), os.getpid(), datetime.now(UTC).isoformat()
        )
        beside = self._folder / f"{HOLDER_NAME}.new"
        beside.unlink(missing_ok=True)  # left by an interrupted writer, or a link
        with open(beside, "x", encoding="utf-8", opener=private) as file:
            json.dump(asdict(holder), file)
        beside.replace(self._folder / HOLDER_NAME)


def current_user() -> str:
    """Name of the current user, for the records."""
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
        return None  # the holder is just acquiring or releasing the lock
    return holder

"""What the engine can be asked and what it can tell: frozen plain data, no arrays.

Arrays live in the study's store; events name them. Both unions are closed: a receiver matches on
every member and ends in ``assert_never``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from queue import Empty, SimpleQueue

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.slices import SliceKey


class Stage(StrEnum):
    """What the engine is working at."""

    LOADING = "loading"
    BASE_MODEL = "base model"
    INITIAL_LABELS = "initial labels"
    BOOTSTRAPPING = "bootstrapping"
    PUBLISHING = "publishing"


# --- requests: window or script -> engine ---------------------------------------------------------


@dataclass(frozen=True)
class SliceAccepted:
    """A slice became clean; its mask is in the catalogue."""

    key: SliceKey


@dataclass(frozen=True)
class SliceReopened:
    """A slice is no longer clean."""

    key: SliceKey


@dataclass(frozen=True)
class Focus:
    """The slice on view; its prediction and weight maps are served first."""

    key: SliceKey


@dataclass(frozen=True)
class Pause:
    """Hold at once; a step that is cut off is begun anew afterwards."""


@dataclass(frozen=True)
class Resume:
    """Go on after a pause."""


@dataclass(frozen=True)
class Stop:
    """Drop what is being computed, save a checkpoint and finish."""


Request = SliceAccepted | SliceReopened | Focus | Pause | Resume | Stop


class Inbox:
    """Requests on their way to the engine; any thread may put, the engine drains.

    >>> inbox = Inbox()
    >>> inbox.put(Pause())
    >>> inbox.put(Stop())
    >>> inbox.drain()
    [Pause(), Stop()]
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Request] = SimpleQueue()

    def put(self, request: Request) -> None:
        """Hand a request to the engine; returns at once."""
        self._queue.put(request)

    def drain(self, *, timeout_s: float = 0.0) -> list[Request]:
        """Everything that has arrived, in order; waits up to `timeout_s` for a first one."""
        requests: list[Request] = []
        try:
            if timeout_s > 0:
                requests.append(self._queue.get(timeout=timeout_s))
            while True:
                requests.append(self._queue.get_nowait())
        except Empty:
            return requests


# --- events: engine -> window or script -----------------------------------------------------------


@dataclass(frozen=True)
class RunStarted:
    """The run has what it needs.

    `network` tells also what it sees, for example ``2.5d unet``; `resumed_step` is 0 for a fresh
    run.
    """

    run_id: int
    device: str
    network: str
    parameters: int
    training_slices: int
    validation_slices: int
    resumed_step: int


@dataclass(frozen=True)
class StageStarted:
    """A stage begins; `steps` is None where the amount of work is not known."""

    stage: Stage
    steps: int | None


@dataclass(frozen=True)
class StepDone:
    """Progress of a stage, at most about ten times a second.

    `losses` are means over the steps since the last event of this kind, by name. `step` counts
    within the stage. `steps_per_s` and `remaining_s` (of the whole run) are running estimates.
    """

    stage: Stage
    step: int
    steps: int | None
    losses: Mapping[str, float]
    steps_per_s: float
    remaining_s: float | None


@dataclass(frozen=True)
class CleanSlicesChanged:
    """The engine took an accepted or reopened slice into account."""

    training_slices: int
    validation_slices: int


@dataclass(frozen=True)
class ValidationScored:
    """Dice of the current model on the clean slices that it is not trained on.

    `dice` is the mean over the foreground classes, `dice_per_class` is keyed by class value;
    `uncertainty` is the standard error over the slices, None where there is only one. A model that
    is not `shown` is worse than the one before: predictions go on being those of the better one.
    """

    stage: Stage
    step: int
    dice: float
    dice_per_class: Mapping[int, float]
    uncertainty: float | None = None
    shown: bool = True
    never_looked_at: int = 0
    slices: int = 0


@dataclass(frozen=True)
class ImportedLabelsKept:
    """Whether imported labels are shown in place of predictions; sent where it changed.

    They are while the network does worse than they do on the validation slices; where
    these are too few, even on slices that it learnt from.
    """

    kept: bool


@dataclass(frozen=True)
class OutOfTime:
    """The time of the run was over before these slices were published; they stay what they were."""

    slices: tuple[SliceKey, ...]


@dataclass(frozen=True)
class SlicesPublished:
    """Slices ``start <= index < stop`` along `axis` (display frame) have new arrays.

    `arrays` holds names of `napari_mlbseg.project.arrays.store.ArrayName` values; none while an
    array is in the making, which is published as a whole.
    """

    case_id: str
    axis: int
    start: int
    stop: int
    arrays: tuple[str, ...]
    step: int


@dataclass(frozen=True)
class BatchShrunk:
    """The device ran out of memory; the batch is smaller from now on."""

    batch_size: int
    message: str


@dataclass(frozen=True)
class FellBack:
    """The newest state is no good, and the training goes on from an older one by itself.

    At the start of a run, where the newest checkpoint is damaged, gone or of another network;
    later, where the training became unstable. `path` is the checkpoint that it goes on from, empty
    where it begins afresh; `step` counts its steps, and `learning_rate` holds from now on.
    `message` says all this to the annotator.
    """

    message: str
    path: str
    step: int
    learning_rate: float


@dataclass(frozen=True)
class OnlyCleanSlicesLeft:
    """Every slice is clean or skipped: no rough labels are left to learn from.

    The steps that remain learn from the clean slices alone, as those of the base model do.
    `message` says so to the annotator.
    """

    message: str


@dataclass(frozen=True)
class Paused:
    """The engine holds; sent once."""


@dataclass(frozen=True)
class Resumed:
    """The engine goes on."""


@dataclass(frozen=True)
class Heartbeat:
    """Nothing new, still there: lets a generator worker notice requests while paused."""


@dataclass(frozen=True)
class CheckpointSaved:
    """The run can be continued from here, also after a crash."""

    path: str
    step: int


@dataclass(frozen=True)
class Finished:
    """Last event of a run that ended well; `stopped` tells whether somebody asked for it."""

    run_id: int
    step: int
    stopped: bool
    seconds: float


@dataclass(frozen=True)
class Failed:
    """Last event of a run that could not go on.

    `message` is for the annotator; `details` is the traceback, empty where the user can mend it.
    """

    message: str
    details: str

    def error(self) -> Exception:
        """A UserError where the user can mend it, else a RuntimeError with the details as note."""
        if not self.details:
            return UserError(self.message)
        error = RuntimeError(self.message)
        error.add_note(self.details)
        return error


Event = (
    RunStarted
    | StageStarted
    | StepDone
    | CleanSlicesChanged
    | ValidationScored
    | ImportedLabelsKept
    | OutOfTime
    | SlicesPublished
    | BatchShrunk
    | FellBack
    | OnlyCleanSlicesLeft
    | Paused
    | Resumed
    | Heartbeat
    | CheckpointSaved
    | Finished
    | Failed
)

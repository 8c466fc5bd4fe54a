"""Requests to the engine and events from it: frozen plain data, no arrays.

Arrays live in the study's store; events name them. Both unions are closed: a receiver matches
every member and ends in ``assert_never``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from queue import Empty, SimpleQueue

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.reach import Reach
from napari_mlbseg.project.records.slices import SliceKey


class Stage(StrEnum):
    """What the engine is working on."""

    LOADING = "loading"
    BASE_MODEL = "base model"
    LABELLING = "labelling"
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
class ExtentMarked:
    """The extent of a class in a case was marked or cleared; it is in the catalogue."""

    case_id: str


@dataclass(frozen=True)
class Focus:
    """The slice on view; its prediction and weight maps are published first."""

    key: SliceKey


@dataclass(frozen=True)
class Pause:
    """Pause at once; an interrupted step starts over on resuming."""


@dataclass(frozen=True)
class Resume:
    """Continue after a pause."""


@dataclass(frozen=True)
class Stop:
    """Drop the computation in progress, save a checkpoint and finish."""


Request = SliceAccepted | SliceReopened | ExtentMarked | Focus | Pause | Resume | Stop


class Inbox:
    """The queue of requests to the engine; any thread may put, the engine drains it.

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
        """All requests that have arrived, in order; waits up to `timeout_s` for the first one."""
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
    """The run has loaded everything and starts.

    `network` includes the dimensions, for example ``2.5d unet``; `resumed_step` is 0 for a fresh
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
    """A stage begins; `steps` is None if the amount of work is unknown."""

    stage: Stage
    steps: int | None


@dataclass(frozen=True)
class StepDone:
    """Progress of a stage, at most about ten times a second.

    `losses` holds the mean of each loss since the last event of this kind, by name. `step` counts
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
    """The engine has read the clean slices again after a slice or an extent changed."""

    training_slices: int
    validation_slices: int


@dataclass(frozen=True)
class CoverageChanged:
    """How much of the cohort was looked at; sent at the start and when a clean slice changes.

    `never_looked_at` of all `slices` have no clean slice near them: no validation Dice says
    anything about those. `reach` says how far each case was looked at.
    """

    never_looked_at: int
    slices: int
    reach: tuple[Reach, ...] = ()


@dataclass(frozen=True)
class ValidationScored:
    """Dice of the current model on the validation slices.

    `dice` is the mean over the foreground classes, `dice_per_class` is keyed by label value;
    `uncertainty` is the standard error over the `validation_slices` that show something, None if
    there is only one. A model that is not `shown` is worse than an earlier one, which keeps making
    the predictions.
    """

    stage: Stage
    step: int
    dice: float
    dice_per_class: Mapping[int, float]
    uncertainty: float | None = None
    validation_slices: int = 0
    shown: bool = True


@dataclass(frozen=True)
class ImportedLabelsKept:
    """Whether imported labels are shown in place of all predictions; sent when this changes.

    They are shown while the network does worse than they do, on the validation slices or even on
    training slices.
    """

    kept: bool


@dataclass(frozen=True)
class OutOfTime:
    """The run ran out of time before publishing these slices; they keep their former labels."""

    slices: tuple[SliceKey, ...]


@dataclass(frozen=True)
class SlicesPublished:
    """Slices ``start <= index < stop`` along `axis` (display frame) have new arrays.

    `arrays` holds values of `napari_mlbseg.project.arrays.store.ArrayName`; it is empty while an
    array is being built, because new arrays are published as a whole.
    """

    case_id: str
    axis: int
    start: int
    stop: int
    arrays: tuple[str, ...]
    step: int


@dataclass(frozen=True)
class BatchShrunk:
    """The device ran out of memory; the run continues with a smaller batch."""

    batch_size: int
    message: str


@dataclass(frozen=True)
class FellBack:
    """The newest state is unusable, and the training resumes from an older one on its own.

    At the start of a run because the newest checkpoint is damaged, missing or of another network;
    later because the training became unstable. `path` is the checkpoint that the training resumes
    from, empty if it starts afresh; `step` is the step count of that checkpoint, and
    `learning_rate` applies from now on. `message` tells the annotator all this.
    """

    message: str
    path: str
    step: int
    learning_rate: float


@dataclass(frozen=True)
class OnlyCleanSlicesLeft:
    """No rough labels are left to learn from: all slices are clean, skipped or never looked at.

    The remaining steps learn from the training slices alone, as those of the base model do.
    `message` tells the annotator.
    """

    message: str


@dataclass(frozen=True)
class EarlierModelChosen:
    """The settings name an earlier model to begin with; sent once, after `RunStarted`.

    It is not `used` if there is a training to resume. `message` tells the annotator what the run
    takes over of it, or why it does not.
    """

    message: str
    used: bool


@dataclass(frozen=True)
class Paused:
    """The engine has paused; sent once."""


@dataclass(frozen=True)
class Resumed:
    """The engine continues after a pause."""


@dataclass(frozen=True)
class Heartbeat:
    """Nothing new, still alive: lets a generator worker notice requests while paused."""


@dataclass(frozen=True)
class CheckpointSaved:
    """The run can resume from here, even after a crash."""

    path: str
    step: int


@dataclass(frozen=True)
class Finished:
    """Last event of a run that ended well; `stopped` says whether somebody stopped it."""

    run_id: int
    step: int
    stopped: bool
    seconds: float


@dataclass(frozen=True)
class Failed:
    """Last event of a run that failed.

    `message` is for the annotator; `details` is the traceback, empty if the user can fix the
    problem.
    """

    message: str
    details: str

    def error(self) -> Exception:
        """A UserError if the user can fix the problem, else a RuntimeError with `details` added."""
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
    | CoverageChanged
    | ValidationScored
    | ImportedLabelsKept
    | OutOfTime
    | SlicesPublished
    | BatchShrunk
    | FellBack
    | OnlyCleanSlicesLeft
    | EarlierModelChosen
    | Paused
    | Resumed
    | Heartbeat
    | CheckpointSaved
    | Finished
    | Failed
)

"""Shows engine events on a terminal, and sums them up at the end."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, assert_never

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from napari_mlbseg.cli import output
from napari_mlbseg.engine.events import (
    BatchShrunk,
    CheckpointSaved,
    CleanSlicesChanged,
    CoverageChanged,
    EarlierModelChosen,
    Event,
    Failed,
    FellBack,
    Finished,
    Heartbeat,
    ImportedLabelsKept,
    OnlyCleanSlicesLeft,
    OutOfTime,
    Paused,
    Resumed,
    RunStarted,
    SlicesPublished,
    StageStarted,
    StepDone,
    ValidationScored,
)
from napari_mlbseg.engine.wording import (
    beside_score,
    of_coverage,
    of_dice,
    of_imported_labels_kept,
    of_out_of_time,
)
from napari_mlbseg.former_names import with_former_names
from napari_mlbseg.project.records.progress import Progress as Report
from napari_mlbseg.project.records.reach import beyond_in_words
from napari_mlbseg.project.records.slices import SliceKey


def follow(events: Iterable[Event]) -> dict[str, Any]:
    """Show the events of a run as they come; returns a document about the run.

    Raises
    ------
    UserError
        If the run failed for a reason that the user can fix.
    RuntimeError
        If it failed for another reason; its note is the engine's traceback.
    """
    summary: dict[str, Any] = {
        "validation_dice": None,
        "validation_dice_per_class": None,
        "validation_dice_uncertainty": None,
        "never_looked_at": None,
        "not_corrected": None,
        "imported_labels_kept": False,
        "earlier_model_used": False,
        "not_refreshed": {},
    }
    with _Bars() as bars:
        for event in events:
            match event:
                case RunStarted():
                    summary |= {
                        "run_id": event.run_id,
                        "device": event.device,
                        "network": event.network,
                        "parameters": event.parameters,
                        "training_slices": event.training_slices,
                        "validation_slices": event.validation_slices,
                        "resumed_step": event.resumed_step,
                    }
                    bars.started(event)
                case StageStarted():
                    bars.stage(event)
                case StepDone():
                    bars.step(event)
                case ValidationScored():
                    summary["validation_dice"] = event.dice
                    summary["validation_dice_per_class"] = dict(event.dice_per_class)
                    summary["validation_dice_uncertainty"] = event.uncertainty
                    bars.score(event)
                case CoverageChanged():
                    summary["never_looked_at"] = event.never_looked_at
                    summary["not_corrected"] = beyond_in_words(event.reach, in_file=True)
                    bars.coverage(event)
                case ImportedLabelsKept():
                    summary["imported_labels_kept"] = event.kept
                    bars.say(of_imported_labels_kept(event))
                case OutOfTime():
                    summary["not_refreshed"] = _counted(event.slices)
                    bars.say(of_out_of_time(event))
                case EarlierModelChosen():
                    summary["earlier_model_used"] = event.used
                    bars.say(event.message)
                case BatchShrunk() | FellBack() | OnlyCleanSlicesLeft():
                    bars.say(event.message)
                case Finished():
                    summary |= {
                        "stopped": event.stopped,
                        "step": event.step,
                        "seconds": event.seconds,
                    }
                case Failed():
                    raise event.error()
                case CleanSlicesChanged() | SlicesPublished() | CheckpointSaved():
                    pass
                case Paused() | Resumed() | Heartbeat():
                    pass
                case _:
                    assert_never(event)
    return with_former_names(summary)


@contextmanager
def counting() -> Iterator[Report]:
    """A bar for work on file after file; takes what is being done, steps done, all steps."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("")
        yield lambda text, done, total: progress.update(
            bar, description=text, completed=done, total=total
        )


class _Bars:
    """One bar per stage on a terminal; a line per stage where stderr is a file or a pipe."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._live = console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            console=console,
            disable=not self._live,
        )
        self._bar: TaskID | None = None
        self._score: ValidationScored | None = None
        self._unseen = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        if self._live:
            self._progress.console.print(text, markup=False, highlight=False)
        else:
            output.note(text)

    def started(self, event: RunStarted) -> None:
        resumed = f", resuming at step {event.resumed_step}" if event.resumed_step else ""
        self.say(
            f"{event.network} on {event.device}; clean slices: {event.training_slices} "
            f"for training, {event.validation_slices} for validation{resumed}"
        )

    def stage(self, event: StageStarted) -> None:
        self._say_score()
        if not self._live:
            self.say(event.stage.value)
        self._bar = self._progress.add_task(event.stage.value, total=event.steps, text="")

    def step(self, event: StepDone) -> None:
        if self._bar is None:
            return
        shown = [f"{name} {value:.3f}" for name, value in event.losses.items()]
        if self._score is not None:
            shown.append(f"validation Dice {self._score.dice:.3f}")
        if event.remaining_s is not None:
            shown.append(f"{_clock(event.remaining_s)} left")
        self._progress.update(
            self._bar, completed=event.step, total=event.steps, text="  ".join(shown)
        )

    def score(self, event: ValidationScored) -> None:
        self._score = event

    def coverage(self, event: CoverageChanged) -> None:
        """Print what nobody has looked at; later it stands beside every score."""
        unseen = of_coverage(event, in_file=True)
        if unseen and unseen != self._unseen:
            self.say(unseen)
        self._unseen = unseen

    def _say_score(self) -> None:
        """Print only the last score of a stage; there are many while it runs."""
        if self._score is not None:
            kept = "" if self._score.shown else ", worse than before: the better model is shown"
            stage, dice = self._score.stage.value, of_dice(self._score)
            self.say(f"{stage}: {dice}{kept}{beside_score(self._unseen)}")
        self._score = None


def _counted(slices: Sequence[SliceKey]) -> dict[str, int]:
    """The number of slices of each case."""
    return dict(Counter(key.case_id for key in slices))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"

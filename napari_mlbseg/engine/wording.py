"""Events put into words, the same on a terminal and in the window."""

from collections.abc import Sequence
from typing import Final

from scipy.special import stdtrit

from napari_mlbseg.engine.events import (
    CoverageChanged,
    ImportedLabelsKept,
    OutOfTime,
    ValidationScored,
)
from napari_mlbseg.project.records.extents import End
from napari_mlbseg.project.records.reach import beyond_in_words

FEWEST_TO_TELL: Final = 10
"""Validation slices below which their Dice says next to nothing about the cohort."""


def of_dice(event: ValidationScored) -> str:
    """A score with the interval that it leaves open (95 %), or a warning that it means little.

    >>> from napari_mlbseg.engine.events import Stage
    >>> of_dice(ValidationScored(Stage.BOOTSTRAPPING, 20, 0.81, {1: 0.81}, 0.02, 12))
    'Dice 0.81 (0.77 to 0.85) on 12 validation slices'
    >>> of_dice(ValidationScored(Stage.BOOTSTRAPPING, 20, 0.81, {1: 0.81}, 0.02, 4))
    'Dice 0.81 on 4 validation slices, too few to tell'
    """
    count = event.validation_slices
    counted = _counted(count, "validation slice")
    if event.uncertainty is None or count < FEWEST_TO_TELL:
        return f"Dice {event.dice:.2f} on {counted}, too few to tell"
    half = float(stdtrit(count - 1, 0.975)) * event.uncertainty
    low, high = max(0.0, event.dice - half), min(1.0, event.dice + half)
    return f"Dice {event.dice:.2f} ({low:.2f} to {high:.2f}) on {counted}"


def of_coverage(event: CoverageChanged, *, in_file: bool = False) -> str:
    """What nobody has looked at; empty if there is nothing.

    Slices are counted along the display axis, or as in the file's array.

    >>> of_coverage(CoverageChanged(41, 88))
    '41 of 88 slices have no clean slice near them'
    """
    if not event.never_looked_at:
        return ""
    beyond = beyond_in_words(event.reach, in_file=in_file)
    return (
        f"{event.never_looked_at} of {event.slices} slices have no clean slice near them"
        f"{': ' if beyond else ''}{beyond}"
    )


def beside_score(unseen: str) -> str:
    """What nobody has looked at, as `of_coverage` says it, to be appended to a score.

    >>> beside_score("41 of 88 slices have no clean slice near them")
    ', but 41 of 88 slices have no clean slice near them'
    """
    return f", but {unseen}" if unseen else ""


def of_imported_labels_kept(event: ImportedLabelsKept) -> str:
    """Whether imported labels or predictions are shown from now on."""
    if event.kept:
        return "The network still does worse than the imported labels, so those are shown."
    return "The network now does as well as the imported labels: its predictions are shown."


def of_out_of_time(event: OutOfTime) -> str:
    """How much was left when the time ran out."""
    slices = _counted(len(event.slices), "slice")
    cases = _counted(len({key.case_id for key in event.slices}), "case")
    one = len(event.slices) == 1
    return (
        f"The time is up: {slices} of {cases} got no new prediction and "
        f"{'keeps its' if one else 'keep their'} former labels. Start another run to continue from "
        "here."
    )


def _counted(count: int, noun: str) -> str:
    """A count with its noun.

    >>> _counted(1, "slice"), _counted(2, "slice")
    ('1 slice', '2 slices')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def of_end_to_mark(end: End, names: Sequence[str]) -> str:
    """What a suggestion asks for.

    >>> of_end_to_mark(End.LAST, ["atrium"])
    "mark where 'atrium' ends"
    """
    quoted = [f"'{name}'" for name in names]
    listed = " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)
    verb = {End.FIRST: "begin", End.LAST: "end"}[end]
    return f"mark where {listed} {verb}{'s' if len(quoted) == 1 else ''}"

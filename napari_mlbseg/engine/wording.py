"""Events put into words, the same on a terminal and in the window."""

from napari_mlbseg.engine.events import ImportedLabelsKept, OutOfTime, ValidationScored


def of_never_looked_at(event: ValidationScored) -> str:
    """What a score leaves out, to be appended to it; empty if it leaves nothing out."""
    if not event.never_looked_at:
        return ""
    return (
        f"; says nothing about {event.never_looked_at} of {event.slices} slices, "
        "which have no clean slice near them"
    )


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

"""What events say in words, the same on a terminal and in the window."""

from napari_mlbseg.engine.events import ImportedLabelsKept, OutOfTime, ValidationScored


def of_never_looked_at(event: ValidationScored) -> str:
    """What a score leaves out, to be put behind it; empty where it leaves nothing out."""
    if not event.never_looked_at:
        return ""
    return (
        f"; says nothing about {event.never_looked_at} of {event.slices} slices: "
        "nobody looked at one near"
    )


def of_imported_labels_kept(event: ImportedLabelsKept) -> str:
    """Whose labels are shown from now on."""
    if event.kept:
        return "The network does worse than the imported labels so far: they are shown."
    return "The network does as well as the imported labels by now: its predictions are shown."


def of_what_is_left(event: OutOfTime) -> str:
    """How much the time did not suffice for."""
    cases = len({key.case_id for key in event.slices})
    return (
        f"The time is over: {len(event.slices)} slices in {cases} of the cases were not predicted "
        "anew and stay what they were. Another run goes on from here."
    )

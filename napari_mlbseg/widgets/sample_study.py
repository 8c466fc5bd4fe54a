"""The study to try the window on: phantoms, made here, that nobody's patient is in."""

from pathlib import Path

from napari_mlbseg.widgets.requests import NewStudy

PHANTOM_STUDY = "phantoms.mlbseg"
_CASES = 4


def phantom_study(folder: Path) -> NewStudy:
    """Write phantoms with rough labels into a folder; return the study to make of them there."""
    from napari_mlbseg.samples import make_phantom_cohort

    cohort = make_phantom_cohort(folder / "phantoms", cases=_CASES)
    return NewStudy(folder / PHANTOM_STUDY, cohort.images, cohort.labels, "organ, lesion")

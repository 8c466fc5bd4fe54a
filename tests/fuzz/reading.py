"""How damaged files are read: most as an image, others as what they are."""

from collections.abc import Callable
from pathlib import Path

STUDY = "study.mlbseg"
TABLE = "cases.csv"
BUNDLE = "bundle"
CHANNELS = "channels"
RESCUE = "a.mlbseg-rescue"


def images(folder: Path) -> None:
    """Every file of the folder that has a format, as an image."""
    from napari_mlbseg.formats.registry import format_of, read_image

    for path in sorted(path for path in folder.iterdir() if format_of(path) is not None):
        read_image(path)


def labels(folder: Path) -> None:
    """The same as labels."""
    from napari_mlbseg.formats.registry import format_of, read_labels

    for path in sorted(path for path in folder.iterdir() if format_of(path) is not None):
        read_labels(path)


def patients(folder: Path) -> None:
    """Patient folders, as a study."""
    from napari_mlbseg.api import make_study

    study, _ = make_study(folder / STUDY, folder / "patients")
    study.close()


def table(folder: Path) -> None:
    """A table of cases, as a study."""
    from napari_mlbseg.api import Pairing, make_study

    pairing = Pairing(table=folder / "patients" / TABLE)
    study, _ = make_study(folder / STUDY, folder / "patients", pairing=pairing)
    study.close()


def channels(folder: Path) -> None:
    """Cases of several channels, as a study."""
    from napari_mlbseg.api import make_study

    where = folder / CHANNELS
    study, _ = make_study(folder / STUDY, where / "imagesTr", where / "labelsTr")
    study.close()


def rescue(folder: Path) -> None:
    """A rescue file."""
    from napari_mlbseg.project.rescue_files import read_rescue

    read_rescue(folder / RESCUE)


def catalogue(folder: Path) -> None:
    """A study: opened, checked, used, and repaired if something is found."""
    from napari_mlbseg.api import Study, repair, verify

    path = folder / STUDY
    found = verify(path).findings
    if found:
        repair(path)
    with Study.open(path) as study:
        study.damage()
        for record in study.slices.records():
            study.slices.set_state(record.key, record.state)
        for case in study.cases:
            study.labels.working(case.id)


def checkpoint(folder: Path) -> None:
    """A checkpoint, as a run that resumes reads it."""
    from napari_mlbseg.engine.training.checkpoint import read_checkpoint

    read_checkpoint(folder / "latest.pt")


def model(folder: Path) -> None:
    """An exported model, as a training that begins with it reads it."""
    from napari_mlbseg.engine.training.earlier_model import read_earlier_model

    read_earlier_model(folder / BUNDLE)


READ: dict[str, Callable[[Path], None]] = {
    "dicom-seg": labels,
    "seg-nrrd": labels,
    "patients": patients,
    "table": table,
    "channels": channels,
    "rescue": rescue,
    "catalogue": catalogue,
    "checkpoint": checkpoint,
    "model": model,
}
"""How what is no image is read, by its name among the seeds."""

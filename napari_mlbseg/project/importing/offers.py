"""The choices before an import: series of folders, frames of files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import Choice, format_of, open_image
from napari_mlbseg.formats.scan import FrameNeededError
from napari_mlbseg.project.importing.layout import find_cases
from napari_mlbseg.project.records.progress import Progress


@dataclass(frozen=True)
class Offer:
    """A volume that a path holds, or several frames of one; no field identifies the patient.

    Attributes
    ----------
    series
        Name of a DICOM series; None for other formats.
    modality
        Modality as recorded in DICOM, such as CT; empty if unknown.
    shape, spacing_mm
        Shape and spacing along the three axes of the file's array.
    frames
        The number of frames; a case takes one of them.
    problem
        Why it cannot be imported, for the user; empty if it can.
    """

    path: Path
    series: str | None
    modality: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    frames: int = 1
    problem: str = ""


def offers_in(images: Path, progress: Progress | None = None) -> tuple[Offer, ...]:
    """What the paths of a folder offer that stand for more than one volume.

    Paths with a single volume, and files that cannot be read, are left to the import. `progress`
    is called as in an import, and may raise an exception to cancel.
    """
    found = [case.image for case in find_cases(images).cases]
    offers: list[Offer] = []
    for done, path in enumerate(found):
        if progress is not None:
            progress(f"Looking at {path.name}", done, len(found))
        try:
            here = offers_of(path.absolute())
        except UserError:
            continue
        if several(here):
            offers += here
    return tuple(offers)


def offers_of(path: Path) -> tuple[Offer, ...]:
    """The volumes of a file or folder; raises `UserError` that names it."""
    if format_of(path) == "dicom":
        return tuple(_series_of(path))
    frames, choice = 1, Choice()
    try:
        scan = open_image(path, choice)
    except FrameNeededError as several:
        frames = several.frames
        scan = open_image(path, Choice(frame=0))
    affine = np.asarray(scan.geometry.affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return (Offer(path, None, "", scan.geometry.file_shape, tuple(spacing.tolist()), frames),)


def several(offers: Sequence[Offer]) -> bool:
    """Whether the user has to choose."""
    return len(offers) > 1 or any(offer.frames > 1 for offer in offers)


def _series_of(path: Path) -> Iterator[Offer]:
    from napari_mlbseg.formats.dicom.images import series_in
    from napari_mlbseg.formats.dicom.stack import stack_of

    for series in series_in(path):
        first = series.planes[0]
        frames, problem, count = 1, "", len(series.planes)
        spacing = (first.spacing[1], first.spacing[0], first.thickness)
        try:
            try:
                stack = stack_of(path, series, Choice())
            except FrameNeededError as several:
                frames = several.frames
                stack = stack_of(path, series, Choice(frame=0))
            count = len(stack.planes)
            spacing = (*spacing[:2], float(np.linalg.norm(stack.affine[:3, 2])))
        except UserError as error:
            problem = str(error)
        shape = (first.columns, first.rows, count)
        yield Offer(path, series.name, series.modality, shape, spacing, frames, problem)

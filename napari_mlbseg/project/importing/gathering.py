"""One import in progress: opens files, reports how far they are read, and turns them into cases."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.grids import on_grid_of
from napari_mlbseg.formats.registry import (
    Choice,
    Scan,
    format_of,
    has_own_labels,
    open_image,
    open_labels,
)
from napari_mlbseg.formats.scan import frame_notes
from napari_mlbseg.project.arrays.adding import Adding
from napari_mlbseg.project.folder.inside import spelled
from napari_mlbseg.project.folder.room import require_room
from napari_mlbseg.project.importing.case_files import CaseFiles
from napari_mlbseg.project.importing.failures import Failure, counted, shortened
from napari_mlbseg.project.importing.label_values import LabelValues, classes_of
from napari_mlbseg.project.importing.numbering import Numbering
from napari_mlbseg.project.records.cases import LabelClass, NewCase, require_name
from napari_mlbseg.project.records.channels import NewChannel
from napari_mlbseg.project.records.progress import Progress
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Geometry, VoxelSource

ALL_SERIES: Final = "all"
"""Chosen as the series: every series of a folder becomes a case."""


@dataclass(frozen=True)
class Gathered:
    """The outcome of gathering the images of one import.

    Attributes
    ----------
    count
        Number of cases added.
    failures
        Images that could not be added, each with the reason.
    notes
        Unusual things about the files of the added cases.
    classes
        Classes of the label files; empty if the study has classes or no case has labels.
    """

    count: int
    failures: tuple[Failure, ...]
    notes: tuple[Failure, ...]
    classes: tuple[LabelClass, ...]


@dataclass(frozen=True)
class _Part:
    """One case to be: its name, its files, and which frame or series of the image to take."""

    case_id: str
    files: CaseFiles
    choice: Choice

    @property
    def image(self) -> Path:
        return self.files.image


@dataclass(frozen=True)
class _Opened:
    """A case whose files could be opened; the values of its labels are known once they are read."""

    new: NewCase
    image: Scan
    labels: LabelValues | None
    further: tuple[tuple[Path, Scan], ...]

    def notes(self) -> Iterator[Failure]:
        """What is unusual about the files; complete once they are read."""
        for note in (*self.image.notes, *self.image.found_later()):
            yield Failure(self.new.image_path, note)
        for path, scan in self.further:
            for note in (*scan.notes, *scan.found_later()):
                yield Failure(path, note)
        if self.labels is not None:
            for note in (*self.labels.scan.notes, *self.labels.scan.found_later()):
                yield Failure(self.labels.path, note)


def _is_case(part: _Part, image: Path | None) -> bool:
    """Whether the image of a case, if there is one of that name, is the one to import."""
    return image is not None and image.resolve() == part.image.resolve()


def _there_already(parts: Sequence[_Part]) -> Iterator[Failure]:
    """Tell of images that are cases of the study: a folder that grew is imported again."""
    if parts:
        names = shortened(part.case_id for part in parts)
        which = counted(len(parts), "image")
        yield Failure(parts[0].image, f"{which} of the study's cases stay as before: {names}.")


@dataclass(frozen=True)
class Gathering:
    """One import: the study, the series and frames to take, and the channels if several."""

    study: Study
    choice: Choice
    choices: Mapping[Path, Sequence[Choice]]
    progress: Progress
    channels: tuple[str, ...] = ()

    def gather(self, cases: Sequence[CaseFiles], adding: Adding) -> Gathered:
        """Add one case after the other, leaving out bad ones; `adding` gives them to the study."""
        found, failures = self._parts_of(cases)
        known = {spelled(case.name): case.image_path for case in self.study.cases}
        there: list[_Part] = []
        parts: list[_Part] = []
        for part in found:
            (there if _is_case(part, known.get(spelled(part.case_id))) else parts).append(part)
        numbering = Numbering.of([part.files for part in parts], self.study.classes, self.choice)
        notes: list[Failure] = list(_there_already(there))
        labels: list[LabelValues] = []
        count = 0
        for done, part in enumerate(parts):

            def report(what: str, done: int = done) -> None:
                self.progress(what, done, len(parts))

            report(f"Importing {part.image.name}")
            try:
                if spelled(part.case_id) in known:
                    raise UserError(
                        f"{part.image}: {part.case_id} is in the study already, with another "
                        "image. Rename the file."
                    )
                opened = self._opened(part, numbering, report)
                adding.add(opened.new)
            except (UserError, MemoryError) as error:
                failures.append(Failure(part.image, _reason(part.image, error)))
                continue
            notes += opened.notes()
            labels += [opened.labels] if opened.labels is not None else []
            count += 1
        self.progress("Imported", len(parts), len(parts))
        classes = () if self.study.classes else classes_of(labels)
        return Gathered(count, tuple(failures), tuple(notes), classes)

    def _parts_of(self, cases: Sequence[CaseFiles]) -> tuple[list[_Part], list[Failure]]:
        """The cases to make of the images, and the images that cannot be used."""
        parts: list[_Part] = []
        failures: list[Failure] = []
        for files in cases:
            absolute = replace(files, image=files.image.absolute())
            try:
                parts += self._parts(absolute)
            except (UserError, MemoryError) as error:
                failures.append(Failure(absolute.image, _reason(absolute.image, error)))
        return parts, failures

    def _parts(self, files: CaseFiles) -> Iterator[_Part]:
        """The cases to make of one image file or folder."""
        require_name(files.image)
        image, name = files.image, files.id
        chosen = self.choices.get(image)
        if chosen is not None:
            for each in chosen:
                case_id = name if len(chosen) == 1 else f"{name}_{each.series}"
                yield _Part(case_id, files, each)
            return
        if files.frame is not None:
            if self.choice.frame is not None:
                raise UserError(
                    f"{image}: one frame was chosen (--frame), and all of them as channels "
                    "(--channels frames). Give one of the two."
                )
            yield _Part(name, files, replace(self.choice, frame=files.frame))
            return
        if self.choice.series != ALL_SERIES or format_of(image) != "dicom":
            yield _Part(name, files, self.choice)
            return
        from napari_mlbseg.formats.dicom.images import series_in

        names = [series.name for series in series_in(image)]
        for series in names:
            case_id = name if len(names) == 1 else f"{name}_{series}"
            yield _Part(case_id, files, replace(self.choice, series=series))

    def _opened(self, part: _Part, numbering: Numbering, report: Callable[[str], None]) -> _Opened:
        image = part.image
        scan = _whole(open_image(image, part.choice), image, part.files)
        told = _told(image, scan, report)
        further = tuple(_channels_of(part, scan))
        named = self._with_channels(
            NewCase(part.case_id, image, told, scan.source), further, report
        )
        scans = tuple((path, found) for path, found in further if found is not None)
        every = [scan, *(found for _, found in scans)]
        labels = part.files.labels
        if labels is None:
            require_room(self.study.path, image, every)
            return _Opened(named, scan, None, scans)
        if labels.resolve() == image.resolve() and not _may_hold_labels(image):
            raise UserError(
                f"{image} is given as an image and as its own labels. Give a separate label file."
            )
        choice = numbering.choice_of(part.files, part.choice)
        found = numbering.named(part.files, open_labels(labels, choice))
        aligned = on_grid_of(found, scan.geometry, labels, image, scan.source)
        require_room(self.study.path, image, [*every, aligned])
        values = LabelValues(aligned, labels, self.study.classes)
        label_told = _told(labels, values, report)
        kept = replace(choice, frame=scan.source.choice.frame, series=scan.source.choice.series)
        source = replace(scan.source, choice=kept)
        new = replace(named, source=source, labels_path=labels.absolute(), labels=label_told)
        return _Opened(new, scan, values, scans)

    def _with_channels(
        self,
        new: NewCase,
        further: Sequence[tuple[Path, Scan | None]],
        report: Callable[[str], None],
    ) -> NewCase:
        """The same case with its further channels; a scan of None is one to fill."""
        if not self.channels:
            return new
        first, *names = self.channels
        channels = (
            NewChannel(name)
            if scan is None
            else NewChannel(name, path.absolute(), _told(path, scan, report), scan.source)
            for name, (path, scan) in zip(names, further, strict=True)
        )
        return replace(new, channel=first, further=tuple(channels))


def _channels_of(part: _Part, first: Scan) -> Iterator[tuple[Path, Scan | None]]:
    """The further channels on the grid of the first one; None for one that is to be filled."""
    for file in part.files.further:
        if file is None:
            yield part.image, None
            continue
        found = _whole(open_image(file.path, Choice(frame=file.frame)), file.path, part.files)
        yield (
            file.path,
            on_grid_of(found, first.geometry, file.path, part.image, first.source, what="channel"),
        )


def _whole(scan: Scan, path: Path, files: CaseFiles) -> Scan:
    """An image without the note that other frames are left out, where all of them are channels."""
    if files.frame is None:
        return scan
    said = frame_notes(path, scan.source.choice.frame or 0, 1 + len(files.further))
    return replace(scan, notes=tuple(note for note in scan.notes if note not in said))


def _told(path: Path, scan: VoxelSource, report: Callable[[str], None]) -> "_Told":
    return _Told(scan, lambda share: report(f"Importing {path.name} ({share:.0%})"))


def _may_hold_labels(image: Path) -> bool:
    """Whether an image may hold its own labels: in one file, or in files of one DICOM folder."""
    return has_own_labels(image) or (image.is_dir() and format_of(image) == "dicom")


@dataclass(frozen=True)
class _Told:
    """Voxels that report how much of them has been read."""

    source: VoxelSource
    tell: Callable[[float], None]

    @property
    def geometry(self) -> Geometry:
        return self.source.geometry

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.source.dtype

    def slabs(self) -> Iterator[tuple[int, int, NDArray[Any]]]:
        done, total = 0, prod(self.geometry.shape)
        for slab in self.source.slabs():
            yield slab
            done += slab[2].size
            self.tell(done / total)


def _reason(image: Path, error: UserError | MemoryError) -> str:
    if isinstance(error, UserError):
        return str(error)
    return (
        f"{image} needs more memory than there is. Close other programs, or import it on another "
        "computer."
    )

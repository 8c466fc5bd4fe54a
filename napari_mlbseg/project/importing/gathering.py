"""One import under way: files are opened, watched while they are stored, and turned into cases."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
    stem_of,
)
from napari_mlbseg.project.folder.room import require_room
from napari_mlbseg.project.importing.pairing import Failure, shortened
from napari_mlbseg.project.records.cases import LabelClass, NewCase
from napari_mlbseg.project.records.palette import color_of
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Geometry, VoxelSource

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many cases are done, and how many there are.

It may raise to cancel: the study is then as it was before the import.
"""

_COUNTED_AT_ONCE: Final = 1 << 22
ALL_SERIES: Final = "all"
"""As the chosen series: every series of a folder becomes a case."""


@dataclass
class Gathering:
    """The cases of one import, and what was wrong or unusual with their files."""

    study: Study
    labels_by_id: Mapping[str, Path]
    choice: Choice
    choices: Mapping[Path, Sequence[Choice]]
    progress: Progress
    failures: list[Failure] = field(default_factory=list)
    notes: list[Failure] = field(default_factory=list)
    labels: "dict[str, _Values]" = field(default_factory=dict)

    def new_cases(self, images: Sequence[Path]) -> Iterator[NewCase]:
        """One case after the other; the classes follow last, when everything else is stored."""
        parts = [part for image in images for part in self._parts(image.absolute())]
        known = {case.id.casefold() for case in self.study.cases}
        for done, (case_id, image, choice) in enumerate(parts):

            def report(what: str, done: int = done) -> None:
                self.progress(what, done, len(parts))

            report(f"Importing {image.name}")
            try:
                if case_id.casefold() in known:
                    raise UserError(f"{image}: {case_id} is in the study already. Rename the file.")
                yield self._new_case(case_id, image, choice, report)
            except UserError as error:
                self.failures.append(Failure(image, str(error)))
        self.progress("Imported", len(parts), len(parts))
        if self.labels and not self.study.classes:
            self.study.set_classes(_classes_of(self.labels.values()))

    def failed(self, new: NewCase, error: UserError) -> None:
        """A case could be opened but not read."""
        self.labels.pop(new.id, None)
        self.failures.append(Failure(new.image_path, str(error)))
        self.notes = [note for note in self.notes if note.path != new.image_path]

    def _parts(self, image: Path) -> Iterator[tuple[str, Path, Choice]]:
        """Name, path and choice of the cases that a path stands for."""
        chosen = self.choices.get(image)
        if chosen is not None:
            names = [stem_of(image), *[f"{stem_of(image)}_{each.series}" for each in chosen]]
            for each, name in zip(chosen, names[1:], strict=True):
                yield (names[0] if len(chosen) == 1 else name), image, each
            return
        if self.choice.series != ALL_SERIES or format_of(image) != "dicom":
            yield stem_of(image), image, self.choice
            return
        from napari_mlbseg.formats.dicom.images import series_in

        try:
            names = [series.name for series in series_in(image)]
        except UserError as error:
            self.failures.append(Failure(image, str(error)))
            return
        for name in names:
            case_id = stem_of(image) if len(names) == 1 else f"{stem_of(image)}_{name}"
            yield case_id, image, Choice(self.choice.frame, name)

    def _new_case(
        self, case_id: str, image: Path, choice: Choice, report: Callable[[str], None]
    ) -> NewCase:
        scan = open_image(image, choice)
        self.notes += [Failure(image, note) for note in scan.notes]
        told = _Told(scan, lambda share: report(f"Importing {image.name} ({share:.0%})"))
        labels = self.labels_by_id.get(stem_of(image))
        if labels is None:
            require_room(self.study.path, image, [scan])
            return NewCase(case_id, image, told, scan.source)
        if labels.resolve() == image.resolve() and not has_own_labels(image):
            raise UserError(f"{image} is given as an image and as its own labels.")
        found = open_labels(labels, choice)
        aligned = on_grid_of(found, scan.geometry, labels, image)
        self.notes += [Failure(labels, note) for note in aligned.notes]
        require_room(self.study.path, image, [scan, aligned])
        values = _Values(aligned, labels, self.study.classes)
        self.labels[case_id] = values
        label_told = _Told(values, lambda share: report(f"Importing {labels.name} ({share:.0%})"))
        return NewCase(case_id, image, told, scan.source, labels.absolute(), label_told)


@dataclass(frozen=True)
class _Told:
    """Voxels that tell how much of them was read."""

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


@dataclass(frozen=True)
class _Values:
    """Labels whose values are collected while they are read; unknown ones are an error."""

    scan: Scan
    path: Path
    classes: Sequence[LabelClass]
    found: set[int] = field(default_factory=set)

    @property
    def geometry(self) -> Geometry:
        return self.scan.geometry

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.scan.dtype

    def slabs(self) -> Iterator[tuple[int, int, NDArray[Any]]]:
        for slab in self.scan.slabs():
            flat = slab[2].ravel()
            for start in range(0, flat.size, _COUNTED_AT_ONCE):
                counts = np.bincount(flat[start : start + _COUNTED_AT_ONCE])
                self.found.update(np.flatnonzero(counts).tolist())
            yield slab
        unknown = self.found - {0} - {c.value for c in self.classes}
        if self.classes and unknown:
            raise UserError(_unknown(self.path, unknown, self.classes))


def _unknown(labels: Path, values: set[int], classes: Sequence[LabelClass]) -> str:
    found = shortened(str(value) for value in sorted(values))
    known = shortened(f"{c.value} ({c.name})" for c in classes)
    return (
        f"{labels} holds unknown labels: {found}. The classes of the study are {known}. Add the "
        "missing classes to the study, or renumber the labels."
    )


def _classes_of(labels: Iterable[_Values]) -> tuple[LabelClass, ...]:
    """Classes of all values; a name in one of the files goes before ``class N``."""
    names: dict[int, str] = {}
    for values in labels:
        for value in values.found - {0}:
            names.setdefault(value, f"class {value}")
        names |= {v: name for v, name in values.scan.names.items() if v in values.found}
    unique = {value: name for value, name in names.items() if _count(names, name) == 1}
    return tuple(
        LabelClass(value, unique.get(value, f"class {value}"), color_of(value))
        for value in sorted(names)
    )


def _count(names: Mapping[int, str], name: str) -> int:
    return sum(other == name for other in names.values())

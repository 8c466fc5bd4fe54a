"""The values of labels, collected while they are read, and the classes that they become."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.scan import Scan
from napari_mlbseg.project.importing.failures import shortened
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.palette import color_of
from napari_mlbseg.volume import Geometry

_COUNTED_AT_ONCE: Final = 1 << 22
_IGNORED: Final = 255


@dataclass(frozen=True)
class LabelValues:
    """Labels whose values are collected while they are read; unknown values raise an error.

    Attributes
    ----------
    scan, path
        The labels and their file.
    classes
        The classes of the study; without any all values are welcome.
    found
        The values that were read so far.
    """

    scan: Scan
    path: Path
    classes: Sequence[LabelClass]
    found: set[int] = field(default_factory=set)

    @property
    def geometry(self) -> Geometry:
        """Where the labels lie."""
        return self.scan.geometry

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the labels."""
        return self.scan.dtype

    def slabs(self) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """The labels slab by slab, see `VoxelSource`."""
        for slab in self.scan.slabs():
            flat = slab[2].ravel()
            for start in range(0, flat.size, _COUNTED_AT_ONCE):
                counts = np.bincount(flat[start : start + _COUNTED_AT_ONCE])
                self.found.update(np.flatnonzero(counts).tolist())
            if _IGNORED in self.found:
                raise UserError(
                    f"{self.path} holds the label 255, which is no class. If 255 stands for a "
                    "structure, as in masks of 0 and 255, say so with --renumber 255=1; if it "
                    "marks what is to be ignored, with --renumber 255=0."
                )
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


def classes_of(labels: Iterable[LabelValues]) -> tuple[LabelClass, ...]:
    """A class for each value found or named, with its name in the files, else ``class N``."""
    names: dict[int, str] = {}
    colors: dict[int, tuple[int, int, int]] = {}
    for values in labels:
        for value in values.found - {0}:
            names.setdefault(value, f"class {value}")
        names |= dict(values.scan.names)
        colors |= dict(values.scan.colors)
    unique = {value: name for value, name in names.items() if _count(names, name) == 1}
    return tuple(
        LabelClass(value, unique.get(value, f"class {value}"), colors.get(value, color_of(value)))
        for value in sorted(names)
    )


def _count(names: Mapping[int, str], name: str) -> int:
    return sum(other == name for other in names.values())

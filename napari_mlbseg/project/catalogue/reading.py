"""Reads a catalogue with checks, because it may come from a stranger."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from napari_mlbseg.errors import Damaged
from napari_mlbseg.project.records.intensity import Intensity
from napari_mlbseg.volume import Geometry

MOST_VOXELS: Final = 1 << 35
"""Voxels of a case: 3250 on each side."""

MOST_PIXELS: Final = 1 << 29
"""Pixels of a slice, which is unpacked as a whole: 23,000 on each side."""

_MISUNDERSTOOD = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    OverflowError,
    RecursionError,
)


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Turn errors in reading rows into Damaged, about `what`."""
    try:
        yield
    except _MISUNDERSTOOD as error:
        raise Damaged(
            f"The catalogue of the study does not describe {what} as this program would "
            f"({type(error).__name__}: {error}). Run `mlbseg repair` on the study, or ask whoever "
            "gave it to you."
        ) from error


def geometry_from(fields: Mapping[str, Any]) -> Geometry:
    """A stored geometry; raises ValueError if it is impossible."""
    affine = tuple(tuple(float(v) for v in row) for row in fields["affine"])
    z, y, x = (int(n) for n in fields["file_shape"])
    a, b, c = (int(n) for n in fields["file_axes"])
    d, e, f = (bool(n) for n in fields["flipped"])
    voxels, thinnest = z * y * x, min(z, y, x)
    if thinnest < 1 or voxels > MOST_VOXELS or voxels // thinnest > MOST_PIXELS:
        raise ValueError(f"a shape of {z}, {y}, {x} voxels")
    if sorted((a, b, c)) != [0, 1, 2]:
        raise ValueError(f"the axes {a}, {b}, {c}")
    if [len(row) for row in affine] != [4] * 4 or not all(map(math.isfinite, sum(affine, ()))):
        raise ValueError("an affine that is not a finite 4 x 4 matrix")
    return Geometry((z, y, x), affine, (a, b, c), (d, e, f))


def intensity_from(fields: Mapping[str, Any]) -> Intensity:
    """Stored intensities; raises ValueError if they are impossible."""
    found = Intensity(**{name: float(value) for name, value in fields.items()})
    if not (all(map(math.isfinite, (found.low, found.high, found.mean))) and found.std > 0):
        raise ValueError(f"the intensities {found}")
    return found

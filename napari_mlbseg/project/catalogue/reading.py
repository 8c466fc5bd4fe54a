"""What a catalogue says, believed only as far as it can be true: it may come from a stranger."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.cases import Intensity
from napari_mlbseg.volume import Geometry

MOST_VOXELS: Final = 1 << 35
"""Of a case: a volume of 3250 voxels a side."""

MOST_PIXELS: Final = 1 << 29
"""Of a slice, which is unpacked as a whole: 23,000 pixels a side."""

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
    """Turn what goes wrong while rows are understood into a UserError about `what`."""
    try:
        yield
    except _MISUNDERSTOOD as error:
        raise UserError(
            f"The catalogue of the study does not describe {what} as this program does "
            f"({type(error).__name__}: {error}). Restore the study from a backup, or ask whoever "
            "gave it to you."
        ) from error


def geometry_from(fields: Mapping[str, Any]) -> Geometry:
    """A geometry as it was stored; raises ValueError where there can be none like it."""
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
        raise ValueError("an affine that is no finite 4 x 4 matrix")
    return Geometry((z, y, x), affine, (a, b, c), (d, e, f))


def intensity_from(fields: Mapping[str, Any]) -> Intensity:
    """Intensities as they were stored; raises ValueError where no image can have them."""
    found = Intensity(**{name: float(value) for name, value in fields.items()})
    if not (all(map(math.isfinite, (found.low, found.high, found.mean))) and found.std > 0):
        raise ValueError(f"the intensities {found}")
    return found

"""Segments as 3D Slicer names them in the header of a .seg.nrrd file."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.streamed.text_header import TextHeader

_MAX_LABEL: Final = 254
_KEY: Final = re.compile(r"Segment(\d{1,6})_(Name|LabelValue|Layer|Color)")


@dataclass(frozen=True)
class Segment:
    """One structure of a segmentation.

    Attributes
    ----------
    stored, layer
        The number that stands for it, in which of the layers (from 0).
    value
        Its label in a study. It is the stored number unless two layers use the same one.
    color
        Red, green, blue from 0 to 255; None if the file has none.
    """

    name: str
    stored: int
    layer: int
    value: int
    color: tuple[int, int, int] | None


def segments_in(header: TextHeader) -> list[Segment]:
    """The segments that a header lists, in its order; none if it is no segmentation of Slicer.

    Raises
    ------
    UserError
        If their numbers cannot be labels.
    """
    listed: dict[int, dict[str, str]] = {}
    for key, value in header.pairs.items():
        found = _KEY.fullmatch(key)
        if found is not None:
            listed.setdefault(int(found[1]), {})[found[2]] = value
    rows = [listed[number] for number in sorted(listed)]
    try:
        stored = [int(row.get("LabelValue", k)) for k, row in enumerate(rows, 1)]
        layers = [int(row.get("Layer", 0)) for row in rows]
    except ValueError as error:
        raise header.damaged("LabelValue or Layer of a segment") from error
    numbers = stored if len(set(stored)) == len(stored) else list(range(1, len(rows) + 1))
    if rows and not (min(numbers) >= 1 and max(numbers) <= _MAX_LABEL and min(layers) >= 0):
        raise UserError(
            f"{header.path} has segments with the labels {min(numbers)} to {max(numbers)}; "
            f"classes run from 1 to {_MAX_LABEL}."
        )
    return [
        Segment(row.get("Name", ""), number, layer, value, _color(row.get("Color", "")))
        for row, number, layer, value in zip(rows, stored, layers, numbers, strict=True)
    ]


def masks_in(
    slab: NDArray[np.uint8], segments: Sequence[Segment], layer: int
) -> Iterator[tuple[NDArray[Any], int]]:
    """The voxels of each segment in a slab of a layer, and the label that they get.

    Numbers that no segment names keep their value.
    """
    here = {segment.stored: segment.value for segment in segments if segment.layer == layer}
    for number in np.flatnonzero(np.bincount(slab.ravel(order="K"))).tolist():
        if number:
            yield slab == number, here.get(number, number)


def _color(text: str) -> tuple[int, int, int] | None:
    try:
        parts = [round(255 * float(part)) for part in text.split()]
    except (ValueError, OverflowError):
        return None
    if len(parts) != 3 or not all(0 <= part <= 255 for part in parts):
        return None
    return parts[0], parts[1], parts[2]

"""The grey levels that a DICOM image proposes for itself ("windows")."""

import re
from typing import Any, Final

import numpy as np
from pydicom import Dataset

from napari_mlbseg.formats.dicom.planes import Header, levels_of, quiet

_MOST: Final = 8
_LONG_NUMBER: Final = re.compile(r"\d{3}")


def windows_in(header: Header) -> list[tuple[str, float, float]]:
    """Name, width and level of each window, in the units of the rescaled intensities.

    A file with several frames is asked for its first one. Windows that cannot be are left out.
    """
    with quiet():
        levels = levels_of(header, 0)
        centers, widths, names = (
            _values(levels, name)
            for name in ("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation")
        )
        said = [_public(header, str(name)) for name in names] + [""] * len(widths)
        found = [
            (name, float(width), float(center))
            for name, width, center in zip(said, widths, centers, strict=False)
            if np.isfinite([float(width), float(center)]).all() and float(width) > 0
        ]
    return list(dict.fromkeys(found))[:_MOST]


def _public(header: Header, name: str) -> str:
    """The name of a window, unless it holds a number that could be a date or an identifier."""
    return "" if _LONG_NUMBER.search(name) else header.without_names(name)


def _values(levels: list[Dataset], name: str) -> list[Any]:
    value = next((level.get(name) for level in levels if level.get(name) is not None), None)
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str | float) else list(value)

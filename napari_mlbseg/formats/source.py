"""What is kept of an imported file, so that exports can match it."""

import json
from dataclasses import dataclass
from math import isfinite


@dataclass(frozen=True)
class Mask:
    """A file in a folder of masks: the structure that it holds, and its label."""

    file: str
    name: str
    value: int


@dataclass(frozen=True)
class Choice:
    """Which volume of a file or folder is meant, if it holds several, and how labels are read.

    Attributes
    ----------
    frame
        Number from 0 of a time point or channel, counted over all axes beyond the spatial ones.
    series
        Name of a DICOM series, as the folder's list of series gives it.
    masks
        Of labels that are a folder with one file for each structure: which files. Without any,
        all files of the folder.
    one_hot
        Whether each frame of the labels is the mask of one class: 1, 2, ...
    renumber
        Labels in the file, and the class values that they stand for; others stay as they are.

    >>> Choice(frame=3).series is None
    True
    """

    frame: int | None = None
    series: str | None = None
    masks: tuple[Mask, ...] = ()
    one_hot: bool = False
    renumber: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        # A study keeps a choice as JSON, which has neither tuples nor classes.
        masks = (one if isinstance(one, Mask) else Mask(**one) for one in self.masks)
        object.__setattr__(self, "masks", tuple(masks))
        object.__setattr__(self, "renumber", tuple((a, b) for a, b in self.renumber))

    @property
    def of_image(self) -> "Choice":
        """The same without what is said about labels, which belongs to one label file."""
        return Choice(self.frame, self.series)


@dataclass(frozen=True)
class SourceInfo:
    """Where a case came from, enough to read it again and to write maps that match it.

    Attributes
    ----------
    format
        Name of the format, for example ``"nifti"``.
    header
        What that format needs for an export; for formats with a header of their own, that header.
    choice
        Which volume of the file it was.
    """

    format: str
    header: bytes
    choice: Choice = Choice()


def padding_of(source: SourceInfo) -> tuple[float, float] | None:
    """The least and the largest intensity that stand for no tissue in a DICOM series, if any."""
    if source.format != "dicom":
        return None
    try:
        low, high = json.loads(source.header)["padding"]
        return float(low), float(high)
    except (ValueError, LookupError, TypeError):  # there is none, or the header is a stranger's
        return None


def windows_of(source: SourceInfo) -> tuple[tuple[str, float, float], ...]:
    """Name, width and level of the grey levels that a DICOM series proposes for itself, if any.

    The name is empty where the series has none.
    """
    if source.format != "dicom":
        return ()
    try:
        found = json.loads(source.header)["windows"]
        windows = tuple((str(name), float(width), float(level)) for name, width, level in found)
    except (ValueError, LookupError, TypeError):  # there are none, or the header is a stranger's
        return ()
    return tuple(one for one in windows if isfinite(one[1] + one[2]) and one[1] > 0)

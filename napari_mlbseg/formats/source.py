"""What is kept of an imported file, so that exports can match it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """Which volume of a file or folder is meant, if it holds several.

    Attributes
    ----------
    frame
        Number from 0 of a time point or channel, counted over all axes beyond the spatial ones.
    series
        Name of a DICOM series, as the folder's list of series gives it.

    >>> Choice(frame=3)
    Choice(frame=3, series=None)
    """

    frame: int | None = None
    series: str | None = None


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

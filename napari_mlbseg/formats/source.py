"""What is needed to write something back that belongs to an imported file."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """Which part of a file or folder is meant, where it holds more than one volume.

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
        What that format needs; for formats with a header of their own that header, verbatim.
    choice
        Which part of the file it was.
    """

    format: str
    header: bytes
    choice: Choice = Choice()

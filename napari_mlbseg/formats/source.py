"""What is needed to write something back that belongs to an imported file."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SourceInfo:
    """Where a case came from, enough to export maps that match the source file.

    Attributes
    ----------
    format
        Name of the format, for example ``"nifti"``.
    header
        The file's own header, verbatim, which only that format can interpret.
    """

    format: str
    header: bytes

"""What an exported file says about its voxels besides their position."""

from dataclasses import dataclass

from napari_mlbseg.formats.anatomy import Segment
from napari_mlbseg.formats.dicom.marks import CLASS_MARK

UTF_8 = "ISO_IR 192"
"""The character set of written files: it holds names in any script."""

SOFTWARE = "napari-mlbseg"


@dataclass(frozen=True)
class About:
    """Who made the voxels, and what they mean.

    Attributes
    ----------
    title
        What the voxels are, in a few words: ``labels``, ``trust``.
    segments
        The classes; for a map, its single quantity.
    automatic
        Whether none of the slices is a person's.
    author
        Who exports the file.
    version
        Version of this software.
    model
        Hash of the checkpoint that made the predictions, or empty.
    comment
        What a person did, in a sentence.
    """

    title: str
    segments: tuple[Segment, ...]
    automatic: bool
    author: str
    version: str
    model: str = ""
    comment: str = ""


_LONGEST_NAME = 64
"""Characters of a name that DICOM holds (LO)."""


def dicom_name(name: str) -> str:
    """A name as DICOM can hold it: 64 characters without a backslash, which would end it."""
    return name.replace("\\", "/").strip()[:_LONGEST_NAME].strip()


def whole_name(segment: Segment) -> str:
    """The class value of a segment, and its name where `dicom_name` cannot hold it.

    Texts without a limit carry it, so that names come back as they were.
    """
    mark = f"{CLASS_MARK}{segment.value}"
    return mark if dicom_name(segment.name) == segment.name else f"{mark}: {segment.name}"

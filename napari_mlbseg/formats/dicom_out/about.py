"""What an exported file says about its voxels besides their position."""

from dataclasses import dataclass

SOFTWARE = "napari-mlbseg"


@dataclass(frozen=True)
class Segment:
    """A class by value, name and colour (red, green, blue from 0 to 255)."""

    value: int
    name: str
    color: tuple[int, int, int]


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

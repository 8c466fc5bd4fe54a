"""What a file can say about its voxels beyond where they lie."""

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
        What they are, in a few words: ``labels``, ``trust``.
    segments
        The classes; for a map its only quantity.
    automatic
        Whether no slice of a person is among them.
    author
        Who exports them.
    version
        Of this software.
    model
        Hash of the checkpoint that predicted, or empty.
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

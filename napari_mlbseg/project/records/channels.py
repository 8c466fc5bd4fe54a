"""Several images of a case on the same voxels, such as T1 and FLAIR: its channels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.project.records.intensity import Intensity
from napari_mlbseg.volume import VoxelSource

ONE_CHANNEL: Final = "image"
"""The name of the channel of a study with a single one."""

MOST_CHANNELS: Final = 10


@dataclass(frozen=True)
class ChannelImage:
    """The file of a channel of a case, and the statistics of its intensities."""

    path: Path
    source: SourceInfo
    intensity: Intensity


@dataclass(frozen=True)
class Channel:
    """A channel of a case.

    Attributes
    ----------
    image
        None if the case lacks this channel and it was filled: a network sees zeros there, which is
        the mean of every standardised image.
    """

    name: str
    image: ChannelImage | None = None


@dataclass(frozen=True)
class NewChannel:
    """The data that an importer provides for a further channel; all None to fill it."""

    name: str
    path: Path | None = None
    image: VoxelSource | None = None
    source: SourceInfo | None = None


MOST_LETTERS: Final = 60
"""Most characters in the name of a channel."""


def require_channel_names(names: Sequence[str]) -> None:
    """Raise UserError for what cannot be the channels of a study.

    >>> require_channel_names(["T1", "t1"])
    Traceback (most recent call last):
    napari_mlbseg.errors.UserError: Each channel has a name of its own, but got T1, t1. ...
    """
    if len(names) > MOST_CHANNELS:
        raise UserError(
            f"A study has at most {MOST_CHANNELS} channels, but got {len(names)}. Choose those "
            "that show the structures."
        )
    plain = [" ".join(name.casefold().split()) for name in names]
    odd = any(not name.isprintable() or len(name) > MOST_LETTERS for name in names)
    if len(set(plain)) < len(plain) or not all(plain) or odd:
        raise UserError(
            f"Each channel has a name of its own, but got {', '.join(names)}. Give names of up to "
            f"{MOST_LETTERS} letters that differ in more than upper and lower case."
        )


def require_same_channels(ours: Sequence[str], theirs: Sequence[str], whose: str) -> None:
    """Raise UserError unless cases have the channels of their study, in the same order."""
    if tuple(ours) != tuple(theirs):
        raise UserError(
            f"{whose} has {_in_words(theirs)}, but the study has {_in_words(ours)}. All cases of a "
            "study have the same channels: say which files are which (--channels), or make "
            "another study."
        )


def _in_words(names: Sequence[str]) -> str:
    return "one channel" if tuple(names) == (ONE_CHANNEL,) else f"the channels {', '.join(names)}"

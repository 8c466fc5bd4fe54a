"""The files of cases to be, and what a person says about the folders that hold them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from napari_mlbseg.project.importing.channels import ChannelRule
from napari_mlbseg.project.importing.failures import Failure
from napari_mlbseg.project.importing.names import Rule


@dataclass(frozen=True)
class ChannelFile:
    """The file of a channel: all of it, or one of its frames."""

    path: Path
    frame: int | None = None


@dataclass(frozen=True)
class CaseFiles:
    """One case to be.

    Attributes
    ----------
    image
        The file of the only channel, or of the first one.
    labels
        The label file, or the folder that holds `masks`; None without labels.
    masks
        Files in `labels`, each the mask of one structure, and its name; empty for a single file.
    frame
        The frame of `image` that is the first channel, where the frames are channels.
    further
        The files of the other channels, in their order; None for one that is missing and filled.
    """

    id: str
    image: Path
    labels: Path | None = None
    masks: tuple[tuple[str, str], ...] = ()
    frame: int | None = None
    further: tuple[ChannelFile | None, ...] = ()


@dataclass(frozen=True)
class Pairing:
    """What a person says about the folders; without anything it is found out.

    Attributes
    ----------
    rule
        ``volume-*=segmentation-*``: names of images and labels, with ``*`` for the case.
    table
        A CSV file with the columns case, image and labels; instead of image, a column
        ``image:NAME`` for each channel.
    patient_folders
        Whether folders are searched although images lie beside them; None to search them where
        none do.
    channels
        Which files, or frames of files, are the channels of a case.
    fill_missing
        Whether a channel (but the first) that a case lacks is filled, and not refused.
    """

    rule: Rule | None = None
    table: Path | None = None
    patient_folders: bool | None = None
    channels: ChannelRule | None = None
    fill_missing: bool = False


FOUND_OUT: Final = Pairing()
"""Nothing is said about the folders."""


@dataclass(frozen=True)
class Layout:
    """What folders hold.

    Attributes
    ----------
    cases
        The cases, by name.
    failures
        Images and labels that do not become a part of a case, each with the reason.
    notes
        Other things that were left out, and by which rule labels were found.
    channels
        Names of the channels of each case; empty where there is only one.
    """

    cases: tuple[CaseFiles, ...]
    failures: tuple[Failure, ...] = ()
    notes: tuple[Failure, ...] = ()
    channels: tuple[str, ...] = ()

"""What a person says about folders and label files, from the options of a command."""

from pathlib import Path

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.source import Choice
from napari_mlbseg.project.importing.case_files import Pairing
from napari_mlbseg.project.importing.channels import ChannelRule
from napari_mlbseg.project.importing.names import Rule

_SEARCHED = {"auto": None, "flat": False, "patient-folders": True}


def pairing_of(
    pair: str | None,
    table: Path | None,
    layout: str,
    channels: str | None = None,
    *,
    fill: bool = False,
) -> Pairing:
    """How images and labels belong together, and which images are channels of one case."""
    if pair is not None and table is not None:
        raise UserError("A table lists the cases, so it needs no rule: give --pair or --table.")
    if channels is not None and table is not None:
        raise UserError(
            "A table lists the channels, too, in columns image:NAME: give --channels or --table."
        )
    rule = None if pair is None else Rule.parsed(pair)
    said = None if channels is None else ChannelRule.parsed(channels)
    return Pairing(rule, table, _SEARCHED[layout], said, fill)


def choice_of(
    frame: int | None, series: str | None, *, one_hot: bool, renumber: str | None
) -> Choice:
    """Which part of images is taken, and how labels are read."""
    return Choice(frame, series, one_hot=one_hot, renumber=tuple(_numbers(renumber or "")))


def _numbers(text: str) -> list[tuple[int, int]]:
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        old, _, new = (side.strip() for side in part.partition("="))
        if not (old.isascii() and old.isdigit() and new.isascii() and new.isdigit()):
            raise UserError(f"{part!r} renumbers no label; write OLD=NEW, such as 255=1.")
        found.append((int(old), int(new)))
    return found

"""The channels of a study and of its cases: named once, and superseded, never overwritten.

A study with one channel has no rows here: its cases say where their image is.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from napari_mlbseg.errors import Damaged, UserError
from napari_mlbseg.formats.source import Choice, SourceInfo
from napari_mlbseg.project.catalogue import hashes
from napari_mlbseg.project.catalogue.database import Database, Transaction
from napari_mlbseg.project.catalogue.reading import intensity_from, readable
from napari_mlbseg.project.catalogue.schema import WITH_CHANNELS
from napari_mlbseg.project.records.channels import (
    ONE_CHANNEL,
    Channel,
    ChannelImage,
    require_channel_names,
)

_NAMES: Final = f"SELECT {hashes.CHANNEL}, sha256 FROM channels ORDER BY number"
_IMAGES: Final = (
    f"SELECT {hashes.CHANNEL_IMAGE}, sha256 FROM channel_images WHERE number IN "
    "(SELECT max(number) FROM channel_images GROUP BY case_id, place)"
)
_OF_ONE: Final = f"{_IMAGES} AND case_id = ?"


@dataclass(frozen=True)
class KnownChannels:
    """The channels of the study, and of its cases all but the first, by their places."""

    names: tuple[str, ...] = (ONE_CHANNEL,)
    images: Mapping[str, Mapping[int, Channel]] = field(default_factory=dict)

    def further(self, case_id: str) -> tuple[Channel, ...]:
        """All channels of a case but the first. Raises Damaged if one is missing."""
        with readable(f"the channels of {case_id!r}"):
            return tuple(self.images[case_id][place] for place in range(1, len(self.names)))


class Channels:
    """The channels in the catalogue; only a writer can add some, so it reads them once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: KnownChannels | None = None

    def names(self) -> tuple[str, ...]:
        """The channels of the study, in their order. Raises Damaged if they were not saved so."""
        return self._known.names if self._known is not None else self._read_names()

    def known(self, case_id: str | None = None) -> KnownChannels:
        """The channels of all cases, or of one. Raises Damaged if one is not as it was saved."""
        if self._known is not None:
            return self._known
        names, whole = self._read_names(), case_id is None or self._database.writable
        if len(names) == 1:
            found = KnownChannels(names)
        else:
            found = KnownChannels(names, self._read_images(names, None if whole else case_id))
        if self._database.writable:
            self._known = found
        return found

    def forget(self) -> None:
        """Read the channels again: some were added."""
        self._known = None

    def _read_names(self) -> tuple[str, ...]:
        if self._database.version < WITH_CHANNELS:
            return (ONE_CHANNEL,)
        rows = self._database.rows(_NAMES)
        with readable("the channels of the study"):
            for *row, sha256 in rows:
                hashes.require_sound(tuple(row), sha256)
            if [row[0] for row in rows] != list(range(len(rows))) or len(rows) == 1:
                raise ValueError("a channel is missing")
            names = tuple(str(row[1]) for row in rows)
        try:
            require_channel_names(names)
        except UserError as error:
            raise Damaged(str(error)) from error
        return names or (ONE_CHANNEL,)

    def _read_images(
        self, names: Sequence[str], case_id: str | None
    ) -> Mapping[str, Mapping[int, Channel]]:
        found: dict[str, dict[int, Channel]] = {}
        of_one = () if case_id is None else (case_id,)
        by_place = dict(enumerate(names))
        for *row, sha256 in self._database.rows(_OF_ONE if of_one else _IMAGES, *of_one):
            one, place = row[:2]
            with readable(f"the channels of {one!r}"):
                hashes.require_sound(tuple(row), sha256)
                found.setdefault(one, {})[place] = _channel(by_place[place], row[2:-2])
        return found


def _channel(name: str, row: Sequence[Any]) -> Channel:
    path, kind, header, choice, intensity = row
    if path is None:
        return Channel(name)
    source = SourceInfo(kind, header, Choice(**json.loads(choice)))
    return Channel(name, ChannelImage(Path(path), source, intensity_from(json.loads(intensity))))


def add_names(write: Transaction, names: Sequence[str]) -> None:
    """Say once and for all which channels a study has."""
    for place, name in enumerate(names):
        row = (place, name, write.author, write.at)
        hashes.insert(write.connection, "channels", hashes.CHANNEL, row)
    write.note("set channels", channels=list(names))


def add(write: Transaction, case_id: str, further: Sequence[Channel]) -> None:
    """Say which images the further channels of a case have; supersedes what was said before."""
    for place, channel in enumerate(further, 1):
        row = (case_id, place, *_plain(channel.image), write.author, write.at)
        hashes.insert(write.connection, "channel_images", hashes.CHANNEL_IMAGE, row)


def _plain(image: ChannelImage | None) -> tuple[Any, ...]:
    if image is None:
        return (None,) * 5
    source, intensity = image.source, json.dumps(asdict(image.intensity))
    choice = json.dumps(asdict(source.choice))
    return str(image.path), source.format, source.header, choice, intensity

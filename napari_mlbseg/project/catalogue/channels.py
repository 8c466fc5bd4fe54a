"""The channels of a study and of its cases: named once, and superseded, never overwritten.

A study with one channel has no rows here: its cases say where their image is.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

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


class Channels:
    """The channels in the catalogue; only a writer can add some, so it reads them once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: tuple[tuple[str, ...], Mapping[str, Mapping[int, Channel]]] | None = None

    def names(self) -> tuple[str, ...]:
        """The channels of the study, in their order. Raises Damaged for what was not saved so."""
        return self._now()[0]

    def further(self, case_id: str) -> tuple[Channel, ...]:
        """All channels of a case but the first. Raises Damaged if one is not as it was saved."""
        names, images = self._now()
        with readable(f"the channels of {case_id!r}"):
            return tuple(images[case_id][place] for place in range(1, len(names)))

    def forget(self) -> None:
        """Read the channels again: some were added."""
        self._known = None

    def _now(self) -> tuple[tuple[str, ...], Mapping[str, Mapping[int, Channel]]]:
        known = self._known
        if known is None or not self._database.writable:
            names = self._read_names()
            images = self._read_images(names) if len(names) > 1 else {}
            self._known = known = names, images
        return known

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
            require_channel_names(names)
        return names or (ONE_CHANNEL,)

    def _read_images(self, names: Sequence[str]) -> Mapping[str, Mapping[int, Channel]]:
        found: dict[str, dict[int, Channel]] = {}
        for *row, sha256 in self._database.rows(_IMAGES):
            case_id, place = row[:2]
            with readable(f"the channels of {case_id!r}"):
                hashes.require_sound(tuple(row), sha256)
                found.setdefault(case_id, {})[int(place)] = _channel(names[place], row[2:-2])
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

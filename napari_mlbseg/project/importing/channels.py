"""Which files are channels of one case: by patterns that a person gives, or by known names.

The numbers of nnU-Net (``_0000``, ``_0001``) and the endings of BraTS (``-t1n``, ``_flair``) are
known. Frames of a file are channels only if a person says so: they may as well be points in time.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import suffix_of
from napari_mlbseg.project.importing.described import descriptions
from napari_mlbseg.project.importing.failures import Failure, counted, shortened
from napari_mlbseg.project.importing.names import normal
from napari_mlbseg.project.records.channels import MOST_CHANNELS, require_channel_names

_FRAMES: Final = "frames"
_NUMBER: Final = re.compile(r"_(\d{4})$")
_BRATS: Final = (("-", ("t1n", "t1c", "t2w", "t2f")), ("_", ("t1", "t1ce", "t2", "flair")))
_ENOUGH: Final = 3
"""How many endings of BraTS a case has to show: two may be T1 and T2 on grids of their own."""


@dataclass(frozen=True)
class ChannelRule:
    """What a person says about channels.

    Attributes
    ----------
    names
        The channels in their order; those of frames may be left to ``dataset.json``.
    patterns
        For each of them, how its files are called, with ``*`` for the case.
    frames
        Whether the frames of each file are its channels.

    Examples
    --------
    >>> rule = ChannelRule.parsed("T1=*_t1.nii.gz, FLAIR=*_flair.nii.gz")
    >>> rule.names, rule.patterns
    (('T1', 'FLAIR'), ('*_t1', '*_flair'))
    >>> ChannelRule.parsed("frames: T2, ADC").names
    ('T2', 'ADC')
    """

    names: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    frames: bool = False

    @classmethod
    def parsed(cls, text: str) -> "ChannelRule":
        """A rule as a person writes it; UserError if it is none."""
        kind, _, listed = text.partition(":")
        if kind.strip() == _FRAMES:
            names = tuple(filter(None, (name.strip() for name in listed.split(","))))
            require_channel_names(names)
            return cls(names, frames=True)
        sides = [[side.strip() for side in part.split("=")] for part in text.split(",")]
        if any(len(one) != 2 or not all(one) or one[1].count("*") > 1 for one in sides):
            raise UserError(
                f"{text!r} says nothing of channels. Write the name of each channel and how its "
                "files are called, with * for the case: 'T1=*_t1.nii.gz,FLAIR=*_flair.nii.gz'; or "
                "'frames' if the frames of a file are its channels, 'frames:T2,ADC' with names."
            )
        names = tuple(name for name, _ in sides)
        require_channel_names(names)
        return cls(names, tuple(_plain(pattern) for _, pattern in sides))


@dataclass(frozen=True)
class Grouped:
    """Files that are channels of cases.

    Attributes
    ----------
    channels
        Names of the channels; empty where every case has one image.
    images
        The files that stand for their cases: those of the first channel.
    further
        For each of them, the files of the other channels; None for one that is missing.
    stems
        For each of them, the name of its case.
    failures
        Files that become no part of a case.
    notes
        What was found out, and what is filled.
    """

    images: tuple[str, ...]
    channels: tuple[str, ...] = ()
    further: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    stems: Mapping[str, str] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    notes: tuple[Failure, ...] = ()


def grouped(
    paths: Mapping[str, Path], images: Sequence[str], rule: ChannelRule | None, *, fill: bool
) -> Grouped:
    """Bring the images (names of `paths`) of one case together.

    A case that lacks a channel is refused, or it is filled: that of the first channel never is.
    """
    if rule is not None and rule.frames:
        return Grouped(tuple(images))
    if rule is not None:
        patterns = dict(zip(rule.names, rule.patterns, strict=True))
    else:
        patterns = _numbered(paths, images) or _as_in_brats(images)
    if not patterns:
        return Grouped(tuple(images))
    files, others = _by_case(images, patterns)
    if not files:
        folder = next((paths[name].parent for name in images), Path())
        raise UserError(
            f"No file in {folder} is called {' or '.join(patterns.values())}. There are "
            f"{shortened(paths[name].name for name in images)}."
        )
    found = _complete(paths, files, tuple(patterns), fill=fill)
    notes = list(found.notes)
    if rule is None:
        where = paths[images[0]].parent
        said = ", ".join(f"{name} (*{pattern[1:]})" for name, pattern in patterns.items())
        notes.insert(0, Failure(where, f"Files were taken as channels by their names: {said}."))
    failures = (*found.failures, *_left_out(paths, others))
    channels = tuple(patterns) if len(patterns) > 1 else ()
    return Grouped(found.images, channels, found.further, found.stems, failures, tuple(notes))


def described_channels(folder: Path) -> tuple[str, ...]:
    """The channels that ``dataset.json`` lists, in or above a folder; empty without one."""
    for about in descriptions(folder):
        listed: Any = about.get("channel_names") or about.get("modality")
        try:
            names = tuple(str(listed[key]).strip() for key in sorted(listed, key=int))
            require_channel_names(names)
        except (TypeError, ValueError, LookupError, UserError):
            continue
        return names
    return ()


def _numbered(paths: Mapping[str, Path], images: Sequence[str]) -> dict[str, str]:
    """The channels of nnU-Net's numbers, if a case has more than one."""
    numbers = [int(found[1]) for name in images if (found := _NUMBER.search(name))]
    if len(numbers) < len(images) or 0 not in numbers or not 0 < max(numbers) < MOST_CHANNELS:
        return {}
    names = described_channels(paths[images[0]].parent)
    if len(names) <= max(numbers):
        names = tuple(f"channel {number}" for number in range(max(numbers) + 1))
    return {name: f"*_{number:04}" for number, name in enumerate(names)}


def _as_in_brats(images: Sequence[str]) -> dict[str, str]:
    """The channels of the endings of BraTS, if all images have one and a case has several."""
    for mark, words in _BRATS:
        every = {word: f"*{mark}{word}" for word in words}
        cases, others = _by_case(images, every)
        if not others and any(len(found) >= _ENOUGH for found in cases.values()):
            used = {word for found in cases.values() for word in found}
            return {word: pattern for word, pattern in every.items() if word in used}
    return {}


def _by_case(
    images: Sequence[str], patterns: Mapping[str, str]
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """For each case the file of each channel, and the files of no channel."""
    cases: dict[str, dict[str, str]] = defaultdict(dict)
    others = []
    for name in images:
        keys = ((channel, _key(name, pattern)) for channel, pattern in patterns.items())
        channel, key = next((one for one in keys if one[1] is not None), ("", None))
        if key is None:
            others.append(name)
        else:
            cases[key][channel] = name
    return cases, others


def _key(name: str, pattern: str) -> str | None:
    """The case of a file by a pattern: its folder, and what stands for the star."""
    folder, slash, base = ("", "", name) if "/" in pattern else name.rpartition("/")
    before, star, after = normal(pattern).partition("*")
    plain = normal(base)
    if not star:
        return folder if plain == before else None
    whole = len(plain) > len(before) + len(after)
    if not (whole and plain.startswith(before) and plain.endswith(after)):
        return None
    return f"{folder}{slash}{base[len(before) : len(base) - len(after)]}"


def _complete(
    paths: Mapping[str, Path],
    cases: Mapping[str, Mapping[str, str]],
    channels: Sequence[str],
    *,
    fill: bool,
) -> Grouped:
    """The cases that have all channels, or whose missing ones are filled."""
    further, stems, failures, notes = {}, {}, [], []
    for key, files in sorted(cases.items()):
        missing = [name for name in channels if name not in files]
        where = paths[next(iter(files.values()))]
        stem = key.rpartition("/")[2]
        if missing and (not fill or missing[0] == channels[0]):
            failures.append(Failure(where, lacking(stem or where.parent.name, missing, channels)))
            continue
        if missing:
            notes.append(Failure(where, filled(stem or where.parent.name, missing)))
        first = files[channels[0]]
        further[first] = tuple(files.get(name) for name in channels[1:])
        if stem:
            stems[first] = stem
    return Grouped(tuple(further), (), further, stems, tuple(failures), tuple(notes))


def lacking(case: str, missing: Sequence[str], channels: Sequence[str]) -> str:
    """Why a case without some of the channels is refused."""
    said = f"{case} has no {' and no '.join(missing)} (the channels are {', '.join(channels)}). "
    if missing[0] == channels[0]:
        return (
            f"{said}The first channel is never filled: put one first that all cases have "
            "(--channels), or add the file."
        )
    return f"{said}Add the file, or let the network see zeros there (--fill-missing-channels)."


def filled(case: str, missing: Sequence[str]) -> str:
    """What is told of a case whose missing channels are filled."""
    return f"{case} has no {' and no '.join(missing)}; the network sees zeros there."


def _left_out(paths: Mapping[str, Path], others: Sequence[str]) -> Iterator[Failure]:
    if others:
        names = shortened(paths[name].name for name in others)
        where = paths[others[0]]
        reason = f"Left out: {counted(len(others), 'file')} that belong to no channel: {names}."
        yield Failure(where, reason)


def _plain(pattern: str) -> str:
    """A pattern without the ending of the files."""
    return pattern.removesuffix(suffix_of(Path(pattern.replace("*", "_"))))

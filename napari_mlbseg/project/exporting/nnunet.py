"""What nnU-Net (version 2) asks of a data set: its folder, its numbers and names of classes."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.exporting.provenance import software_version
from napari_mlbseg.project.records.cases import Case, LabelClass

FILE_ENDING: Final = ".nii.gz"
_FOLDER: Final = re.compile(r"Dataset(\d{3})_.+")
_MOST: Final = 999
_BACKGROUND: Final = "background"
_IGNORE: Final = "ignore"
_NORMALISED_AS_CT: Final = "CT"
_ONE_BY_ONE: Final = "image"
"""Any name but CT makes nnU-Net normalise every image by itself."""


def number_of(channel: int) -> str:
    """What the files of a channel end in, by its place.

    >>> number_of(0)
    '_0000'
    """
    return f"_{channel:04}"


def folder_of(out: Path, name: str) -> Path:
    """The folder of a new data set: `out` itself if it is named like one, else one inside it.

    Its number is the first that no data set in `out` has.
    """
    if _FOLDER.fullmatch(out.name):
        return out
    inside = out.iterdir() if out.is_dir() else ()
    taken = {int(found[1]) for one in inside if (found := _FOLDER.fullmatch(one.name))}
    free = next((number for number in range(1, _MOST + 1) if number not in taken), None)
    if free is None:
        raise UserError(f"{out} has 999 data sets already. Choose another folder.")
    safe = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "study"
    return out / f"Dataset{free:03d}_{safe}"


def numbers_of(classes: Sequence[LabelClass]) -> dict[int, int]:
    """The numbers in files by class value: nnU-Net leaves no gaps. One more is the ignore label."""
    return {value: number for number, value in enumerate(sorted(c.value for c in classes), 1)}


def names_of(classes: Sequence[LabelClass]) -> dict[int, str]:
    """The names by class value; the two that mean something to nnU-Net get an underscore."""
    names = {c.name for c in classes}
    found = {}
    for c in classes:
        name = c.name
        while name in (_BACKGROUND, _IGNORE) or (name != c.name and name in names):
            name += "_"
        found[c.value] = name
    return found


def description(
    cases: Sequence[Case], classes: Sequence[LabelClass], *, partial: bool
) -> dict[str, Any]:
    """The content of ``dataset.json``; `partial` labels have the ignore label."""
    numbers, names = numbers_of(classes), names_of(classes)
    labels = {_BACKGROUND: 0} | {names[value]: number for value, number in numbers.items()}
    if partial:
        labels[_IGNORE] = len(numbers) + 1
    return {
        "channel_names": {str(k): name for k, name in enumerate(channels_of(cases))},
        "labels": labels,
        "numTraining": len(cases),
        "file_ending": FILE_ENDING,
        "description": f"Written by napari-mlbseg {software_version()}.",
    }


def channels_of(cases: Sequence[Case]) -> tuple[str, ...]:
    """The names of the channels; of a single one, see `channel_of`."""
    names = next((tuple(one.name for one in case.channels) for case in cases if case.further), ())
    return names or (channel_of(cases),)


def channel_of(cases: Sequence[Case]) -> str:
    """CT where all cases came as DICOM that says so; nnU-Net normalises them together then."""
    return _NORMALISED_AS_CT if all(_modality(c) == "CT" for c in cases) else _ONE_BY_ONE


def _modality(case: Case) -> str | None:
    if case.source.format != "dicom":
        return None
    try:
        header: Mapping[str, Any] = json.loads(case.source.header)
        return str(header["modality"])
    except (ValueError, KeyError, TypeError):
        return None


def notes_of(cases: Sequence[Case], classes: Sequence[LabelClass]) -> tuple[str, ...]:
    """What a data set does not say as the study does, in sentences."""
    names, numbers = names_of(classes), numbers_of(classes)
    renamed = [
        f"{c.name!r} means something else to nnU-Net and is written as {names[c.value]!r}."
        for c in classes
        if names[c.value] != c.name
    ]
    moved = [f"{c.value} is {numbers[c.value]}" for c in classes if numbers[c.value] != c.value]
    gaps = [f"nnU-Net numbers classes without gaps: {', '.join(moved)}."] if moved else []
    unknown = [
        f"The channel is called {_ONE_BY_ONE!r}, so nnU-Net normalises each image by itself. If "
        f"these are CT scans, call it {_NORMALISED_AS_CT!r} in dataset.json."
    ]
    filled = [
        f"{case.name} has no {channel.name}: its file is zero everywhere."
        for case in cases
        for channel in case.further
        if channel.image is None
    ]
    alone = channels_of(cases) == (_ONE_BY_ONE,)
    return (*renamed, *gaps, *(unknown if alone else []), *filled)

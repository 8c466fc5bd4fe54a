"""Frames of files as the channels of their cases, where a person says so."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import open_image
from napari_mlbseg.formats.scan import FrameNeededError
from napari_mlbseg.project.importing.case_files import CaseFiles, ChannelFile, Layout
from napari_mlbseg.project.importing.channels import described_channels
from napari_mlbseg.project.importing.failures import Failure
from napari_mlbseg.project.records.channels import require_channel_names


def with_frames(layout: Layout, names: Sequence[str]) -> Layout:
    """The cases of files of which every frame is a channel; others are refused.

    Without names, ``dataset.json`` may have them; else they are called after their numbers.
    """
    counts: dict[Path, int] = {}
    failures = list(layout.failures)
    for case in layout.cases:
        try:
            counts[case.image] = frames_of(case.image)
        except UserError as error:
            failures.append(Failure(case.image, str(error)))
    wanted = tuple(names) or _found_out(layout.cases, counts)
    cases = []
    for case in layout.cases:
        count = counts.get(case.image)
        if count == len(wanted):
            rest = (ChannelFile(case.image, frame) for frame in range(1, count))
            cases.append(replace(case, frame=0, further=tuple(rest)))
        elif count is not None:
            reason = (
                f"{case.image} has {count} {'frame' if count == 1 else 'frames'}, but the channels "
                f"are {', '.join(wanted)}: one frame for each."
            )
            failures.append(Failure(case.image, reason))
    return replace(layout, cases=tuple(cases), failures=tuple(failures), channels=wanted)


def frames_of(path: Path) -> int:
    """How many frames a file has; raises UserError that names it."""
    try:
        open_image(path)
    except FrameNeededError as several:
        return several.frames
    return 1


def _found_out(cases: Sequence[CaseFiles], counts: dict[Path, int]) -> tuple[str, ...]:
    """The names in ``dataset.json``, or numbers for as many frames as the first file has."""
    known = next((counts[case.image] for case in cases if case.image in counts), 0)
    described = described_channels(cases[0].image.parent) if cases else ()
    names = described if len(described) > 1 else tuple(f"frame {k}" for k in range(known))
    require_channel_names(names)
    if len(names) < 2:
        raise UserError(
            "Frames are to be channels, but the images have one frame each. Leave --channels out."
        )
    return names

"""Working copies of a study: the user's own study is read, never written."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from napari_mlbseg.project.arrays.store import CHANNELS, ArrayName
from napari_mlbseg.project.records.cases import Case, NewCase
from napari_mlbseg.project.records.channels import Channel, NewChannel
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Volume

AUTHOR = "simulation"


def copy_cases(study: Study, cases: Sequence[Case], path: Path, *, labels: bool = True) -> None:
    """Make a study of some cases of another, without any human or machine work.

    Imported initial labels are copied unless `labels` is False. Only the arrays of the study are
    read, so the files that it was made from are not needed.
    """
    with Study.create(path, author=AUTHOR) as copy:
        copy.set_classes(study.classes)
        copy.add_cases(_new_cases(study, cases, labels=labels))
        for case in cases:
            if copy.case(case.id).axis != case.axis:
                copy.set_axis(case.id, case.axis)


def copy_study(source: Path, target: Path) -> Path:
    """Copy a study that nobody has open; replaces anything at `target`."""
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copytree(source, target))


def remove(paths: Iterable[Path]) -> None:
    """Delete working copies."""
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)


def _new_cases(study: Study, cases: Sequence[Case], *, labels: bool) -> Iterator[NewCase]:
    for case in cases:
        kept = labels and case.labels_path is not None
        further = zip(CHANNELS[1:], case.further, strict=False)
        yield NewCase(
            case.id,
            case.image_path,
            _volume(study, case, ArrayName.IMAGE),
            case.source,
            case.labels_path if kept else None,
            _volume(study, case, ArrayName.INITIAL_LABELS) if kept else None,
            case.channel,
            tuple(_new_channel(study, case, name, channel) for name, channel in further),
        )


def _new_channel(study: Study, case: Case, name: ArrayName, channel: Channel) -> NewChannel:
    if channel.image is None:
        return NewChannel(channel.name)
    image = _volume(study, case, name)
    return NewChannel(channel.name, channel.image.path, image, channel.image.source)


def _volume(study: Study, case: Case, name: ArrayName) -> Volume:
    return Volume(np.asarray(study.arrays.open(case.id, name)[:]), case.geometry)

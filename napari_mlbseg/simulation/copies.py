"""Working copies of a study: the user's own study is read, never written."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.cases import Case, NewCase
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
        image = Volume(np.asarray(study.arrays.open(case.id, ArrayName.IMAGE)[:]), case.geometry)
        if not labels or case.labels_path is None:
            yield NewCase(case.id, case.image_path, image, case.source)
            continue
        initial = np.asarray(study.arrays.open(case.id, ArrayName.INITIAL_LABELS)[:])
        yield NewCase(
            case.id,
            case.image_path,
            image,
            case.source,
            case.labels_path,
            Volume(initial, case.geometry),
        )

"""The volumes of the classes in each case."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_mlbseg.project.exporting.tidied import tidy_labels, voxel_mm3
from napari_mlbseg.project.exporting.voxels import in_bands
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.progress import Progress
from napari_mlbseg.project.study import Study
from napari_mlbseg.project.tidying.told import Tidied

_BEGIN_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")
COLUMNS = ("case", "value", "name", "voxels", "volume_ml")


def write_volumes(
    path: Path, study: Study, cases: Sequence[Case], progress: Progress
) -> dict[str, Tidied]:
    """Write a table with a row for each case and class of exported labels: voxels, millilitres.

    Returns what was tidied of each case.
    """
    tidied = {}
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for done, case in enumerate(cases):
            progress(f"Measuring {case.name}", done, len(cases))
            counts = np.zeros(256, np.int64)
            labels, done_to_it = tidy_labels(study, case)
            if done_to_it is not None:
                tidied[case.id] = done_to_it
            for band in in_bands(labels, case.axis):
                counts += np.bincount(band.ravel(), minlength=256)
            for c in study.classes:
                voxels = int(counts[c.value])
                volume = round(voxels * voxel_mm3(case.geometry) / 1000, 6)
                rows.writerow((plain(case.name), c.value, plain(c.name), voxels, volume))
    return tidied


def plain(text: str) -> str:
    """A text that no spreadsheet takes for a formula: an apostrophe goes before one.

    >>> plain("=1+1"), plain("left atrium")
    ("'=1+1", 'left atrium')
    """
    return f"'{text}" if text.startswith(_BEGIN_FORMULAS) else text

"""The volumes of the classes in each case."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.progress import Progress
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Geometry

COLUMNS = ("case", "value", "name", "voxels", "volume_ml")


def voxel_ml(geometry: Geometry) -> float:
    """Volume of a voxel in millilitres: that of the box that its three steps span."""
    return float(abs(np.linalg.det(np.asarray(geometry.affine)[:3, :3]))) / 1000


def write_volumes(path: Path, study: Study, cases: Sequence[Case], progress: Progress) -> None:
    """A table with a row for each case and class: what a person sees, in voxels and millilitres."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for done, case in enumerate(cases):
            progress(f"Measuring {case.id}", done, len(cases))
            counts = np.zeros(256, np.int64)
            for slab in study.labels.windows(case.id).slabs(case.axis):
                counts += np.bincount(slab.ravel(), minlength=256)
            for c in study.classes:
                voxels = int(counts[c.value])
                volume = round(voxels * voxel_ml(case.geometry), 6)
                rows.writerow((case.id, c.value, c.name, voxels, volume))

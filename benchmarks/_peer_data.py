"""What all arms of `peers.py` are given, and how what they find is measured."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import _peer
import nibabel as nib
import numpy as np

from napari_mlbseg.engine.config import Config
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.masks import plane
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study
from napari_mlbseg.simulation.annotator import Truth
from napari_mlbseg.simulation.copies import remove
from napari_mlbseg.simulation.scoring import measured

Row = dict[str, Any]
Found = Mapping[str, _peer.Labels]
"""The labels of each case."""


@dataclass(frozen=True)
class Setting:
    """What all arms are given: the cohort, its truth, the clean slices, and a folder to work in."""

    study: Path
    truth: Path
    picks: tuple[SliceKey, ...]
    seed: int
    folder: Path
    marks_min: tuple[float, ...]
    clock: str
    threads: int
    config: Config


def export(setting: Setting, folder: Path) -> None:
    """The images and the clean slices in nnU-Net's format, with the slices first."""
    remove([folder])
    raw = folder / "raw" / _peer.DATASET
    for name in ("imagesTr", "imagesTs", "labelsTr"):
        (raw / name).mkdir(parents=True)
    with Study.open(setting.study, writable=False) as study:
        truth, values = Truth(setting.truth, study), [one.value for one in study.classes]
        for case in study.cases:
            keys = [key for key in setting.picks if key.case_id == case.id]
            image = np.asarray(study.arrays.open(case.id, ArrayName.IMAGE)[:])
            order = [case.axis, *(axis for axis in range(3) if axis != case.axis)]
            spacing = np.array(case.geometry.spacing_mm)[order]
            where = raw / ("imagesTr" if keys else "imagesTs") / f"{case.id}{_peer.IMAGE}"
            save(np.moveaxis(image, case.axis, 0), spacing, where)
            if keys:
                labels = np.full(image.shape, len(values) + 1, np.uint8)
                for key in keys:
                    labels[plane(key.axis, key.index)] = indices(truth.mask(key), values)
                path = raw / "labelsTr" / f"{case.id}{_peer.LABELS}"
                save(np.moveaxis(labels, case.axis, 0), spacing, path)
        names = {"background": 0} | {f"class {n}": n for n in range(1, len(values) + 1)}
    about = {
        "channel_names": {"0": "MRI"},
        "labels": names | {_peer.UNKNOWN: len(names)},
        "numTraining": len(list((raw / "labelsTr").iterdir())),
        "file_ending": _peer.LABELS,
    }
    (raw / "dataset.json").write_text(json.dumps(about))


def save(voxels: Any, spacing: Any, path: Path) -> None:
    """Write an array, slices first, as a file whose last axis has the slices."""
    nib.save(nib.Nifti1Image(voxels.T, np.diag([*spacing[::-1], 1.0])), path)


def indices(labels: _peer.Labels, values: Sequence[int]) -> _peer.Labels:
    """Label values as 1, 2, ... in the order of the classes."""
    found = np.zeros_like(labels)
    for number, value in enumerate(values, start=1):
        found[labels == value] = number
    return found


def with_clean(setting: Setting, labels: Found) -> Found:
    """Labels in the order of the study (z y x), with the clean slices on top."""
    found = {}
    with Study.open(setting.study, writable=False) as study:
        truth, values = Truth(setting.truth, study), [0, *(one.value for one in study.classes)]
        for case in study.cases:
            if case.id in labels:
                made = np.array(values, np.uint8)[np.moveaxis(labels[case.id], 0, case.axis)]
            else:
                made = np.zeros(case.geometry.shape, np.uint8)
            for key in (key for key in setting.picks if key.case_id == case.id):
                made[plane(key.axis, key.index)] = truth.mask(key)
            found[case.id] = made
    return found


def scored(setting: Setting, found: Found, about: Row) -> list[Row]:
    """A row for each class."""
    with Study.open(setting.study, writable=False) as study:
        truth = Truth(setting.truth, study)
        scores = measured(study.cases, study.classes, found.__getitem__, truth.volume)
        names = {one.value: one.name for one in study.classes}
    return [
        about
        | {"class": names[value], "dice_in_one_piece": one.dice_in_one_piece}
        | asdict(one.mean)
        for value, one in scores.items()
    ]

"""A study of small phantoms that a network learns in seconds."""

from pathlib import Path

import numpy as np
import torch
from left_open import ends_with_the_test
from numpy.typing import NDArray

from napari_mlbseg.engine.config import Config
from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.project.records.cases import LabelClass, NewCase
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Geometry, Volume

SHAPE = (12, 40, 36)
QUICK = Config(
    base_steps=60,
    steps=30,
    slice_size=48,
    device="cpu",
    learning_rate=4e-3,
    validation_share=0.2,
    threads=1,
)


class Phantoms:
    """A study of small bright ellipsoids in noise, with the truth at hand."""

    def __init__(self, study: Study, truth: dict[str, NDArray[np.uint8]]) -> None:
        self.study, self.truth = study, truth

    def accept(self, case_id: str, *indices: int, axis: int = 0) -> list[SliceKey]:
        keys = [SliceKey(case_id, axis, i) for i in indices]
        for key in keys:
            mask = np.take(self.truth[case_id], key.index, axis)
            self.study.save_slice(key, mask, SliceState.CLEAN)
        return keys

    def dice(self, case_id: str, found: NDArray[np.uint8], value: int = 1) -> float:
        ours, truth = found == value, self.truth[case_id] == value
        return float(2 * (ours & truth).sum() / (ours.sum() + truth.sum()))


def ellipsoid(
    seed: int, shape: tuple[int, int, int] = SHAPE
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    centre, radius = rng.uniform(-0.1, 0.1, 3), rng.uniform(0.6, 0.75, 3)
    distance = (((grid - centre[:, None, None, None]) / radius[:, None, None, None]) ** 2).sum(0)
    truth = ((distance < 1).astype(np.uint8) + (distance < 0.3)).astype(np.uint8)
    image = 300 + 150 * truth.astype(float) + rng.normal(0, 40, shape)
    return image.astype(np.int16), truth


def make_phantoms(
    path: Path,
    *,
    cases: int = 2,
    rough: bool = False,
    shape: tuple[int, int, int] = SHAPE,
    spacing_mm: tuple[float, float, float] = (3.0, 1.0, 1.0),
) -> Phantoms:
    """Phantoms in a study that is closed with the test."""
    study = Study.create(path)
    ends_with_the_test.append(study)
    study.set_classes([LabelClass(1, "organ", (230, 160, 0)), LabelClass(7, "core", (0, 120, 180))])
    z, y, x = spacing_mm
    geometry = Geometry.from_affine(shape[::-1], np.diag([-x, -y, z, 1.0]))
    truths = {}
    for number in range(cases):
        image, truth = ellipsoid(number, shape)
        truth[truth == 2] = 7
        name = f"phantom{number}"
        rolled = np.roll(truth, 4, axis=2)
        study.add_cases(
            [
                NewCase(
                    name,
                    path / f"{name}.nii.gz",
                    Volume(image, geometry),
                    SourceInfo("nifti", b""),
                    path / "labels" / f"{name}.nii.gz" if rough else None,
                    Volume(rolled, geometry) if rough else None,
                )
            ]
        )
        truths[name] = truth
    return Phantoms(study, truths)


def checkpoint(phantoms: Phantoms) -> dict[str, object]:
    content = torch.load(phantoms.study.checkpoint_path, weights_only=True)
    assert isinstance(content, dict)
    return content


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b

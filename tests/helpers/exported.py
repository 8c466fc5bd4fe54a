"""A cohort in files to train on, and exported models run where this package is not."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
from nifti_files import load_nifti
from numpy.typing import NDArray

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import Finished, Inbox
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.formats.registry import read_labels
from napari_mlbseg.project.importing.classes import named
from napari_mlbseg.project.importing.cohort import import_images
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

BLOCKED = """
import runpy, sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None
sys.path.insert(0, sys.argv[2])
module, sys.argv = sys.argv[3], sys.argv[3:]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def write_cohort(
    folder: Path, geometries: Mapping[str, tuple[tuple[int, int, int], NDArray[np.float64]]]
) -> Path:
    """Images and labels of one bright ellipsoid each, in files of these shapes and affines."""
    rng = np.random.default_rng(1)
    for name, (shape, linear) in geometries.items():
        grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
        truth = (((grid / 0.6) ** 2).sum(0) < 1).astype(np.uint8)
        image = 500 + 300.0 * truth + rng.normal(0, 60, shape)
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = linear, rng.normal(0, 50, 3)
        for kind, voxels in (("images", image.astype(np.int16)), ("labels", truth)):
            (folder / kind).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(voxels, affine), folder / kind / f"{name}.nii.gz")
    return folder


@contextmanager
def trained_study(
    path: Path, cohort: Path, config: Config, rough: Mapping[str, Path] | None = None
) -> Iterator[Study]:
    """A study of the cohort, trained for a moment, with predictions of the final network.

    Imported labels (`rough`, by the name of the case) would be kept here and there, unless
    ``weights`` is ``none``.
    """
    with Study.create(path) as study:
        import_images(study, sorted((cohort / "images").iterdir()), rough or {})
        study.set_classes(named("left atrium"))
        _accept_every_other_slice(study, cohort / "labels")
        *_, last = Bootstrapper(study, config).events(Inbox())
        assert isinstance(last, Finished), last
        yield study


def _accept_every_other_slice(study: Study, labels: Path) -> None:
    for case in study.cases:
        truth = read_labels(labels / case.image_path.name)[0].voxels
        for index in range(2, case.geometry.shape[case.axis] - 2, 2):
            key = SliceKey(case.id, case.axis, index)
            study.save_slice(key, truth.take(index, case.axis), SliceState.CLEAN)


def run_blocked(folder: Path, blocked: str, *arguments: object) -> None:
    command = [sys.executable, "-c", BLOCKED, blocked, str(folder), *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr


def refused(folder: Path, *arguments: object) -> str:
    """What predict.py of an exported model says when it refuses its arguments."""
    command = [sys.executable, str(folder / "predict.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr


def require_equal_labels(found: Path, expected: Path) -> None:
    """All but voxels at which two classes are tied to the last digits."""
    ours, theirs = load_nifti(found), load_nifti(expected)
    assert np.allclose(ours.affine, theirs.affine, atol=1e-5)
    a, b = np.asarray(ours.dataobj), np.asarray(theirs.dataobj)
    assert a.shape == b.shape
    assert 0 < (b > 0).mean() < 0.9, "there is something to compare"
    assert 2 * ((a > 0) & (b > 0)).sum() / ((a > 0).sum() + (b > 0).sum()) >= 0.9999
    assert (a != b).sum() <= 2

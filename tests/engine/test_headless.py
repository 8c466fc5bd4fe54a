"""The whole job where neither Qt nor napari can be imported."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from nifti_files import load_nifti

from napari_mlbseg.samples import make_phantom_cohort

JOB = """
import sys

for name in ("napari", "qtpy", "PyQt5", "PyQt6", "PySide6", "vispy", "magicgui", "superqt"):
    sys.modules[name] = None

from pathlib import Path

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import Finished, Inbox
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.formats.registry import read_labels
from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.exporting.export import ExportKind, export_study
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

cohort, out = Path(sys.argv[1]), Path(sys.argv[2])
with Study.create(out / "headless.mlbseg") as study:
    import_folder(study, cohort / "images", cohort / "labels")
    for case in study.cases:
        truth = read_labels(cohort / "truth" / case.image_path.name)[0].voxels
        for index in (8, 11, 14):
            key = SliceKey(case.id, case.axis, index)
            study.save_slice(key, truth.take(index, axis=case.axis), SliceState.CLEAN)
    config = Config(base_steps=3, steps=2, slice_size=48, device="cpu", threads=1)
    *_, last = Bootstrapper(study, config).events(Inbox())
    assert isinstance(last, Finished), last
    export_study(study, out / "exported", ExportKind.LABELS)
"""


def test_the_whole_job_without_qt_and_napari(tmp_path: Path) -> None:
    cohort = make_phantom_cohort(tmp_path / "cohort", cases=2)
    command = [sys.executable, "-c", JOB, str(tmp_path / "cohort"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    for path in sorted(cohort.images.iterdir()):
        exported, image = load_nifti(tmp_path / "exported" / path.name), load_nifti(path)
        assert exported.shape == image.shape
        assert np.array_equal(exported.affine, image.affine)
        assert set(np.unique(np.asarray(exported.dataobj))) <= {0, 1, 2}

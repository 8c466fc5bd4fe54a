"""The whole job where no window can be imported, and where a call to the network is told."""

from pathlib import Path

import numpy as np
from blocked import run_blocked
from nifti_files import load_nifti

from napari_mlbseg.samples import make_phantom_cohort

JOB = """
sys.modules["matplotlib"] = None  # for the picture of a demo only
from pathlib import Path

from napari_mlbseg.api import (
    Bootstrapper, Config, ExportKind, Finished, Inbox, SliceKey, SliceState, Study, export_study,
    import_folder, read_labels,
)
from napari_mlbseg.cli import main

cohort, out = Path(sys.argv[1]), Path(sys.argv[2])
with Study.create(out / "script.mlbseg") as study:
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

def mlbseg(*arguments, code=0):
    sys.argv = ["mlbseg", *map(str, arguments)]
    try:
        main()
    except SystemExit as end:
        assert (end.code or 0) == code, (arguments, end.code)

study = out / "commands.mlbseg"
mlbseg("--help")
mlbseg("init", study, cohort / "images", "--labels", cohort / "labels")
truth = cohort / "truth" / "phantom_01.nii.gz"
mlbseg("accept", study, "phantom_01", "--slices", "8,11,14", "--labels", truth)
mlbseg("run", study, "--minutes", 0.02, "--device", "cpu")
mlbseg("suggest", study)
mlbseg("export", study, out / "labels")
mlbseg("export", study, out / "volumes", "--what", "volumes")
mlbseg("backup", study)
mlbseg("verify", study)
mlbseg("log", study)
mlbseg("gui", study, code=1)
"""


def test_the_whole_job_without_a_window_and_without_a_call_to_anybody(tmp_path: Path) -> None:
    cohort = make_phantom_cohort(tmp_path / "cohort", cases=2)
    done = run_blocked(JOB, tmp_path / "cohort", tmp_path)
    assert done.returncode == 0, done.stderr
    for path in sorted(cohort.images.iterdir()):
        image = load_nifti(path)
        for folder in ("exported", "labels"):
            exported = load_nifti(tmp_path / folder / path.name)
            assert exported.shape == image.shape
            assert np.array_equal(exported.affine, image.affine)
            assert set(np.unique(np.asarray(exported.dataobj))) <= {0, 1, 2}
    assert (tmp_path / "volumes" / "volumes.csv").is_file()
    (said,) = (line for line in done.stderr.splitlines() if "The window" in line)
    assert "not installed here: a Qt binding" in said
    assert 'pip install "napari-mlbseg[pyqt6]"' in said


def test_a_call_to_the_network_is_told() -> None:
    quietly = """
try:
    socket.create_connection(("127.0.0.1", 1))
except OSError:
    pass
"""
    done = run_blocked(quietly)
    assert done.returncode != 0
    assert "create_connection" in done.stderr

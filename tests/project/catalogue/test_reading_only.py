import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.adding import rebuild_arrays
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

KEY = SliceKey("a", 0, 0)
MUTATIONS: dict[str, Callable[[Study], object]] = {
    "set_classes": lambda s: s.set_classes([LabelClass(1, "liver", (200, 30, 30))]),
    "add_cases": lambda s: s.add_cases([]),
    "set_axis": lambda s: s.set_axis("a", 1),
    "save_slice": lambda s: s.save_slice(
        SliceKey("a", 0, 0), np.ones((7, 8), np.uint8), SliceState.DRAFT
    ),
    "set_state": lambda s: s.slices.set_state(KEY, SliceState.SKIPPED),
    "create_array": lambda s: s.arrays.create("a", ArrayName.PREDICTION),
    "write_slices": lambda s: s.arrays.write(
        "a", ArrayName.IMAGE, 0, 0, np.zeros((1, 7, 8), np.int16)
    ),
    "rebuild_arrays": lambda s: rebuild_arrays(s.cases, s.arrays),
    "start_run": lambda s: s.runs.start({}, seed=0, device="cpu"),
    "log_metrics": lambda s: s.runs.log(1, 1, {"loss": 1.0}),
    "finish_run": lambda s: s.runs.finish(1, outcome="x"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_reader_changes_nothing(study: Study, name: str) -> None:
    study.close()
    before = _bytes_in(study.path)
    with Study.open(study.path, writable=False) as reader:
        assert not reader.writable
        assert reader.arrays.read("a", ArrayName.IMAGE, 0, 0).shape == (7, 8)
        with pytest.raises(UserError, match="reading only"):
            MUTATIONS[name](reader)
    assert _bytes_in(study.path) == before


def test_sqlite_itself_refuses_a_reader(study: Study) -> None:
    with (
        Study.open(study.path, writable=False) as reader,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        reader._database._connection.execute("DELETE FROM classes")


def _bytes_in(folder: Path) -> dict[Path, bytes]:
    """Contents of all files but those by which SQLite's readers and writers find each other."""
    files = (p for p in folder.rglob("*") if p.is_file() and p.suffix not in {".sqlite-shm"})
    contents = {p: p.read_bytes() for p in files}
    return {p: c for p, c in contents.items() if c or p.suffix != ".sqlite-wal"}


READ_WITHOUT_RIGHTS = """
import os, sys
from pathlib import Path
from napari_mlbseg.project.study import Study

if os.geteuid() == 0:
    os.setuid(65534)  # the superuser may write anywhere
try:
    (Path(sys.argv[1]) / "new").touch()
except PermissionError:
    with Study.open(Path(sys.argv[1]), writable=False) as study:
        print([case.id for case in study.cases], flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs POSIX permissions")
def test_a_study_on_a_read_only_disk_opens_for_reading(
    study: Study, other_process: Callable[..., subprocess.Popen[str]]
) -> None:
    study.close()
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(shutil.copytree(study.path, Path(parent) / "s.mlbseg"))
        Path(parent).chmod(0o755)
        for path in (folder, *folder.rglob("*")):  # it is shared: others may read it
            path.chmod(0o555)
        out, _ = other_process(READ_WITHOUT_RIGHTS, folder).communicate(timeout=600)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)
    assert out == "['a']\n"

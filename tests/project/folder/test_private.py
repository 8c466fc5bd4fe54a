"""Only their owner may look into a study, whatever the user's umask."""

import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.folder.durable import new_file
from napari_mlbseg.project.folder.user_folder import user_folder
from napari_mlbseg.project.records.cases import NewCase
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")


@pytest.fixture(params=[0o000, 0o022])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_folders_are_0700_and_files_0600(tmp_path: Path, make_case: Callable[..., NewCase]) -> None:
    with Study.create(tmp_path / "private.mlbseg") as study:
        study.add_cases([make_case(labels=True)])
        study.save_slice(SliceKey("a", 0, 1), np.ones((7, 8), np.uint8), SliceState.CLEAN)
        study.arrays.create("a", ArrayName.PREDICTION)
        study.arrays.write("a", ArrayName.PREDICTION, 0, 1, np.ones((1, 7, 8), np.uint8))
        study.back_up()
        files = [path for path in study.path.rglob("*") if path.is_file()]
        assert {"catalogue.sqlite-wal", "writer.json", "writer.lock", "changes.count"} <= {
            path.name for path in files
        }
        assert {path.name: mode(path) for path in files} == {path.name: 0o600 for path in files}
        for folder in ("", "arrays", "arrays/a", "backups"):
            assert mode(study.path / folder) == 0o700, folder


@pytest.mark.usefixtures("umask")
def test_checkpoints_and_rescue_files_are_private(tmp_path: Path) -> None:
    with new_file(tmp_path / "latest.pt") as file:
        file.write(b"parameters")
    assert mode(tmp_path / "latest.pt") == 0o600


@pytest.mark.usefixtures("umask")
def test_nobody_else_looks_into_the_folder_of_a_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where somebody was in a study lies there, with the names of its cases.
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    assert mode(user_folder()) == 0o700
    user_folder().chmod(0o755)  # as earlier versions made it
    assert mode(user_folder()) == 0o700


def test_a_folder_of_a_user_that_cannot_be_made_is_named_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").write_text("a file")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    assert user_folder() == tmp_path / "home" / "napari-mlbseg"

import getpass
import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.folder.lock import StudyLocked, WriterLock
from napari_mlbseg.project.folder.place import Place
from napari_mlbseg.project.study import Study

HOLD = """
import sys
from pathlib import Path
from napari_mlbseg.project.study import Study

study = Study.open(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
study.close()
"""


@pytest.fixture
def held(
    study: Study, other_process: Callable[..., subprocess.Popen[str]]
) -> subprocess.Popen[str]:
    """A process that has the study open for writing."""
    study.close()
    process = other_process(HOLD, study.path)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_a_second_writer_is_told_who_has_the_study(
    study: Study, held: subprocess.Popen[str]
) -> None:
    with pytest.raises(StudyLocked) as caught:
        Study.open(study.path)
    message = str(caught.value)
    assert getpass.getuser() in message
    assert socket.gethostname() in message
    assert f"process {held.pid}" in message
    assert "reading only" in message
    assert caught.value.holder is not None
    assert caught.value.holder.pid == held.pid
    assert isinstance(caught.value, UserError)
    with Study.open(study.path, writable=False) as reader:
        assert [case.id for case in reader.cases] == ["a"]


def test_the_lock_ends_with_the_study(study: Study, held: subprocess.Popen[str]) -> None:
    held.communicate(timeout=600)
    assert not (study.path / "writer.json").exists()
    Study.open(study.path).close()


def test_the_lock_ends_with_a_killed_process(study: Study, held: subprocess.Popen[str]) -> None:
    held.kill()
    held.wait(timeout=600)
    assert (study.path / "writer.json").exists()
    with Study.open(study.path), pytest.raises(StudyLocked, match=f"process {os.getpid()}"):
        Study.open(study.path)


def test_one_process_cannot_write_twice(study: Study) -> None:
    with pytest.raises(StudyLocked, match=f"process {os.getpid()}"):
        Study.open(study.path)
    study.close()
    study.close()
    Study.open(study.path).close()


def test_any_thread_may_close(study: Study) -> None:
    thread = threading.Thread(target=study.close)
    thread.start()
    thread.join()
    Study.open(study.path).close()


def test_a_lock_without_a_name_is_still_a_lock(study: Study) -> None:
    (study.path / "writer.json").write_text("{", encoding="utf-8")
    with pytest.raises(StudyLocked, match="by another process") as caught:
        Study.open(study.path)
    assert caught.value.holder is None


@pytest.mark.parametrize("since", ["yesterday", 5, None])
def test_a_holder_from_somewhere_else_is_still_a_lock(study: Study, since: object) -> None:
    told = {"user": "eve", "host": "x", "pid": 1, "since": since}
    (study.path / "writer.json").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(StudyLocked, match="by another process"):
        Study.open(study.path)


def test_a_folder_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "writer.json").mkdir()
    lock = WriterLock(Place(tmp_path))
    with pytest.raises(UserError, match="cannot be opened for writing"):
        lock.acquire()
    (tmp_path / "writer.json").rmdir()
    other = WriterLock(Place(tmp_path))
    other.acquire()
    other.release()

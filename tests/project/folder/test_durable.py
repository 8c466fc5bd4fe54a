"""Files that are on the disk as a whole, or not there."""

import os
from pathlib import Path

import pytest

from napari_mlbseg.project.folder.durable import new_file


def test_a_new_file_is_on_the_disk_when_its_block_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flushed = tmp_path / "a.new", []

    def fsync(number: int) -> None:
        flushed.append((os.fstat(number).st_ino, path.read_bytes()))

    monkeypatch.setattr(os, "fsync", fsync)
    with new_file(path) as file:
        file.write(b"whole")
        inode = os.fstat(file.fileno()).st_ino
        assert flushed == []
    assert flushed == [(inode, b"whole")]
    assert path.read_bytes() == b"whole"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_is_left_where_a_new_file_could_not_be_filled(
    tmp_path: Path, error: BaseException
) -> None:
    def fill() -> None:
        with new_file(tmp_path / "a.new") as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_where_the_disk_does_not_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), new_file(tmp_path / "a.new") as file:
        file.write(b"whole")
    assert list(tmp_path.iterdir()) == []

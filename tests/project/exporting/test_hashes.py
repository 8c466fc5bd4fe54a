"""Hashes of sources, whoever made the study that names them."""

import hashlib
import os
import socket
from pathlib import Path

import pytest

from napari_mlbseg.project.exporting import hashes
from napari_mlbseg.project.exporting.hashes import NotHashed, sha256_of, source_hash


@pytest.fixture
def series(tmp_path: Path) -> Path:
    folder = tmp_path / "series"
    (folder / "inner").mkdir(parents=True)
    for name in ("1.dcm", "2.dcm", "inner/3.dcm"):
        (folder / name).write_bytes(name.encode())
    return folder


def test_a_file_and_a_folder_are_hashed_as_what_is_exported(series: Path) -> None:
    file = series / "1.dcm"
    assert source_hash(file).sha256 == hashlib.sha256(b"1.dcm").hexdigest()
    assert source_hash(series).sha256 == sha256_of(series)
    names = ["2.dcm", "1.dcm", "1.dcm"]
    assert source_hash(series, names).sha256 == sha256_of(series, ["1.dcm", "2.dcm"])
    assert source_hash(file, names).sha256 == sha256_of(file)
    assert {source_hash(path).problem for path in (file, series)} == {None}


def test_a_link_to_a_file_is_that_file(series: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(series / "1.dcm")
    assert source_hash(tmp_path / "link").sha256 == sha256_of(series / "1.dcm")


def test_what_is_gone_is_told(series: Path, tmp_path: Path) -> None:
    for path, names in (
        (tmp_path / "nowhere", None),
        (series / "1.dcm" / "x", None),
        (series, ["1.dcm", "gone.dcm"]),
    ):
        assert source_hash(path, names).sha256 is None
        assert source_hash(path, names).problem is NotHashed.ABSENT


def test_a_path_that_cannot_be_is_told() -> None:
    assert source_hash(Path("nul\x00 byte")).problem is NotHashed.UNREADABLE


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes that are files")
def test_only_ordinary_files_are_read(series: Path, tmp_path: Path) -> None:
    os.mkfifo(series / "pipe")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/zero")):
        assert source_hash(path).sha256 is None
        assert source_hash(path).problem is NotHashed.STRANGE
    assert source_hash(series, ["1.dcm", "pipe"]).problem is NotHashed.STRANGE
    # A pipe that lies in a folder of which all belongs to the case is no part of it.
    assert source_hash(series).sha256 == sha256_of(series, ["1.dcm", "2.dcm", "inner/3.dcm"])


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs sockets that are files")
def test_a_socket_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket")
        assert source_hash(tmp_path / "socket").problem is NotHashed.STRANGE


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "..", "", "inner/../../secret"])
def test_nothing_beside_a_folder_is_read(series: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("secret")
    found = source_hash(series, ["1.dcm", name])
    assert (found.sha256, found.problem) == (None, NotHashed.ELSEWHERE)


def test_what_is_too_large_is_not_begun(
    series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vast = tmp_path / "vast"
    with vast.open("wb") as file:  # takes no room on the disk
        file.truncate(hashes.MOST_BYTES + 1)
    monkeypatch.setattr(hashes, "_blocks", None)  # which is called with the first byte
    assert source_hash(vast).problem is NotHashed.TOO_LARGE
    (series / "vast").symlink_to(vast)
    assert source_hash(series).problem is NotHashed.TOO_LARGE


def test_a_folder_of_too_many_files_is_not_gone_through(
    series: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes, "MOST_FILES", 4)  # three files and a folder
    assert source_hash(series).problem is None
    monkeypatch.setattr(hashes, "MOST_FILES", 3)
    assert source_hash(series).problem is NotHashed.TOO_LARGE


def test_no_file_is_read_beyond_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"12345")
    with file.open("ab") as growing:
        found = hashes._blocks(file, 5)
        growing.write(b"678")
        growing.flush()
        assert b"".join(found) == b"12345"

"""Sending to an archive, which may lose, change or refuse what it gets."""

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from archive import Archive, running
from command_line import Mlbseg
from dicom_files import lps_of, voxels, write_series

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.dicom_out.dicomweb import push, require_archive
from napari_mlbseg.project.importing.classes import named
from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

pytest.importorskip("dicomweb_client", reason="sending needs the extra dicomweb")


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    (tmp_path / "archive").mkdir()
    with running(tmp_path / "archive") as made:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made.certificate))
        monkeypatch.setenv("NETRC", str(tmp_path / "none"))
        yield made


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_series(tmp_path / "in" / "scan", voxels((12, 10, 7)), lps_of())
    with Study.create(tmp_path / "s.mlbseg") as made:
        import_folder(made, tmp_path / "in")
        made.set_classes(named("organ"))
        mask = np.ones(made.case("scan").slice_shape(0), np.uint8)
        made.save_slice(SliceKey("scan", 0, 3), mask, SliceState.CLEAN)
        return made.path


@pytest.mark.parametrize("form", ["dicom-seg", "dicom-labelmap", "rtstruct"])
def test_what_is_sent_arrives_and_is_compared(
    study: Path, tmp_path: Path, archive: Archive, mlbseg: Mlbseg, form: str
) -> None:
    arguments = ("--format", form, "--dicomweb", archive.url, "--json")
    told = json.loads(mlbseg("export", study, tmp_path / "out", *arguments).stdout)
    [path], [uid] = told["files"], told["arrived"]
    there = pydicom.dcmread(BytesIO(archive.stored[uid]))
    assert there == pydicom.dcmread(path)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("loses", "status 404"),
        ("changes", "PixelData differ"),
        ("refuses", "reason A700"),
        ("forbids", "status 401"),
    ],
)
def test_what_does_not_arrive_is_told(
    study: Path, tmp_path: Path, archive: Archive, mlbseg: Mlbseg, fault: str, says: str
) -> None:
    archive.fault = fault
    told = mlbseg("export", study, tmp_path / "out", "--dicomweb", archive.url, code=1)
    assert says in told.stderr
    assert (tmp_path / "out" / "scan_seg.dcm").is_file()


def test_a_certificate_that_nobody_vouches_for(
    study: Path, tmp_path: Path, archive: Archive, mlbseg: Mlbseg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    told = mlbseg("export", study, tmp_path / "out", "--dicomweb", archive.url, code=1)
    assert "is not trusted" in told.stderr
    assert archive.stored == {}


def test_nobody_there(study: Path, tmp_path: Path, mlbseg: Mlbseg) -> None:
    [file] = map(Path, json.loads(mlbseg("export", study, tmp_path, "--json").stdout)["files"])
    with pytest.raises(UserError, match="cannot be reached"):
        push([file], "https://127.0.0.1:1/dicom-web")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://archive.example/dicom-web", "not encrypted"),
        ("https://ada:secret@archive.example", "netrc"),
        ("archive", "is no address"),
        ("ftp://archive.example", "is no address"),
        ("https://[", "is no address"),
    ],
)
def test_addresses_that_are_not_sent_to(url: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        require_archive(url)
    require_archive("http://127.0.0.1:8042/dicom-web")


def test_only_dicom_is_sent_and_nothing_is_written_before(
    study: Path, tmp_path: Path, mlbseg: Mlbseg
) -> None:
    arguments = ("--format", "nifti", "--dicomweb", "https://archive.example")
    told = mlbseg("export", study, tmp_path / "out", *arguments, code=1)
    assert "An archive takes DICOM" in told.stderr
    assert not (tmp_path / "out").exists()

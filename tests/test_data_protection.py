"""What docs/data-protection.md says of places and names, against what is on the disk."""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from small_study import Phantoms, make_phantoms

from napari_mlbseg.project.exporting.export import ExportKind, OutFormat, export_study
from napari_mlbseg.project.folder.lock import current_user
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.rescue import Rescue
from napari_mlbseg.project.rescue_files import new_rescue_path, rescue_folder, write_rescue
from napari_mlbseg.project.study import Study

DOCUMENT = (Path(__file__).parents[1] / "docs" / "data-protection.md").read_text(encoding="utf-8")
PLACES = set(re.findall(r"`(?:NAME\.mlbseg/)?([\w.-]+)/?`", DOCUMENT))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def corrected(tmp_path: Path) -> Phantoms:
    phantoms = make_phantoms(tmp_path / "secret-study.mlbseg", rough=True)
    phantoms.accept("phantom0", 5)
    phantoms.study.back_up()
    return phantoms


def test_every_place_in_a_study_is_in_the_document(corrected: Phantoms) -> None:
    corrected.study.checkpoint_path.parent.mkdir(exist_ok=True)
    names = (path.name for path in corrected.study.path.iterdir())
    found = {name.replace("catalogue.sqlite-", "-") for name in names}
    assert {"arrays", "backups", "-wal", "writer.json", "changes.count"} <= found
    assert found <= PLACES


def test_a_closed_study_does_not_say_who_has_it(corrected: Phantoms) -> None:
    holder = json.loads((corrected.study.path / "writer.json").read_text())
    assert set(holder) == {"user", "host", "pid", "since"}
    corrected.study.close()
    assert not (corrected.study.path / "writer.json").exists()


def test_only_the_folders_of_the_document_are_in_that_of_a_user(
    corrected: Phantoms, home: Path
) -> None:
    key = SliceKey("phantom0", 0, 3)
    rescue = Rescue.of(corrected.study, {key: np.ones((40, 36), np.uint8)})
    write_rescue(new_rescue_path(rescue_folder(), corrected.study), rescue)
    made = {path.name for path in (home / "napari-mlbseg").iterdir()}
    assert made == {"rescue"}
    assert made <= PLACES


def texts(study: Study) -> Iterator[tuple[str, str]]:
    """Every text in the catalogue, with its table."""
    with closing(sqlite3.connect(study.path / "catalogue.sqlite")) as catalogue:
        tables = catalogue.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for row in catalogue.execute(f"SELECT * FROM {table}"):
                yield from ((table, value) for value in row if isinstance(value, str))


def test_the_log_tells_what_the_document_says(corrected: Phantoms) -> None:
    corrected.study.close()
    with closing(sqlite3.connect(corrected.study.path / "catalogue.sqlite")) as catalogue:
        lines = catalogue.execute("SELECT DISTINCT action FROM audit").fetchall()
        (author,) = catalogue.execute("SELECT DISTINCT author FROM revisions").fetchone()
    assert {action for (action,) in lines} == {
        "create study",
        "set classes",
        "add case",
        "save slice",
    }
    assert author == current_user()
    with_paths = {table for table, text in texts(corrected.study) if "/phantom0.nii.gz" in text}
    assert with_paths == {"cases", "audit"}


def test_provenance_names_no_folder_and_no_computer(corrected: Phantoms, tmp_path: Path) -> None:
    export_study(corrected.study, tmp_path / "out", ExportKind.LABELS, form=OutFormat.NRRD)
    holder = json.loads((corrected.study.path / "writer.json").read_text())
    provenance = sorted((tmp_path / "out").glob("*.provenance.json"))
    assert len(provenance) == 2
    for path in provenance:
        document = json.loads(path.read_text())
        assert document["exported_by"] == current_user()
        assert str(tmp_path) not in path.read_text()
        assert f'"{holder["host"]}"' not in path.read_text()

"""Studies that somebody made to do harm: nothing outside is read or written, nothing explodes."""

import json
import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.catalogue import schema
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

KEY = SliceKey("a", 0, 1)
GEOMETRY = {
    "file_shape": [8, 7, 6],
    "affine": np.diag([-1.0, -1.0, 3.0, 1.0]).tolist(),
    "file_axes": [2, 1, 0],
    "flipped": [False, False, False],
}


@pytest.fixture
def made(study: Study) -> Path:
    """The folder of a closed study with a prediction and a clean slice."""
    study.arrays.create("a", ArrayName.PREDICTION, [(0, np.ones((6, 7, 8), np.uint8))])
    study.save_slice(KEY, np.ones((7, 8), np.uint8), SliceState.CLEAN)
    study.close()
    return study.path


# Whoever changes a study leaves the hashes out, or makes some that fit.
WITHOUT_HASHES = (
    "DROP TRIGGER IF EXISTS revisions_no_update",
    "UPDATE revisions SET sha256 = NULL, mask_sha256 = NULL",
    "UPDATE cases SET sha256 = NULL",
    "DROP TRIGGER IF EXISTS audit_no_update",
    "UPDATE audit SET sha256 = NULL",
    "UPDATE runs SET sha256 = NULL",
)


def tamper(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "catalogue.sqlite", isolation_level=None)) as connection:
        for statement in (*WITHOUT_HASHES, *statements):
            connection.execute(statement)


def use(study: Study) -> None:
    """Read all that a study holds, and write what a person and the engine write."""
    for case in study.cases:
        for name in ArrayName:
            if study.arrays.exists(case.id, name):
                assert np.asarray(study.arrays.open(case.id, name)[:]).shape == (6, 7, 8)
        study.labels.working(case.id)
    for record in study.slices.records():
        if record.has_mask:
            study.slices.mask(record.key)
    for _ in (study.classes, study.log.entries(), study.runs.all(), study.slices.clean()):
        pass
    if study.writable:
        study.arrays.write("a", ArrayName.PREDICTION, 0, 0, np.ones((1, 7, 8), np.uint8))
        study.arrays.create("a", ArrayName.PROPOSED_LABELS)
        study.save_slice(KEY, np.ones((7, 8), np.uint8), SliceState.DRAFT)


def refused(folder: Path, text: str) -> None:
    """Whether opening or using the study ends in a UserError that holds `text`."""

    def opened_and_used(writable: bool) -> None:
        with Study.open(folder, writable=writable) as study:
            use(study)

    for writable in (False, True):
        with pytest.raises(UserError, match=text):
            opened_and_used(writable)


def passed_over(folder: Path, text: str) -> None:
    """Whether the study works but for the one slice, and tells of damage with this `text`."""
    for writable in (False, True):
        with Study.open(folder, writable=writable) as study:
            assert study.slices.records() == ()
            [told] = study.slices.damaged()
            assert re.search(text, str(told)), told
            assert study.damage() == (str(told),)
            use(study)


def test_a_sound_study_can_be_used(made: Path) -> None:
    with Study.open(made) as study:
        use(study)
        assert study.damage() == ()


@pytest.mark.parametrize("name", ["../../x", "/x", "", ".", "..", "a/b", "a\\b", "a/../../x"])
def test_case_ids_lead_nowhere_else(made: Path, name: str) -> None:
    tamper(made, f"UPDATE cases SET id = '{name}'")
    refused(made, "not a valid name")
    tamper(made, "UPDATE cases SET id = 'a'")
    tamper(made, f"UPDATE revisions SET case_id = '{name}'")
    tamper(made, "UPDATE audit SET action = 'nothing'")
    passed_over(made, "unknown slice is damaged .*no case of it")
    before = sorted(made.parent.rglob("*"))
    with Study.open(made) as study:
        for act in (
            lambda: study.arrays.create(name, ArrayName.PREDICTION),
            lambda: study.arrays.remove(name, ArrayName.PREDICTION),
            lambda: study.arrays.discard(name),
            lambda: study.arrays.has(name, ArrayName.PREDICTION),
        ):
            with pytest.raises(UserError):
                act()
        after = {
            p
            for p in made.parent.rglob("*")
            if not p.name.startswith(("writer", "catal", "changes"))
        }
    assert after <= set(before)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON revisions BEGIN DELETE FROM classes; END",
        "CREATE TRIGGER masks_no_update2 BEFORE UPDATE ON masks BEGIN SELECT 1; END",
        "CREATE VIEW v AS SELECT * FROM cases",
        "CREATE INDEX i ON revisions (abs(slice))",
        "CREATE VIRTUAL TABLE f USING fts5(x)",
        "ALTER TABLE classes ADD COLUMN more AS (abs(red))",
    ],
)
def test_what_acts_by_itself_is_refused(made: Path, statement: str) -> None:
    tamper(made, statement)
    refused(made, "holds objects that this program does not make")


def test_a_known_trigger_with_other_words_is_refused(made: Path) -> None:
    tamper(
        made,
        "DROP TRIGGER masks_no_update",
        "CREATE TRIGGER masks_no_update BEFORE UPDATE ON masks BEGIN DELETE FROM classes; END",
    )
    refused(made, "trigger masks_no_update")


def test_a_trigger_that_is_called_a_table_is_refused(made: Path) -> None:
    sql = "CREATE TRIGGER t AFTER INSERT ON revisions BEGIN DELETE FROM classes; END"
    tamper(
        made,
        "PRAGMA writable_schema = ON",
        f"INSERT INTO sqlite_master VALUES ('table', 't', 'revisions', 0, '{sql}')",
    )
    with pytest.raises(UserError):
        Study.open(made)


def test_tables_of_others_and_statistics_do_no_harm(made: Path) -> None:
    tamper(made, "CREATE TABLE notes (text TEXT)", "ANALYZE")
    with Study.open(made) as study:
        use(study)


@pytest.mark.parametrize("version", range(1, len(schema.MIGRATIONS) + 1))
def test_every_version_knows_its_own_schema(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        with monkeypatch.context() as then:
            then.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:version])
            schema.migrate(connection)
        assert schema.strangers_in(connection) == []


def test_sqlite_is_told_to_trust_nothing(study: Study) -> None:
    for pragma, value in {"trusted_schema": 0, "cell_size_check": 1}.items():
        assert study._database.rows(f"PRAGMA {pragma}") == [(value,)]
    connection = study._database._connection
    assert connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) == 1 << 28
    assert connection.getlimit(sqlite3.SQLITE_LIMIT_ATTACHED) == 0
    with pytest.raises(UserError, match="cannot hold so much data"):
        study._database.rows("SELECT zeroblob(1 << 29)")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("geometry", "{}"),
        ("geometry", "[" * 100_000),
        ("geometry", "null"),
        ("geometry", json.dumps(GEOMETRY | {"file_shape": [10**9, 10**9, 10**9]})),
        ("geometry", json.dumps(GEOMETRY | {"file_shape": [1, 1 << 17, 1 << 17]})),
        ("geometry", json.dumps(GEOMETRY | {"file_shape": [float("inf"), 7, 6]})),
        ("geometry", json.dumps(GEOMETRY | {"file_shape": [8, 7, 0]})),
        ("geometry", json.dumps(GEOMETRY | {"file_shape": [8, 7, 6, 5]})),
        ("geometry", json.dumps(GEOMETRY | {"file_axes": [0, 0, 1]})),
        ("geometry", json.dumps(GEOMETRY | {"affine": [[1, 2], [3, 4]]})),
        ("geometry", json.dumps(GEOMETRY | {"affine": [[float("nan")] * 4] * 4})),
        ("intensity", "{}"),
        ("intensity", '{"low": 0, "high": 1, "mean": 0, "std": 0}'),
        ("intensity", '{"low": 0, "high": NaN, "mean": 0, "std": 1}'),
        ("source_choice", '{"who": 1}'),
        ("image_path", "nul\x00 byte"),
    ],
)
def test_a_case_that_cannot_be_is_explained(made: Path, column: str, value: Any) -> None:
    tamper(made, f"UPDATE cases SET {column} = '{value}'".replace("\x00", "' || char(0) || '"))
    if column == "image_path":  # a path like any other until it is opened
        with Study.open(made) as study:
            use(study)
    else:
        refused(made, "does not describe the case 'a'")


@pytest.mark.parametrize(
    "place", ["axis = 1, slice = 7", "slice = 6", "slice = 10000000000", "slice = 'x'"]
)
def test_a_slice_that_its_case_does_not_have_is_explained(made: Path, place: str) -> None:
    tamper(
        made,
        "PRAGMA ignore_check_constraints = ON",
        f"UPDATE revisions SET {place}",
    )
    passed_over(made, "slice 1 along axis 0 of a is damaged .*names slice")


@pytest.mark.parametrize(
    "change", ["data = zeroblob(9)", "rows = 9999, columns = 9999", "dtype = '|O'", "data = 'text'"]
)
def test_a_mask_of_another_size_is_explained(made: Path, change: Any) -> None:
    tamper(made, "DROP TRIGGER masks_no_update", f"UPDATE masks SET {change}")
    passed_over(made, "slice 1 along axis 0 of a is damaged .*mask is damaged")


@pytest.mark.parametrize("table", ["audit", "runs"])
def test_lines_that_cannot_be_are_left_out(made: Path, table: str) -> None:
    values = {
        "audit": "(created_at, author, action, details) VALUES ('then', 'x', 'y', '{}')",
        "runs": "(author, started_at, config, seed, device) VALUES ('x', 'then', '{}', 0, '')",
    }
    with Study.open(made, writable=False) as study:
        before = study.log.entries(), study.runs.all()
    tamper(made, f"INSERT INTO {table} {values[table]}")
    with Study.open(made, writable=False) as study:
        assert (study.log.entries(), study.runs.all()) == before
        [told] = study.log.damaged() + study.runs.damaged()
        assert "does not describe" in told
        use(study)


def test_a_class_that_cannot_be_is_explained(made: Path) -> None:
    tamper(
        made,
        "INSERT INTO classes (value, name, red, green, blue) VALUES (1, 'x', 'red', 0, 0)",
    )
    refused(made, "does not describe")


def test_pieces_that_are_no_number_are_explained(made: Path) -> None:
    tamper(
        made,
        "INSERT INTO classes (value, name, red, green, blue, most_pieces) "
        "VALUES (9, 'x', 0, 0, 0, 'many')",
    )
    refused(made, "does not describe a class")


LINKS = [
    "catalogue.sqlite",
    "catalogue.sqlite-wal",
    "writer.lock",
    "writer.json",
    "arrays",
    "arrays/a",
    "arrays/a/prediction.zarr",
    "arrays/a/prediction.zarr/zarr.json",
    "arrays/a/prediction.zarr/c",
    "arrays/a/prediction.zarr/c/0/0",
    "arrays/a/prediction.zarr/c/0/0/0",
    "checkpoints",
    "checkpoints/latest.pt",
    "checkpoints/latest.unfinished",
]


@pytest.mark.parametrize("name", LINKS)
def test_no_link_is_followed(made: Path, tmp_path: Path, name: str) -> None:
    outside, inside = tmp_path / "outside", made / name
    (made / "checkpoints").mkdir()
    for file in ("latest.pt", "latest.unfinished"):
        (made / "checkpoints" / file).write_bytes(b"checkpoint")
    if not inside.exists():
        inside.write_bytes(b"")
    shutil.move(inside, outside)
    os.symlink(outside, inside)
    if outside.is_file():
        before = outside.read_bytes()
        refused_or_untouched(made)
        assert outside.read_bytes() == before
    else:
        kept = {p: p.read_bytes() for p in outside.rglob("*") if p.is_file()}
        refused(made, "is a link")
        assert {p: p.read_bytes() for p in outside.rglob("*") if p.is_file()} == kept


def refused_or_untouched(folder: Path) -> None:
    with pytest.raises(UserError, match="is a link"), Study.open(folder) as study:
        use(study)


def test_a_leftover_that_is_a_link_is_not_written_through(made: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    os.symlink(precious, made / "writer.json.new")
    os.symlink(tmp_path, made / "arrays" / "a" / "proposed_labels.new")
    os.symlink(tmp_path, made / "arrays" / "b")
    with Study.open(made) as study:
        use(study)
    assert precious.read_text() == "precious"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes that are files")
@pytest.mark.parametrize("name", ["zarr.json", "c/0/0/0"])
def test_a_pipe_is_not_waited_for(made: Path, name: str) -> None:
    file = made / "arrays" / "a" / "prediction.zarr" / name
    file.unlink()
    os.mkfifo(file)
    if name == "zarr.json":
        with Study.open(made) as study:
            assert not study.arrays.has("a", ArrayName.PREDICTION)
            with pytest.raises(UserError, match="neither a file nor a folder"):
                study.arrays.open("a", ArrayName.PREDICTION)
    else:
        refused(made, "neither a file nor a folder")


def change_metadata(folder: Path, change: dict[str, object]) -> None:
    file = folder / "arrays" / "a" / "prediction.zarr" / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))


BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


def grid(*chunk: float) -> dict[str, object]:
    return {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}}}


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [6, 200_000, 200_000]},
        {"shape": [6, 7]},
        grid(40_000, 40_000, 40_000),
        grid(1, 7, 10**12),
        grid(0, 7, 8),
        grid(float("inf"), 7, 8),
        grid(6, 7),
        {"data_type": "float64"},
        {"data_type": "string"},
        {"data_type": {"name": "numpy.datetime64", "configuration": {"unit": "s"}}},
        {"codecs": [BYTES, {"name": "gzip", "configuration": {"level": 1}}]},
        {"codecs": [BYTES]},
        {"codecs": "blosc"},
        {"storage_transformers": [{"name": "x"}]},
        {"attributes": {"x": "y" * (1 << 20)}},
        {"chunk_grid": None},
    ],
)
def test_arrays_that_no_study_makes_are_refused(made: Path, change: Any) -> None:
    change_metadata(made, change)
    refused(made, "prediction.zarr is damaged")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(8),
        # a header of Blosc that asks for two gigabytes, and one that is longer than the file
        bytes([2, 1, 1, 1]) + (0x7FFFFFFF).to_bytes(4, "little") * 3 + bytes(100),
        bytes([2, 1, 1, 1]) + b"".join(n.to_bytes(4, "little") for n in (56, 56, 9999)),
        bytes(1 << 27),
    ],
)
def test_chunks_that_ask_for_more_than_a_chunk_are_refused(made: Path, content: bytes) -> None:
    (made / "arrays" / "a" / "prediction.zarr" / "c" / "0" / "0" / "0").write_bytes(content)
    refused(made, "prediction.zarr is damaged")

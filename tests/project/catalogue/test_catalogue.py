import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from older_study import made_older

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.catalogue import database, schema
from napari_mlbseg.project.catalogue.complaints import explained
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.extents import Extent
from napari_mlbseg.project.records.slices import SliceKey, SliceRecord, SliceState
from napari_mlbseg.project.study import Study

KEY = SliceKey("a", 0, 0)


def mask_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 255, (7, 8)).astype(np.uint8)


@pytest.fixture
def catalogue(study: Study) -> Path:
    """The file of a closed study with a few saved slices and one extent."""
    study.set_classes([LabelClass(1, "organ", (1, 2, 3))])
    study.extents.mark("a", 0, 1, Extent(1, 4))
    for index in range(6):
        study.save_slice(SliceKey("a", 0, index), mask_of(index), SliceState.DRAFT)
    study.close()
    return study.path / "catalogue.sqlite"


@pytest.mark.parametrize("table", ["masks", "revisions", "audit", "extents"])
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM {t} WHERE number = 1",
        "UPDATE {t} SET number = 9000 WHERE number = 1",
        "INSERT OR REPLACE INTO {t} SELECT * FROM {t} WHERE number = 1",
    ],
)
def test_history_can_only_grow(catalogue: Path, table: str, statement: str) -> None:
    connection = sqlite3.connect(catalogue)
    with pytest.raises(sqlite3.IntegrityError, match=f"{table} is append-only"):
        connection.execute(statement.format(t=table))
    connection.close()


def test_the_file_is_durable_and_known(study: Study) -> None:
    (mode,) = sqlite_answer(study.path, "PRAGMA journal_mode")
    assert mode == "wal"
    with study._database.transaction() as write:
        assert write.rows("PRAGMA synchronous") == [(2,)]  # FULL: fsync on every commit
        assert write.rows("PRAGMA foreign_keys") == [(1,)]
    assert sqlite_answer(study.path, "PRAGMA user_version") == (len(schema.MIGRATIONS),)


def sqlite_answer(folder: Path, sql: str) -> tuple[int | str, ...]:
    connection = sqlite3.connect(folder / "catalogue.sqlite")
    try:
        found: tuple[int | str, ...] = connection.execute(sql).fetchone()
        return found
    finally:
        connection.close()


@pytest.mark.parametrize("writable", [True, False])
def test_a_newer_catalogue_is_refused(catalogue: Path, writable: bool) -> None:
    _execute(catalogue, f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    with pytest.raises(UserError, match="newer version of napari-mlbseg"):
        Study.open(catalogue.parent, writable=writable)
    # and it was not kept locked
    with pytest.raises(UserError, match="newer version of napari-mlbseg"):
        Study.open(catalogue.parent)


@pytest.mark.parametrize("writable", [True, False])
def test_another_database_is_no_study(tmp_path: Path, writable: bool) -> None:
    folder = tmp_path / "other.mlbseg"
    folder.mkdir()
    _execute(folder / "catalogue.sqlite", "CREATE TABLE birds (name TEXT)")
    with pytest.raises(UserError, match="not a study"):
        Study.open(folder, writable=writable)


def test_an_older_catalogue_is_brought_up_to_date_when_written(
    catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = (*schema.MIGRATIONS, ("ALTER TABLE cases ADD COLUMN note TEXT",))
    monkeypatch.setattr(schema, "MIGRATIONS", newer)
    monkeypatch.setattr(schema, "OLDEST_READABLE", len(newer))
    with pytest.raises(UserError, match="older version"):
        Study.open(catalogue.parent, writable=False)
    with Study.open(catalogue.parent) as study:
        assert study._database.rows("SELECT note FROM cases") == [(None,)]
        assert len(study.slices.records()) == 6
    Study.open(catalogue.parent, writable=False).close()


def test_classes_of_an_older_study_may_have_any_pieces_and_holes(tmp_path: Path) -> None:
    Study.create(tmp_path / "old.mlbseg").close()
    made_older(tmp_path / "old.mlbseg", 2)
    _execute(
        tmp_path / "old.mlbseg" / "catalogue.sqlite",
        "INSERT INTO classes (value, name, red, green, blue) VALUES (3, 'liver', 1, 2, 3)",
    )
    with Study.open(tmp_path / "old.mlbseg", writable=False) as study:
        assert study.classes == (LabelClass(3, "liver", (1, 2, 3)),)
    with Study.open(tmp_path / "old.mlbseg") as study:
        assert study.classes == (LabelClass(3, "liver", (1, 2, 3), most_pieces=None),)
        study.set_classes([replace(study.classes[0], most_pieces=2, no_holes=True)])
    with Study.open(tmp_path / "old.mlbseg", writable=False) as study:
        assert study.classes == (LabelClass(3, "liver", (1, 2, 3), 2, no_holes=True),)


def test_a_failed_migration_changes_nothing(
    catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = schema.MIGRATIONS
    broken = (*released, ("ALTER TABLE cases ADD COLUMN note TEXT", "NO SQL"))
    monkeypatch.setattr(schema, "MIGRATIONS", broken)
    with pytest.raises(UserError):
        Study.open(catalogue.parent)
    monkeypatch.setattr(schema, "MIGRATIONS", released)
    with Study.open(catalogue.parent) as study:
        assert len(study.slices.records()) == 6


@pytest.mark.parametrize("writable", [True, False])
def test_a_file_that_is_no_database_is_explained(catalogue: Path, writable: bool) -> None:
    catalogue.write_bytes(b"no database at all" * 1000)
    with pytest.raises(UserError, match=r"is damaged .*run `mlbseg repair .*cohort\.mlbseg`"):
        Study.open(catalogue.parent, writable=writable)


def test_damage_in_the_middle_is_noticed_before_more_is_written(catalogue: Path) -> None:
    content = bytearray(catalogue.read_bytes())
    content[4096 * 2 :] = bytes(len(content) - 4096 * 2)
    catalogue.write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        Study.open(catalogue.parent)


def test_two_identical_cases_never_reach_the_catalogue(study: Study) -> None:
    case = study.case("a")
    with pytest.raises(UserError, match=r"refused a change .*UNIQUE.* Nothing was changed"):
        study._catalogue.add_cases([case])
    assert len(study.cases) == 1
    assert [entry.action for entry in study.log.entries()].count("add case") == 1


def _execute(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()


def test_a_full_disk_is_told_and_the_next_save_works(study: Study) -> None:
    connection = study._database._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        for number in range(1000):
            study.save_slice(KEY, mask_of(number), SliceState.DRAFT)

    with pytest.raises(UserError, match=r"the disk is full .*Free some space"):
        fill()
    saved = len(study.slices.history(KEY))
    connection.execute("PRAGMA max_page_count = 100000")
    study.save_slice(KEY, mask_of(0), SliceState.CLEAN)
    assert len(study.slices.history(KEY)) == saved + 1


@pytest.fixture
def other(study: Study) -> Iterator[sqlite3.Connection]:
    """Another program, which holds the catalogue until it rolls back."""
    connection = sqlite3.connect(study.path / "catalogue.sqlite", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    yield connection
    connection.close()


def test_a_catalogue_in_use_is_told_and_the_next_save_works(
    study: Study, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.0)
    with pytest.raises(UserError, match=r"in use by another program,.*try again"):
        study.save_slice(KEY, mask_of(0), SliceState.DRAFT)
    other.execute("ROLLBACK")
    study.save_slice(KEY, mask_of(0), SliceState.DRAFT)


def waiting_save(study: Study, pool: ThreadPoolExecutor) -> "Future[SliceRecord]":
    """A save in another thread, which waits for the other program by now."""
    saved = pool.submit(study.save_slice, KEY, np.zeros((7, 8), np.uint8), SliceState.CLEAN)
    lock = study._database._lock
    while lock.acquire(blocking=False):
        lock.release()
    return saved


def test_readers_do_not_wait_for_a_change_that_waits(
    study: Study, other: sqlite3.Connection
) -> None:
    with ThreadPoolExecutor(1) as pool:
        saved = waiting_save(study, pool)
        assert study.slices.clean() == ()
        assert [case.id for case in study.cases] == ["a"]
        assert not saved.done()
        other.execute("ROLLBACK")
        assert saved.result().state is SliceState.CLEAN
    assert study.slices.clean() == (KEY,)


def test_closing_gives_up_a_change_that_waits(study: Study, other: sqlite3.Connection) -> None:
    with ThreadPoolExecutor(1) as pool:
        saved = waiting_save(study, pool)
        study.close()
        with pytest.raises(UserError, match=r"in use by another program|no longer open"):
            saved.result()


def test_a_catalogue_that_may_not_be_written_is_told(study: Study) -> None:
    study._database._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(UserError, match="may not be written"):
        study.save_slice(KEY, mask_of(0), SliceState.DRAFT)
    study._database._connection.execute("PRAGMA query_only = OFF")
    study.save_slice(KEY, mask_of(0), SliceState.DRAFT)


def test_a_closed_study_is_told(study: Study) -> None:
    study.close()
    with pytest.raises(UserError, match=r"no longer open .*Open the study again"):
        study.save_slice(KEY, mask_of(0), SliceState.DRAFT)
    with pytest.raises(UserError, match="no longer open"):
        study.slices.records()


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("disk I/O error"),
        sqlite3.InternalError("x"),
        sqlite3.DataError("x"),
        sqlite3.InterfaceError("x"),
        sqlite3.NotSupportedError("x"),
        sqlite3.ProgrammingError("x"),
        sqlite3.Error("x"),
    ],
)
def test_no_error_of_sqlite_arrives_as_it_is(tmp_path: Path, error: sqlite3.Error) -> None:
    def fails() -> None:
        with explained(tmp_path / "catalogue.sqlite"):
            raise error

    with pytest.raises(UserError, match=r"catalogue\.sqlite (could not be|is damaged)") as caught:
        fails()
    assert caught.value.__cause__ is error

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from older_study import NEWEST, made_older

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.catalogue import schema
from napari_mlbseg.project.catalogue.backups import KEPT, backups_in
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study


def accept(study: Study, index: int) -> None:
    study.save_slice(SliceKey("a", 0, index), np.ones((7, 8), np.uint8), SliceState.CLEAN)


def count(path: Path, table: str) -> int:
    """Rows of a table in a backup, read by SQLite alone."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def aged(path: Path, days: int) -> Path:
    """A backup as if it had been made some days ago."""
    at = datetime.now(UTC) - timedelta(days=days)
    return path.replace(path.with_stem(f"{at:%Y%m%d-%H%M%S}"))


def test_a_backup_is_a_whole_catalogue_in_one_file(study: Study) -> None:
    accept(study, 1)
    path = study.back_up()
    accept(study, 2)
    assert path in backups_in(study.path)
    assert count(path, "revisions") == 1
    assert [p.name for p in path.parent.iterdir() if p.suffix != ".sqlite"] == []


def test_before_the_first_change_of_a_day_there_is_a_backup(study: Study) -> None:
    assert backups_in(study.path) == []
    accept(study, 0)  # the day's first change that finds a case
    accept(study, 1)
    [path] = backups_in(study.path)
    assert count(path, "revisions") == 0
    study.close()
    aged(path, days=1)
    with Study.open(study.path) as again:
        assert len(backups_in(study.path)) == 1  # nothing was changed yet
        accept(again, 2)
        accept(again, 3)
    assert [count(path, "revisions") for path in backups_in(study.path)] == [0, 2]


def test_the_last_seven_are_kept(study: Study) -> None:
    for days in range(20, 10, -1):
        aged(study.back_up(), days)
    found = backups_in(study.path)
    assert len(found) == KEPT
    newest = study.back_up()
    assert backups_in(study.path) == [*found[1:], newest]


def test_other_files_among_the_backups_stay(study: Study) -> None:
    study.back_up()
    mine = study.path / "backups" / "before the conference.sqlite"
    mine.write_bytes(b"mine")
    for _ in range(KEPT + 2):
        study.back_up()
    assert mine.read_bytes() == b"mine"


@pytest.mark.parametrize("version", range(1, NEWEST))
def test_an_older_catalogue_is_backed_up_before_it_is_brought_up_to_date(
    study: Study, version: int
) -> None:
    accept(study, 1)
    study.close()
    made_older(study.path, version)
    Study.open(study.path).close()
    [path] = backups_in(study.path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (version,)
    assert count(path, "revisions") == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs POSIX")
def test_without_room_for_a_backup_nothing_is_migrated(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.close()
    made_older(study.path, NEWEST - 1)
    (study.path / "backups").write_bytes(b"in the way")
    with pytest.raises(UserError, match=r"cannot be backed up .*Free some space"):
        Study.open(study.path)
    with closing(sqlite3.connect(study.path / "catalogue.sqlite")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (NEWEST - 1,)
    assert len(schema.MIGRATIONS) == NEWEST


def test_a_backup_that_fails_is_not_in_the_way_of_a_person(
    study: Study, caplog: pytest.LogCaptureFixture
) -> None:
    (study.path / "backups").write_bytes(b"in the way")
    accept(study, 1)
    assert study.slices.clean() == (SliceKey("a", 0, 1),)
    assert "not backed up today" in caplog.text


def test_a_reader_may_back_up_while_somebody_writes(study: Study) -> None:
    with Study.open(study.path, writable=False) as reader:
        accept(study, 1)
        assert count(reader.back_up(), "revisions") == 1


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_only_the_owner_reads_a_backup(study: Study, make_case: Callable[..., Any]) -> None:
    path = study.back_up()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

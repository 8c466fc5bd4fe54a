"""Studies as earlier versions wrote them: every version of the catalogue, made by a script."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from napari_mlbseg.project.catalogue import schema

NEWEST = len(schema.MIGRATIONS)
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid"


def made_older(folder: Path, version: int) -> Path:
    """Give a closed study the catalogue that it would have if an earlier version had written it."""
    file, older = folder / "catalogue.sqlite", folder / "older.sqlite"
    with closing(sqlite3.connect(older, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for statements in schema.MIGRATIONS[:version]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("ATTACH ? AS now", (str(file),))
        for (table,) in connection.execute(_TABLES).fetchall():
            known = connection.execute(f"PRAGMA table_info({table})").fetchall()
            columns = ", ".join(name for _, name, *_ in known)
            connection.execute(
                f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM now.{table}"
            )
    older.replace(file)
    (folder / "changes.count").unlink(missing_ok=True)
    shutil.rmtree(folder / "backups", ignore_errors=True)
    return folder

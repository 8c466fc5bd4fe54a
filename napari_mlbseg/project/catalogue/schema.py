"""The tables of a catalogue, and the migrations from one version to the next."""

import sqlite3
from contextlib import closing
from functools import cache

APPLICATION_ID = 0x6D6C6273  # "mlbs", in the header of the SQLite file

_TABLES = (
    """CREATE TABLE classes (
        value INTEGER PRIMARY KEY CHECK (value BETWEEN 1 AND 254),
        name TEXT NOT NULL UNIQUE,
        red INTEGER NOT NULL, green INTEGER NOT NULL, blue INTEGER NOT NULL
    )""",
    """CREATE TABLE cases (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        image_path TEXT NOT NULL,
        labels_path TEXT,
        source_format TEXT NOT NULL,
        source_header BLOB NOT NULL,
        geometry TEXT NOT NULL,
        intensity TEXT NOT NULL,
        axis INTEGER NOT NULL CHECK (axis BETWEEN 0 AND 2)
    )""",
    """CREATE TABLE masks (
        number INTEGER PRIMARY KEY,
        rows INTEGER NOT NULL, columns INTEGER NOT NULL,
        dtype TEXT NOT NULL,
        data BLOB NOT NULL
    )""",
    """CREATE TABLE revisions (
        number INTEGER PRIMARY KEY,
        case_id TEXT NOT NULL REFERENCES cases (id),
        axis INTEGER NOT NULL CHECK (axis BETWEEN 0 AND 2),
        slice INTEGER NOT NULL CHECK (slice >= 0),
        state TEXT NOT NULL CHECK (state IN ('untouched', 'draft', 'clean', 'skipped')),
        mask INTEGER REFERENCES masks (number),
        author TEXT NOT NULL,
        created_at TEXT NOT NULL,
        CHECK (state NOT IN ('draft', 'clean') OR mask IS NOT NULL)
    )""",
    "CREATE INDEX revisions_by_slice ON revisions (case_id, axis, slice, number)",
    """CREATE TABLE audit (
        number INTEGER PRIMARY KEY,
        created_at TEXT NOT NULL,
        author TEXT NOT NULL,
        action TEXT NOT NULL,
        case_id TEXT,
        details TEXT NOT NULL
    )""",
    """CREATE TABLE runs (
        number INTEGER PRIMARY KEY,
        author TEXT NOT NULL,
        started_at TEXT NOT NULL,
        finished_at TEXT,
        outcome TEXT,
        config TEXT NOT NULL,
        seed INTEGER NOT NULL,
        device TEXT NOT NULL
    )""",
    # SQLite stores a NaN as NULL, so a diverged loss must be allowed to be NULL.
    """CREATE TABLE metrics (
        run INTEGER NOT NULL REFERENCES runs (number),
        name TEXT NOT NULL,
        step INTEGER NOT NULL,
        value REAL,
        PRIMARY KEY (run, name, step)
    ) WITHOUT ROWID""",
)


def _append_only(table: str) -> tuple[str, ...]:
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    return (
        f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}",
        f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}",
        # INSERT OR REPLACE deletes without firing delete triggers.
        f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "
        f"WHEN EXISTS (SELECT 1 FROM {table} WHERE number = NEW.number) {refuse}",
    )


MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (*_TABLES, *_append_only("masks"), *_append_only("revisions"), *_append_only("audit")),
    # The chosen frame or series of the source, as JSON.
    ("ALTER TABLE cases ADD COLUMN source_choice TEXT NOT NULL DEFAULT '{}'",),
    # How many pieces a class has at most (NULL for any number), and whether it has no holes.
    (
        "ALTER TABLE classes ADD COLUMN most_pieces INTEGER CHECK (most_pieces >= 1)",
        "ALTER TABLE classes ADD COLUMN no_holes INTEGER NOT NULL DEFAULT 0 "
        "CHECK (no_holes IN (0, 1))",
    ),
    # The first and the last slice that show a class; both are NULL where no end is marked any more.
    (
        """CREATE TABLE extents (
            number INTEGER PRIMARY KEY,
            case_id TEXT NOT NULL REFERENCES cases (id),
            axis INTEGER NOT NULL CHECK (axis BETWEEN 0 AND 2),
            class INTEGER NOT NULL CHECK (class BETWEEN 1 AND 254),
            first_slice INTEGER CHECK (first_slice >= 0),
            last_slice INTEGER CHECK (last_slice >= 0),
            author TEXT NOT NULL,
            created_at TEXT NOT NULL,
            CHECK (first_slice IS NULL OR last_slice IS NULL OR first_slice <= last_slice)
        )""",
        *_append_only("extents"),
    ),
    # Hashes by which damage is noticed, see hashes.py; rows from before have none.
    (
        "ALTER TABLE revisions ADD COLUMN mask_sha256 BLOB",
        "ALTER TABLE revisions ADD COLUMN sha256 BLOB",
        "ALTER TABLE extents ADD COLUMN sha256 BLOB",
        "ALTER TABLE cases ADD COLUMN sha256 BLOB",
        "ALTER TABLE audit ADD COLUMN sha256 BLOB",
        "ALTER TABLE runs ADD COLUMN sha256 BLOB",
    ),
    # What was changed of a case after its import, see amendments.py, and pixels of one class that
    # count as those of another (0: as background) in all masks up to a number, see moves.py.
    (
        """CREATE TABLE amendments (
            number INTEGER PRIMARY KEY,
            case_id TEXT NOT NULL REFERENCES cases (id),
            name TEXT,
            image_path TEXT,
            labels_path TEXT,
            source_header BLOB,
            source_choice TEXT,
            edition INTEGER NOT NULL CHECK (edition >= 0),
            standing TEXT NOT NULL CHECK (standing IN ('kept', 'removed', 'dropped')),
            author TEXT NOT NULL,
            created_at TEXT NOT NULL,
            sha256 BLOB NOT NULL
        )""",
        "CREATE INDEX amendments_by_case ON amendments (case_id, number)",
        """CREATE TABLE moves (
            number INTEGER PRIMARY KEY,
            class INTEGER NOT NULL CHECK (class BETWEEN 1 AND 254),
            becomes INTEGER NOT NULL CHECK (becomes BETWEEN 0 AND 254 AND becomes <> class),
            masks INTEGER NOT NULL CHECK (masks >= 0),
            author TEXT NOT NULL,
            created_at TEXT NOT NULL,
            sha256 BLOB NOT NULL
        )""",
        *_append_only("amendments"),
        *_append_only("moves"),
    ),
    # The place of a class among the others, as a person put them in order; ties go by value.
    ("ALTER TABLE classes ADD COLUMN place INTEGER NOT NULL DEFAULT 0",),
    # Revisions that stand for several, because copies of the study were united, see unions.py.
    (
        """CREATE TABLE unions (
            number INTEGER PRIMARY KEY,
            revision INTEGER NOT NULL REFERENCES revisions (number),
            case_id TEXT NOT NULL REFERENCES cases (id),
            axis INTEGER NOT NULL CHECK (axis BETWEEN 0 AND 2),
            slice INTEGER NOT NULL CHECK (slice >= 0),
            heads TEXT NOT NULL,
            author TEXT NOT NULL,
            created_at TEXT NOT NULL,
            sha256 BLOB NOT NULL
        )""",
        *_append_only("unions"),
    ),
    # What others said of accepted slices, see reviews.py, and whether only approved ones teach.
    (
        """CREATE TABLE reviews (
            number INTEGER PRIMARY KEY,
            case_id TEXT NOT NULL REFERENCES cases (id),
            axis INTEGER NOT NULL CHECK (axis BETWEEN 0 AND 2),
            slice INTEGER NOT NULL CHECK (slice >= 0),
            accepted_by TEXT NOT NULL,
            accepted_at TEXT NOT NULL,
            verdict TEXT NOT NULL CHECK (verdict IN ('approved', 'returned')),
            note TEXT NOT NULL,
            author TEXT NOT NULL,
            created_at TEXT NOT NULL,
            sha256 BLOB NOT NULL
        )""",
        """CREATE TABLE teaching (
            number INTEGER PRIMARY KEY,
            only_approved INTEGER NOT NULL CHECK (only_approved IN (0, 1)),
            author TEXT NOT NULL,
            created_at TEXT NOT NULL,
            sha256 BLOB NOT NULL
        )""",
        # Slices that several people correct without seeing each other's work, see blind.py.
        """CREATE TABLE blind (
            number INTEGER PRIMARY KEY,
            case_id TEXT NOT NULL REFERENCES cases (id),
            axis INTEGER NOT NULL CHECK (axis BETWEEN 0 AND 2),
            slice INTEGER NOT NULL CHECK (slice >= 0),
            author TEXT NOT NULL,
            created_at TEXT NOT NULL,
            sha256 BLOB NOT NULL
        )""",
        *_append_only("reviews"),
        *_append_only("teaching"),
        *_append_only("blind"),
    ),
    # The names of the channels of a study with several, in their order, and the images of all but
    # the first channel of each case; one without a path is missing, and filled. See channels.py.
    (
        """CREATE TABLE channels (
            number INTEGER PRIMARY KEY,
            place INTEGER NOT NULL CHECK (place >= 0),
            name TEXT NOT NULL,
            author TEXT NOT NULL,
            created_at TEXT NOT NULL,
            sha256 BLOB NOT NULL
        )""",
        """CREATE TABLE channel_images (
            number INTEGER PRIMARY KEY,
            case_id TEXT NOT NULL REFERENCES cases (id),
            place INTEGER NOT NULL CHECK (place >= 1),
            image_path TEXT,
            source_format TEXT,
            source_header BLOB,
            source_choice TEXT,
            intensity TEXT,
            author TEXT NOT NULL,
            created_at TEXT NOT NULL,
            sha256 BLOB NOT NULL
        )""",
        "CREATE INDEX channel_images_by_case ON channel_images (case_id, place, number)",
        *_append_only("channels"),
        *_append_only("channel_images"),
    ),
)
"""`MIGRATIONS[n]` leads from version n to version n + 1; a released entry never changes."""

OLDEST_READABLE = 2
"""A catalogue of this version or a later one can be read without bringing it up to date."""

WITH_RULES = 3
"""The version from which on classes say how many pieces they have, and whether holes."""

WITH_EXTENTS = 4
"""The version from which on a catalogue has extents."""

WITH_HASHES = 5
"""The version from which on all rows but classes, masks and metrics have hashes of their own."""

WITH_AMENDMENTS = 6
"""The version from which on a catalogue has amendments and moves."""

WITH_PLACES = 7
"""The version from which on classes have places."""

WITH_UNIONS = 8
"""The version from which on a catalogue has unions."""

WITH_REVIEWS = 9
"""The version from which on a catalogue has reviews, slices that teach, and blind ones."""

WITH_CHANNELS = 10
"""The version from which on a catalogue has channels."""


def version_of(connection: sqlite3.Connection) -> int:
    """Schema version of a catalogue, 0 for an empty one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a catalogue to the current version, completely or, after an error, not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for version in range(version_of(connection), len(MIGRATIONS)):
            for statement in MIGRATIONS[version]:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


@cache
def first_columns(table: str) -> frozenset[str]:
    """The columns that a table has had in every version with that table."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as plain:
        for statements in MIGRATIONS:
            for statement in statements:
                plain.execute(statement)
            columns = plain.execute(f"PRAGMA table_info({table})").fetchall()
            if columns:
                return frozenset(name for _, name, *_ in columns)
    raise ValueError(f"no version has a table {table!r}")


def strangers_in(connection: sqlite3.Connection) -> list[str]:
    """Objects in a catalogue that its version does not make and that could act on their own.

    Triggers, views, indices and virtual tables run code when other tables are read or written, and
    so do known tables with altered definitions. Additional plain tables do nothing.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as plain:
        for statements in MIGRATIONS[: version_of(connection)]:
            for statement in statements:
                plain.execute(statement)
        known = dict(plain.execute(_OBJECTS))
    found = connection.execute(_OBJECTS).fetchall()
    tables = {key.partition(" ")[2] for key in known if key.startswith("table ")}
    return [
        key for key, sql in found if known.get(key) != sql and not _at_rest(key, str(sql), tables)
    ]


_OBJECTS = "SELECT coalesce(type, '') || ' ' || coalesce(name, ''), sql FROM sqlite_master"


def _at_rest(key: str, sql: str, known: set[str]) -> bool:
    """Whether an unknown object does nothing unless it is used."""
    kind, _, name = key.partition(" ")
    # SQLite follows the text, whatever the type says.
    return kind == "table" and name.lower() not in known and sql.startswith("CREATE TABLE ")

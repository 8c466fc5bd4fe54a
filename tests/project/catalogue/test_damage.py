"""Flipped bytes in a catalogue: the damaged row is told, the one before is offered, the rest works.

The bytes are those on the disk; rows are found by what they hold.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from flipped import flip
from older_study import NEWEST, made_older

from napari_mlbseg.errors import Damaged
from napari_mlbseg.project.catalogue.schema import WITH_EXTENTS
from napari_mlbseg.project.exporting.export import ExportKind, export_study
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.extents import UNMARKED, Extent
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

CLEAN, DRAFT, SKIPPED = SliceState.CLEAN, SliceState.DRAFT, SliceState.SKIPPED
KEY = SliceKey("a", 0, 2)
BEFORE, LAST = 3, 5
"""Revisions of the slice; number 4 is of another one."""


def mask_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 2, (7, 8)).astype(np.uint8)


@pytest.fixture
def catalogue(study: Study) -> Path:
    """The catalogue of a closed study: of slice 2 revisions 3 and 5 are clean."""
    study.set_classes([LabelClass(1, "organ", (1, 2, 3))])
    study.save_slice(SliceKey("a", 0, 0), mask_of(1), CLEAN)
    study.save_slice(SliceKey("a", 0, 1), mask_of(2), DRAFT)
    study.save_slice(KEY, mask_of(3), CLEAN)
    study.slices.set_state(SliceKey("a", 0, 4), SKIPPED)
    study.save_slice(KEY, mask_of(5), CLEAN)
    study.close()
    return study.path / "catalogue.sqlite"


def stored_mask(file: Path, revision: int) -> bytes:
    with closing(sqlite3.connect(file)) as connection:
        sql = "SELECT data FROM masks JOIN revisions ON mask = masks.number WHERE revisions.number"
        found: bytes = connection.execute(f"{sql} = ?", (revision,)).fetchone()[0]
        return found


def flip_mask(file: Path, revision: int) -> None:
    flip(file, stored_mask(file, revision), at=20, bits=4)


@pytest.mark.parametrize("where", ["mask", "state", "author", "not UTF-8", "time", "year", "hash"])
@pytest.mark.parametrize("writable", [True, False])
def test_a_flipped_byte_costs_one_revision(
    catalogue: Path, tmp_path: Path, where: str, writable: bool
) -> None:
    damage(catalogue, where)
    with Study.open(catalogue.parent, writable=writable) as study:
        [told] = study.slices.damaged()
        assert (told.revision, told.key, told.instead) == (LAST, KEY, BEFORE)
        assert study.damage() == (str(told),)
        offered = study.slices.record(KEY)
        assert offered is not None
        assert (offered.state, offered.revision, offered.instead_of) == (DRAFT, BEFORE, LAST)
        np.testing.assert_array_equal(study.slices.mask(KEY), mask_of(BEFORE))
        assert study.slices.clean() == (SliceKey("a", 0, 0),)
        assert [r.revision for r in study.slices.records()] == [1, 2, BEFORE, 4]
        labels = study.labels.working("a")
        for index, number in ((0, 1), (1, 2), (2, BEFORE)):
            np.testing.assert_array_equal(labels[index], mask_of(number))
        [table] = export_study(study, tmp_path / "out", ExportKind.VOLUMES)
        assert table.is_file()


def damage(file: Path, where: str) -> None:
    """Flip a byte of the last revision, in its row or its mask."""
    if where == "mask":
        flip_mask(file, LAST)
        return
    with closing(sqlite3.connect(file)) as connection:
        sql = "SELECT state, mask, author, created_at, mask_sha256, sha256 FROM revisions"
        row = connection.execute(f"{sql} WHERE number = ?", (LAST,)).fetchone()
    state, mask, author, at, mask_sha256, sha256 = row
    text = state.encode() + bytes([mask]) + (author + at).encode() + mask_sha256 + sha256
    places = {
        "state": (0, 1),
        "author": (7, 1),
        "not UTF-8": (7, 0x80),
        "time": (13, 64),
        "year": (12, 1),
        "hash": (len(text) - 1, 1),
    }
    at_byte, bits = places[where]
    flip(file, text, at=at_byte, bits=bits)


def test_a_revision_that_moved_to_another_slice_is_told_of_its_own(catalogue: Path) -> None:
    with closing(sqlite3.connect(catalogue, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER revisions_no_update")
        connection.execute("UPDATE revisions SET slice = 0 WHERE number = ?", (LAST,))
    with Study.open(catalogue.parent) as study:
        [told] = study.slices.damaged()
        assert (told.key, told.instead) == (KEY, BEFORE)
        assert study.slices.clean() == (SliceKey("a", 0, 0),)
        np.testing.assert_array_equal(study.slices.mask(SliceKey("a", 0, 0)), mask_of(1))


def test_masks_that_changed_places_are_told(catalogue: Path) -> None:
    with closing(sqlite3.connect(catalogue, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER masks_no_update")
        connection.execute(
            "UPDATE masks SET data = (SELECT data FROM masks WHERE number = 1) WHERE number = 4"
        )
    with Study.open(catalogue.parent) as study:
        [told] = study.slices.damaged()
        assert "mask is not the one that was saved" in str(told)
        assert told.revision == LAST


def test_a_draft_that_is_offered_can_be_accepted(catalogue: Path) -> None:
    flip_mask(catalogue, LAST)
    with Study.open(catalogue.parent) as study:
        record = study.slices.set_state(KEY, CLEAN)
        np.testing.assert_array_equal(study.slices.revision_mask(record.revision), mask_of(BEFORE))
        assert study.slices.damaged() == ()
        assert study.slices.record(KEY) == record
    with Study.open(catalogue.parent, writable=False) as study:
        assert study.slices.record(KEY) == record
        assert study.damage() == ()


def test_without_an_earlier_revision_the_slice_is_untouched(catalogue: Path) -> None:
    flip_mask(catalogue, 1)
    with Study.open(catalogue.parent) as study:
        [told] = study.slices.damaged()
        assert (told.revision, told.key, told.instead) == (1, SliceKey("a", 0, 0), None)
        assert study.slices.record(SliceKey("a", 0, 0)) is None
        assert not study.labels.working("a")[0].any()
        assert "Correct the slice again" in str(told)
        study.save_slice(SliceKey("a", 0, 0), mask_of(1), CLEAN)
        assert study.damage() == ()


def test_a_mask_that_breaks_in_an_open_study_names_its_slice(catalogue: Path) -> None:
    with Study.open(catalogue.parent, writable=False) as study:
        flip_mask(catalogue, LAST)
        with pytest.raises(Damaged, match=r"Revision 5, of slice 2 of a.*Open the study again"):
            study.slices.revision_mask(LAST)


def test_a_damaged_mark_does_not_count_nor_the_one_before(study: Study) -> None:
    study.set_classes([LabelClass(1, "organ", (1, 2, 3)), LabelClass(2, "core", (3, 2, 1))])
    study.extents.mark("a", 0, 1, Extent(1, 3))
    study.extents.mark("a", 0, 2, Extent(2, 4))
    study.extents.mark("a", 0, 1, Extent(0, 4))
    study.close()
    file = study.path / "catalogue.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        sql = "SELECT author, created_at, sha256 FROM extents WHERE number = 3"
        author, at, sha256 = connection.execute(sql).fetchone()
    flip(file, (author + at).encode() + sha256, at=4)
    with Study.open(study.path) as again:
        assert again.extents.marked("a", 0, 1) == UNMARKED
        assert again.extents.marked("a", 0, 2) == Extent(2, 4)
        [told] = again.damage()
        assert "class 1 along axis 0 of 'a'" in told
        again.extents.mark("a", 0, 1, Extent(1, 3))
        assert again.damage() == ()


@pytest.mark.parametrize("column", ["geometry", "source_header", "intensity", "image_path"])
def test_a_case_that_changed_is_never_used(study: Study, column: str) -> None:
    study.close()
    file = study.path / "catalogue.sqlite"
    texts = {
        "geometry": b'"affine": [[',
        "source_header": b"header",
        "intensity": b'"low": -',
        "image_path": b"/scans",
    }
    flip(file, texts[column], at=len(texts[column]) - 1)
    with (
        Study.open(study.path, writable=False) as again,
        pytest.raises(Damaged, match=r"does not describe the case 'a'.*mlbseg repair"),
    ):
        again.case("a")


def backed_up_versions(folder: Path) -> list[int]:
    """The versions of the backups of a study: made before a migration, or the first change."""
    found = []
    for path in sorted((folder / "backups").glob("*.sqlite")):
        with closing(sqlite3.connect(path)) as connection:
            found += connection.execute("PRAGMA user_version").fetchone()
    return found


@pytest.mark.parametrize("version", range(1, NEWEST + 1))
def test_a_study_of_each_version_opens_and_goes_on(
    study: Study, catalogue: Path, version: int
) -> None:
    made_older(catalogue.parent, version)
    if version > 1:
        with Study.open(catalogue.parent, writable=False) as reader:
            assert [r.revision for r in reader.slices.records()] == [1, 2, 4, LAST]
            assert reader.damage() == ()
    with Study.open(catalogue.parent) as again:
        assert again.slices.clean() == (SliceKey("a", 0, 0), KEY)
        np.testing.assert_array_equal(again.slices.mask(KEY), mask_of(5))
        again.slices.set_state(KEY, DRAFT)
        again.save_slice(SliceKey("a", 0, 4), mask_of(4), CLEAN)
        again.extents.mark("a", 0, 1, Extent(0, 4))
        again.changes.rename("a", "anna")
        assert again.damage() == ()
    assert backed_up_versions(catalogue.parent) == [version]


@pytest.mark.parametrize("where", ["mask", "time"])
def test_damage_in_a_study_from_before_there_were_hashes_is_passed_over(
    catalogue: Path, where: str
) -> None:
    made_older(catalogue.parent, WITH_EXTENTS)
    if where == "mask":
        flip_mask(catalogue, LAST)
    else:
        flip(catalogue, b"clean\x04ada2", at=9, bits=64)
    for writable in (False, True):
        with Study.open(catalogue.parent, writable=writable) as study:
            [told] = study.slices.damaged()
            assert (told.revision, told.instead) == (LAST, BEFORE)

"""Another person approves accepted slices or sends them back; what that means is worked out."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from older_study import made_older

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.catalogue.schema import WITH_UNIONS
from napari_mlbseg.project.exporting.export import ExportKind, OutFormat, export_study
from napari_mlbseg.project.exporting.provenance import in_words
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.reviews import Verdict
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.repairing.repair import repair
from napari_mlbseg.project.repairing.verify import verify
from napari_mlbseg.project.study import Study

CLEAN, DRAFT, SKIPPED = SliceState.CLEAN, SliceState.DRAFT, SliceState.SKIPPED
APPROVED, RETURNED = Verdict.APPROVED, Verdict.RETURNED
KEYS = [SliceKey("a", 0, index) for index in range(3)]


def mask(value: int = 1) -> NDArray[np.uint8]:
    return np.full((7, 8), value, np.uint8)


@pytest.fixture
def path(study: Study) -> Path:
    """A study in which Ada accepted the slices 0 to 2."""
    study.set_classes([LabelClass(1, "organ", (1, 2, 3))])
    for key in KEYS:
        study.save_slice(key, mask(), CLEAN)
    study.close()
    return study.path


@pytest.fixture
def ben(path: Path) -> Iterator[Study]:
    with Study.open(path, author="ben") as study:
        yield study


def states(study: Study) -> list[SliceState]:
    return [record.state for record in study.slices.records("a")]


def test_a_returned_slice_is_a_draft_with_a_note_until_it_is_accepted_anew(
    ben: Study, path: Path
) -> None:
    ben.reviews.give(KEYS[:1], APPROVED)
    ben.reviews.give(KEYS[1:2], RETURNED, "  The wall is too thin. ")
    assert states(ben) == [CLEAN, DRAFT, CLEAN]
    assert [r.approved for r in ben.slices.records()] == [True, False, False]
    assert [r.to_review for r in ben.slices.records()] == [False, False, True]
    assert ben.slices.clean() == (KEYS[0], KEYS[2])
    assert not ben.reviews.returned_to_me(ben.slices.records()[1])
    ben.close()
    with Study.open(path, author="Ada") as ada:
        found = ada.slices.record(KEYS[1])
        assert found is not None
        assert found.review is not None
        assert (found.review.note, found.review.author) == ("The wall is too thin.", "ben")
        assert ada.reviews.returned_to_me(found), "names are compared as they are spelled"
        ada.save_slice(KEYS[1], mask(0), DRAFT)
        drafted = ada.slices.record(KEYS[1])
        assert drafted is not None
        assert drafted.review == found.review, "the note stays while the slice is corrected"
        ada.slices.set_state(KEYS[1], CLEAN)
        assert states(ada) == [CLEAN, CLEAN, CLEAN]
        again = ada.slices.record(KEYS[1])
        assert again is not None
        assert again.to_review


def test_skipping_answers_a_review_and_a_later_revision_makes_it_stale(ben: Study) -> None:
    ben.reviews.give(KEYS, RETURNED, "no")
    ben.slices.set_state(KEYS[0], SKIPPED)
    ben.save_slice(KEYS[1], mask(0), CLEAN)
    skipped, again = (ben.slices.record(key) for key in KEYS[:2])
    assert skipped is not None
    assert again is not None
    assert skipped.review is None
    assert again.to_review
    ben.slices.set_state(KEYS[1], DRAFT)
    reopened = ben.slices.record(KEYS[1])
    assert reopened is not None
    assert not reopened.returned


def test_a_reviewer_may_change_the_verdict(ben: Study) -> None:
    ben.reviews.give(KEYS, RETURNED, "no")
    ben.reviews.give(KEYS, APPROVED, "on second thought")
    assert all(record.approved for record in ben.slices.records())
    assert len(ben.reviews.all()[KEYS[0]]) == 2


def test_what_cannot_be_reviewed_is_refused_as_a_whole(ben: Study) -> None:
    own = SliceKey("a", 0, 4)
    ben.save_slice(own, mask(), CLEAN)
    with pytest.raises(UserError, match="Slice 4 of a was accepted by ben"):
        ben.reviews.give([*KEYS, own], APPROVED)
    with pytest.raises(UserError, match="Slice 5 of a is not accepted"):
        ben.reviews.give([*KEYS, SliceKey("a", 0, 5)], APPROVED)
    with pytest.raises(UserError, match="with a note"):
        ben.reviews.give(KEYS, RETURNED, " ")
    with pytest.raises(UserError, match="no slice to review"):
        ben.reviews.give([], APPROVED)
    assert ben.reviews.all() == {}
    records = ben.slices.records()
    assert [ben.reviews.may_review(one) for one in records] == [True, True, True, False]
    assert [ben.reviews.awaits_me(one) for one in records] == [True, True, True, False]


def test_only_approved_slices_teach_if_the_study_says_so(ben: Study, path: Path) -> None:
    def teaching() -> list[SliceKey]:
        return [record.key for record in ben.slices.teaching()]

    ben.reviews.give(KEYS[:1], APPROVED)
    ben.reviews.give(KEYS[1:2], RETURNED, "no")
    assert teaching() == [KEYS[0], KEYS[2]]
    ben.reviews.let_teach(only_approved=True)
    assert teaching() == KEYS[:1]
    assert ben.slices.clean() == (KEYS[0], KEYS[2])
    lines = len(ben.log.entries())
    ben.reviews.let_teach(only_approved=True)
    assert len(ben.log.entries()) == lines, "nothing changed"
    with Study.open(path, writable=False) as reader:
        assert reader.reviews.only_approved
        ben.reviews.let_teach(only_approved=False)
        assert not reader.reviews.only_approved, "another program follows"
    assert teaching() == [KEYS[0], KEYS[2]]


def test_exports_of_accepted_slices_and_provenance_follow(ben: Study, tmp_path: Path) -> None:
    ben.reviews.let_teach(only_approved=True)
    with pytest.raises(UserError, match="Only approved slices teach"):
        export_study(ben, tmp_path / "out", ExportKind.ACCEPTED, form=OutFormat.MHA)
    ben.reviews.give(KEYS[:1], APPROVED)
    ben.reviews.give(KEYS[1:2], RETURNED, "too thin")
    export_study(ben, tmp_path / "out", ExportKind.ACCEPTED, form=OutFormat.MHA)
    told = json.loads((tmp_path / "out" / "a.provenance.json").read_text())
    assert told["only_approved_teach"] is True
    [one] = told["slices"]
    assert (one["review"]["verdict"], one["review"]["author"]) == ("approved", "ben")
    export_study(ben, tmp_path / "all", ExportKind.LABELS, form=OutFormat.MHA)
    told = json.loads((tmp_path / "all" / "a.provenance.json").read_text())
    found = {one["slice"]: one for one in told["slices"]}
    assert [found[index]["state"] for index in range(3)] == ["clean", "draft", "clean"]
    assert found[1]["review"]["note"] == "too thin"
    assert found[2]["review"] is None
    assert "1 of them were approved by ben." in in_words(ben, ben.case("a"))


def test_reviews_are_logged_and_never_overwritten(ben: Study) -> None:
    ben.reviews.give(KEYS[:1], RETURNED, "too thin")
    line = ben.log.entries()[-1]
    assert (line.action, line.author, line.case_id) == ("return slice", "ben", "a")
    assert line.details["note"] == "too thin"
    assert line.details["accepted_by"] == "ada"
    with pytest.raises(UserError, match="refused a change"), ben._database.transaction() as write:
        write.execute("UPDATE reviews SET verdict = 'approved'")


def test_a_damaged_review_is_told_and_passed_over_and_a_repair_brings_it_back(
    ben: Study, path: Path
) -> None:
    ben.reviews.give(KEYS[:1], RETURNED, "too thin")
    ben.reviews.let_teach(only_approved=True)
    ben.back_up()
    ben.close()
    with closing(sqlite3.connect(path / "catalogue.sqlite")) as connection, connection:
        [(trigger,)] = connection.execute(
            "SELECT sql FROM sqlite_master WHERE name = 'reviews_no_update'"
        ).fetchall()
        connection.execute("DROP TRIGGER reviews_no_update")
        connection.execute("UPDATE reviews SET verdict = 'approved'")
        connection.execute(trigger)
    with Study.open(path, writable=False) as damaged:
        [told] = damaged.damage()
        assert "a review of slice 0 of 'a'" in told
        assert states(damaged) == [CLEAN] * 3
    assert any("reviews" in one.what for one in verify(path).findings)
    repair(path)
    with Study.open(path) as again:
        assert states(again) == [DRAFT, CLEAN, CLEAN]
        assert again.reviews.only_approved
        assert again.damage() == ()


def test_an_earlier_catalogue_has_no_reviews_and_gets_the_table(ben: Study, path: Path) -> None:
    ben.close()
    made_older(path, WITH_UNIONS)
    with Study.open(path, writable=False) as older:
        assert (older.reviews.all(), older.reviews.only_approved) == ({}, False)
        assert older.slices.clean() == tuple(KEYS)
        with Study.open(path, author="ben") as again:
            again.reviews.give(KEYS[:1], APPROVED)
        assert older.slices.records()[0].approved, "a reader notices"


def test_damaged_choices_are_told_and_those_before_count(ben: Study, path: Path) -> None:
    ben.blind.ask([SliceKey("a", 0, 4)])
    ben.reviews.let_teach(only_approved=True)
    ben.reviews.let_teach(only_approved=False)
    ben.close()
    with closing(sqlite3.connect(path / "catalogue.sqlite")) as connection, connection:
        for table, change in (
            ("teaching", "author = 'x' WHERE number = 2"),
            ("blind", "slice = 5"),
        ):
            name = f"{table}_no_update"
            [(trigger,)] = connection.execute(
                "SELECT sql FROM sqlite_master WHERE name = ?", (name,)
            ).fetchall()
            connection.execute(f"DROP TRIGGER {name}")
            connection.execute(f"UPDATE {table} SET {change}")
            connection.execute(trigger)
    with Study.open(path) as damaged:
        told = " ".join(damaged.damage())
        assert "whether only approved slices teach" in told
        assert "slice 5 of 'a' is to be corrected blindly" in told
        assert damaged.reviews.only_approved
        assert damaged.blind.all() == frozenset()

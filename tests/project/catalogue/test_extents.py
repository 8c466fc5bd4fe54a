"""Extents in a study: superseded and never lost, widened by clean slices, gone from the labels."""

import json
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from killed import lines_until_killed
from older_study import made_older

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.records.extents import UNMARKED, End, Extent
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study

ORGAN, CORE = LabelClass(1, "organ", (1, 2, 3)), LabelClass(2, "core", (4, 5, 6))
SIDE = (7, 8)
"""Shape of a slice along z of the case, which has six of them."""


@pytest.fixture
def study(study: Study) -> Study:
    study.set_classes([ORGAN])
    study.arrays.create("a", ArrayName.PREDICTION)[:] = 1
    return study


def accept(study: Study, index: int, value: int, axis: int = 0) -> SliceKey:
    key = SliceKey("a", axis, index)
    shape = study.case("a").slice_shape(axis)
    study.save_slice(key, np.full(shape, value, np.uint8), SliceState.CLEAN)
    return key


def heights(study: Study) -> list[int]:
    """The slices along z on which the machine's labels show something."""
    return np.flatnonzero(study.labels.machine("a").any(axis=(1, 2))).tolist()


def test_a_newer_mark_supersedes_an_older_one_and_both_are_in_the_log(study: Study) -> None:
    study.extents.mark("a", 0, 1, Extent(first=1))
    study.extents.mark("a", 0, 1, Extent(1, 4))
    assert study.extents.marked("a", 0, 1) == Extent(1, 4)
    (record,) = study.extents.of("a")
    assert (record.author, record.value, record.axis) == ("ada", 1, 0)
    study.extents.clear("a", 0, 1)
    assert study.extents.marked("a", 0, 1) == UNMARKED
    assert study.extents.of() == ()
    rows = study._database.rows("SELECT first_slice, last_slice FROM extents ORDER BY number")
    assert rows == [(1, None), (1, 4), (None, None)]
    said = [(e.action, e.details["first"], e.details["last"]) for e in study.log.entries(3)]
    assert said == [("mark extent", 1, None), ("mark extent", 1, 4), ("clear extent", None, None)]
    assert study.log.entries(1)[0].case_id == "a"


def test_marks_are_there_when_the_study_is_opened_again(study: Study) -> None:
    study.extents.mark("a", 2, 1, Extent(2, 5))
    study.close()
    with Study.open(study.path, writable=False) as again:
        assert again.extents.effective("a", 2) == {1: Extent(2, 5)}
        with pytest.raises(UserError, match="reading only"):
            again.extents.mark("a", 0, 1, Extent(1, 2))


@pytest.mark.parametrize(
    ("case_id", "value", "extent", "words"),
    [
        ("b", 1, Extent(1, 2), "no case 'b'.*Its cases: a"),
        ("a", 2, Extent(1, 2), "no class 2.*Its classes: 1 organ"),
        ("a", 1, Extent(last=6), "slices 0 to 5 along this axis, but got 6"),
        ("a", 1, Extent(first=-1), "slices 0 to 5 along this axis, but got -1"),
    ],
)
def test_what_cannot_be_marked_is_refused_in_words(
    study: Study, case_id: str, value: int, extent: Extent, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        study.extents.mark(case_id, 0, value, extent)
    assert study.extents.of() == ()


def test_the_machine_shows_no_class_outside_but_a_persons_slices_stay(study: Study) -> None:
    study.extents.mark("a", 0, 1, Extent(1, 3))
    study.save_slice(SliceKey("a", 0, 5), np.ones(SIDE, np.uint8), SliceState.DRAFT)
    assert heights(study) == [1, 2, 3]
    shown = study.labels.working("a").any(axis=(1, 2))
    assert np.flatnonzero(shown).tolist() == [1, 2, 3, 5]
    study.extents.mark("a", 2, 1, Extent(last=4))  # along x as well
    inside = study.labels.machine("a")[1:4]
    assert inside[:, :, :5].all()
    assert not inside[:, :, 5:].any()


def test_only_the_excluded_class_is_gone(study: Study) -> None:
    study.set_classes([ORGAN, CORE])
    study.arrays.write("a", ArrayName.PREDICTION, 0, 0, np.full((2, *SIDE), 2, np.uint8))
    study.extents.mark("a", 0, 1, Extent(4, 4))
    assert np.unique(study.labels.machine("a")[:2]).tolist() == [2]
    assert heights(study) == [0, 1, 4]
    assert not study.extents.certified_empty("a", 0).any()
    study.extents.mark("a", 0, 2, Extent(0, 1))
    assert study.extents.certified_empty("a", 0).tolist() == [False, False, True, True, False, True]
    assert study.extents.certified()["a", 0].tolist() == (
        study.extents.certified_empty("a", 0).tolist()
    )


def test_a_clean_slice_outside_widens_until_it_is_reopened(study: Study) -> None:
    study.extents.mark("a", 0, 1, Extent(2, 3))
    key = accept(study, 5, 1)
    assert study.extents.effective("a", 0) == {1: Extent(2, 5)}
    assert heights(study) == [2, 3, 4, 5]
    assert study.extents.certified()["a", 0].tolist() == [True, True, *[False] * 4]
    study.slices.set_state(key, SliceState.DRAFT)
    assert study.extents.effective("a", 0) == {1: Extent(2, 3)}
    accept(study, 5, 0)  # an empty one says the same as the mark
    accept(study, 7, 1, axis=2)  # one along another axis says nothing of this one
    assert study.extents.effective("a", 0) == {1: Extent(2, 3)}
    assert study.extents.marked("a", 0, 1) == Extent(2, 3)


def test_ends_that_nobody_knows(study: Study) -> None:
    assert study.extents.unknown_ends("a", 0) == {End.FIRST: (1,), End.LAST: (1,)}
    accept(study, 2, 1)
    accept(study, 4, 0)
    assert study.extents.unknown_ends("a", 0) == {End.FIRST: (1,), End.LAST: ()}
    study.extents.mark("a", 0, 1, Extent(first=1))
    assert study.extents.unknown_ends("a", 0) == {End.FIRST: (), End.LAST: ()}


def test_a_class_that_takes_the_value_of_a_removed_one_inherits_no_extent(study: Study) -> None:
    study.extents.mark("a", 0, 1, Extent(2, 3))
    study.set_classes([LabelClass(1, "heart", (7, 8, 9))])  # renamed: the same class
    assert study.extents.effective("a", 0) == {1: Extent(2, 3)}
    study.set_classes([CORE])
    assert study.extents.of() == ()
    study.set_classes([ORGAN, CORE])
    assert study.extents.of() == ()
    assert heights(study) == [0, 1, 2, 3, 4, 5]


@pytest.fixture
def older(study: Study) -> Path:
    """A study as it was before there were extents, with a clean slice."""
    accept(study, 2, 1)
    study.close()
    return made_older(study.path, 2)


def test_a_study_from_before_is_read_as_it_is_and_migrated_when_written(older: Path) -> None:
    file = older / "catalogue.sqlite"
    before = file.read_bytes()
    with Study.open(older, writable=False) as reader:
        assert reader.extents.of() == ()
        assert reader.extents.certified() == {}
        assert reader.labels.working("a")[2].all()
        assert reader.extents.unknown_ends("a", 0) == {End.FIRST: (1,), End.LAST: (1,)}
        assert file.read_bytes() == before
        with Study.open(older) as writer:
            assert len(writer.slices.clean()) == 1
            writer.extents.mark("a", 0, 1, Extent(1, 4))
        assert reader.extents.effective("a", 0) == {1: Extent(1, 4)}


MARK_FOREVER = """
import itertools, sys
from pathlib import Path
from napari_mlbseg.api import Extent, Study

study = Study.open(Path(sys.argv[1]))
for number in itertools.count():
    study.extents.mark("a", 0, 1, Extent(first=number % 6))
    print(number % 6, flush=True)
"""


@pytest.mark.parametrize("marks", [1, 7])
def test_a_killed_writer_loses_no_mark(
    study: Study, other_process: Callable[..., subprocess.Popen[str]], marks: int
) -> None:
    study.close()
    process = other_process(MARK_FOREVER, study.path)
    told = [int(line) for line in lines_until_killed(process, marks)]
    with Study.open(study.path) as again:
        rows = again._database.rows("SELECT first_slice FROM extents ORDER BY number")
        assert [first for (first,) in rows[: len(told)]] == told
        assert again.extents.marked("a", 0, 1) == Extent(first=rows[-1][0])
        logged = [e for e in again.log.entries() if e.action == "mark extent"]
        assert len(logged) == len(rows)  # each with its line in the log, or not at all


def test_impossible_extents_of_a_stranger_do_not_count(study: Study) -> None:
    study.extents.mark("a", 0, 1, Extent(1, 4))
    study.close()
    with closing(sqlite3.connect(study.path / "catalogue.sqlite")) as connection, connection:
        connection.execute(
            "INSERT INTO extents SELECT 9, case_id, axis, class, 1, 4000, author, created_at, NULL "
            "FROM extents"
        )
    with Study.open(study.path, writable=False) as opened:
        assert opened.labels.working("a").all()
        assert opened.extents.of() == ()
        [told] = opened.extents.damaged()
        assert "the extent of class 1 along axis 0 of 'a'" in told
        assert opened.damage() == (told,)


def test_the_log_names_the_class(study: Study) -> None:
    study.extents.mark("a", 1, 1, Extent(2, 3))
    details = study._database.rows("SELECT details FROM audit ORDER BY number DESC LIMIT 1")[0][0]
    assert json.loads(details) == {"axis": 1, "class": 1, "first": 2, "last": 3}

"""Two people work on copies of a study, and their work is united."""

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from older_study import made_older

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.catalogue import schema
from napari_mlbseg.project.records.cases import LabelClass, NewCase
from napari_mlbseg.project.records.extents import Extent
from napari_mlbseg.project.records.reviews import Review, Verdict
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.repairing.repair import repair
from napari_mlbseg.project.repairing.verify import verify
from napari_mlbseg.project.sharing.agreement import agreement
from napari_mlbseg.project.sharing.splitting import dealt, drawn_blindly, split
from napari_mlbseg.project.study import Study

CLEAN, DRAFT, SKIPPED = SliceState.CLEAN, SliceState.DRAFT, SliceState.SKIPPED
APPROVED, RETURNED = Verdict.APPROVED, Verdict.RETURNED
ORGAN = LabelClass(1, "organ", (1, 2, 3))


def mask(value: int, size: int = 4) -> NDArray[np.uint8]:
    made = np.zeros((7, 8), np.uint8)
    made[:size, :size] = value
    return made


def key(index: int, case: str = "a") -> SliceKey:
    return SliceKey(case, 0, index)


@pytest.fixture
def study(study: Study) -> Study:
    study.set_classes([ORGAN])
    study.arrays.create("a", ArrayName.PREDICTION)[:] = 1
    study.save_slice(key(0), mask(1), CLEAN)
    return study


@pytest.fixture
def copies(study: Study, tmp_path: Path) -> Iterator[tuple[Study, Study]]:
    """Ada's and Ben's copy, each with all cases."""
    paths = split(study, tmp_path, {"Ada": ["a"], "Ben": ["a"]})
    with ExitStack() as opened:
        ada, ben = (
            opened.enter_context(Study.open(path, author=name)) for name, path in paths.items()
        )
        yield ada, ben


def shown(study: Study) -> dict[SliceKey, tuple[str, Review | None, bytes | None]]:
    """What counts of each slice, whatever its number."""
    return {
        one.key: (
            one.state,
            one.review,
            study.slices.revision_mask(one.revision).tobytes() if one.has_mask else None,
        )
        for one in study.slices.records()
    }


def test_a_copy_has_what_was_done_so_far(study: Study, copies: tuple[Study, Study]) -> None:
    ada, _ = copies
    assert ada.identity != study.identity
    assert shown(ada) == shown(study)
    [record] = ada.slices.records()
    assert (record.author, record.created_at) == ("ada", study.slices.records()[0].created_at)
    for name in (ArrayName.IMAGE, ArrayName.PREDICTION):
        ours, theirs = (one.arrays.open("a", name) for one in (study, ada))
        np.testing.assert_array_equal(ours[:], theirs[:])
        assert ours.dtype == theirs.dtype
    assert ada.case("a") == study.case("a")
    assert verify(ada.path).findings == ()


def test_different_slices_unite(study: Study, copies: tuple[Study, Study]) -> None:
    ada, ben = copies
    ada.save_slice(key(1), mask(1, 2), CLEAN)
    ben.save_slice(key(2), mask(1, 3), DRAFT)
    ben.slices.set_state(key(2), CLEAN)
    ben.slices.set_state(key(3), SKIPPED)
    ben.extents.mark("a", 0, 1, Extent(0, 4))
    for copy in copies:
        merged = study.merge(copy)
        assert (merged.conflicts, merged.left_out, merged.cases) == ((), (), ())
    assert {one.key.index: (one.state, one.author) for one in study.slices.records()} == {
        0: (CLEAN, "ada"),
        1: (CLEAN, "Ada"),
        2: (CLEAN, "Ben"),
        3: (SKIPPED, "Ben"),
    }
    assert [one.state for one in study.slices.history(key(2))] == [DRAFT, CLEAN]
    assert study.extents.marked("a", 0, 1) == Extent(0, 4)
    assert study.unions.all() == ()
    assert verify(study.path).findings == ()


def test_merging_again_takes_nothing(study: Study, copies: tuple[Study, Study]) -> None:
    ada, ben = copies
    ada.save_slice(key(1), mask(1, 2), CLEAN)
    ben.save_slice(key(1), mask(1, 3), CLEAN)
    for copy in copies:
        study.merge(copy)
    before = [one.revision for one in study.slices.records()]
    for copy in copies:
        again = study.merge(copy)
        assert (again.revisions, again.extents, len(again.conflicts)) == (0, 0, 1)
    assert [one.revision for one in study.slices.records()] == before
    ada.merge(study)
    assert ada.merge(study).revisions == 0
    assert study.merge(ada).revisions == 0


def test_two_masks_for_one_slice_are_a_conflict_until_somebody_chooses(
    study: Study, copies: tuple[Study, Study]
) -> None:
    ada, ben = copies
    ada.save_slice(key(1), mask(1, 2), CLEAN)
    ben.save_slice(key(1), mask(1, 3), CLEAN)
    study.merge(ada)
    assert study.slices.clean() == (key(0), key(1))
    assert study.merge(ben).conflicts == (key(1),)
    assert study.slices.clean() == (key(0),), "nothing is learnt of it meanwhile"
    [conflict] = study.unions.conflicts()
    assert [one.author for one in conflict.opinions] == ["Ada", "Ben"]
    seen = [study.slices.revision_mask(one.revision) for one in conflict.opinions]
    np.testing.assert_array_equal(seen, [mask(1, 2), mask(1, 3)])
    ada.merge(study)
    assert [one.key for one in ada.unions.conflicts()] == [key(1)]

    study.unions.choose(key(1), conflict.opinions[0].revision)
    assert study.unions.conflicts() == ()
    np.testing.assert_array_equal(study.slices.mask(key(1)), mask(1, 2))
    assert study.slices.record(key(1)).author == "ada"  # type: ignore[union-attr]
    for copy in copies:
        assert copy.merge(study).conflicts == ()
        assert shown(copy) == shown(study)
    assert study.merge(ben).revisions == 0
    assert verify(study.path).findings == ()


def test_conflicts_of_a_removed_case_come_back_with_it(
    study: Study, copies: tuple[Study, Study]
) -> None:
    for size, copy in zip((2, 3), copies, strict=True):
        copy.save_slice(key(1), mask(1, size), CLEAN)
        study.merge(copy)
    study.changes.remove(["a"])
    assert study.unions.conflicts() == ()
    study.changes.restore("a")
    assert [one.key for one in study.unions.conflicts()] == [key(1)]


def test_the_same_mask_from_both_is_no_conflict(study: Study, copies: tuple[Study, Study]) -> None:
    for copy in copies:
        copy.save_slice(key(1), mask(1, 2), CLEAN)
        assert study.merge(copy).conflicts == ()
    assert study.slices.record(key(1)).state is CLEAN  # type: ignore[union-attr]
    [union] = study.unions.all()
    assert len(union.opinions) == 2


def test_an_accepted_slice_counts_before_a_draft_that_is_kept(
    study: Study, copies: tuple[Study, Study]
) -> None:
    ada, ben = copies
    ada.save_slice(key(1), mask(1, 2), CLEAN)
    ben.save_slice(key(1), mask(1, 3), DRAFT)
    for copy in copies:
        study.merge(copy)
    np.testing.assert_array_equal(study.slices.mask(key(1)), mask(1, 2))
    assert study.slices.clean() == (key(0), key(1))
    assert {one.author for one in study.slices.history(key(1))} == {"Ada", "Ben"}


@pytest.mark.parametrize("seed", range(6))
def test_any_order_leads_to_the_same(study: Study, tmp_path: Path, seed: int) -> None:
    rng, people = np.random.default_rng(seed), ("Ada", "Ben", "Cleo")
    paths = split(study, tmp_path, {name: ["a"] for name in people})
    with ExitStack() as opened:
        copies = [opened.enter_context(Study.open(p, author=n)) for n, p in paths.items()]
        for _ in range(14):
            who, other = map(int, rng.integers(0, 3, 2))
            if who != other:
                copies[who].merge(copies[other])
            else:
                work(copies[who], rng)
        found: list[object] = []
        for order in itertools.permutations(copies):
            together = tmp_path / f"{len(found)}.mlbseg"
            with Study.create(together, author="dora") as united:
                united.set_classes(study.classes)
                for copy in order:
                    united.merge(copy)
                conflicts = {
                    (one.key, tuple(o.author for o in one.opinions))
                    for one in united.unions.conflicts()
                }
                teaching = united.reviews.only_approved
                said = {slot: frozenset(one) for slot, one in united.reviews.all().items()}
                found.append((shown(united), conflicts, said, teaching, united.case("a").name))
    assert all(one == found[0] for one in found[1:])


def work(copy: Study, rng: np.random.Generator) -> None:
    """Something that somebody does to a copy."""
    match rng.choice(["save", "save", "review", "review", "rename", "teach"]):
        case "save":
            state = (CLEAN, CLEAN, DRAFT)[rng.integers(0, 3)]
            copy.save_slice(key(int(rng.integers(0, 3))), mask(1, int(rng.integers(1, 4))), state)
        case "review":
            others = [one.key for one in copy.slices.records() if copy.reviews.may_review(one)]
            if others:
                copy.reviews.give(others[:1], (APPROVED, RETURNED)[rng.integers(0, 2)], "why")
        case "rename":
            copy.changes.rename("a", ("first", "second", "a")[rng.integers(0, 3)])
        case "teach":
            copy.reviews.let_teach(only_approved=not copy.reviews.only_approved)


def test_reviews_come_with_a_merge_and_only_once(study: Study, copies: tuple[Study, Study]) -> None:
    ada, ben = copies
    ada.save_slice(key(1), mask(1, 2), CLEAN)
    ben.merge(ada)
    ben.reviews.give([key(1)], RETURNED, "too small")
    ben.reviews.let_teach(only_approved=True)
    assert study.merge(ada).reviews == 0
    assert study.merge(ben).reviews == 1
    assert study.merge(ben).reviews == 0
    assert study.reviews.only_approved
    returned = study.slices.record(key(1))
    assert returned is not None
    assert returned.returned
    assert study.unions.conflicts() == ()
    ada.merge(study)
    mine = ada.slices.record(key(1))
    assert mine is not None
    assert ada.reviews.returned_to_me(mine)
    ada.save_slice(key(1), mask(1, 3), CLEAN)
    study.merge(ada)
    again = study.slices.record(key(1))
    assert again is not None
    assert again.to_review
    assert [one.action for one in study.log.entries()].count("take review") == 1
    assert verify(study.path).findings == ()


def test_a_name_that_was_given_later_counts(
    study: Study, copies: tuple[Study, Study], make_case: Callable[..., NewCase]
) -> None:
    ada, ben = copies
    ada.changes.rename("a", "first")
    ben.changes.rename("a", "second")
    for copy in (ben, ada, ben):
        study.merge(copy)
    assert study.case("a").name == "second"
    assert study.changes.former_names("a") == ("a",)
    study.changes.rename("a", "third")
    study.merge(ben)
    assert study.case("a").name == "third"
    study.add_cases([make_case("b")])
    ada.changes.rename("a", "B")
    [told] = study.merge(ada).left_out
    assert "third is called B in the other study, which is the name of another case" in told
    assert study.case("a").name == "third"


def test_cases_that_are_not_there_come_with_everything(
    study: Study, make_case: Callable[..., NewCase], tmp_path: Path
) -> None:
    study.add_cases([make_case("b", labels=True), make_case("c")])
    study.changes.rename("b", "second visit")
    hands = dealt(["a", "second visit", "c"], ["Ada", "Ben"], seed=1)
    assert sorted(itertools.chain(*hands.values())) == ["a", "c", "second visit"]
    paths = split(study, tmp_path, hands)
    with Study.create(tmp_path / "all.mlbseg") as united:
        united.set_classes(study.classes)
        for path in paths.values():
            with Study.open(path, writable=False) as copy:
                assert {case.name for case in copy.cases} == set(hands[path.stem.split("-")[1]])
                united.merge(copy)
        assert {case.name: case.id for case in united.cases} == {
            "a": "a",
            "second visit": "b",
            "c": "c",
        }
        assert shown(united) == shown(study)
        assert not united.arrays.has("c", ArrayName.INITIAL_LABELS)
        ours, theirs = (one.arrays.open("b", ArrayName.INITIAL_LABELS) for one in (study, united))
        np.testing.assert_array_equal(ours[:], theirs[:])
        assert verify(united.path).findings == ()


def test_another_image_or_other_classes_are_refused_and_nothing_is_taken(
    study: Study, copies: tuple[Study, Study], make_case: Callable[..., NewCase], tmp_path: Path
) -> None:
    ada, _ = copies
    ada.save_slice(key(1), mask(1, 2), CLEAN)
    with Study.create(tmp_path / "other.mlbseg") as other:
        other.add_cases([make_case()])
        other.set_classes([ORGAN])
        other.save_slice(key(1), mask(1, 2), CLEAN)
        image = other.arrays.open("a", ArrayName.IMAGE)
        image[3, 3, 3] = 999
        with pytest.raises(UserError, match="its image differs"):
            study.merge(other)
    ada.set_classes([ORGAN, LabelClass(2, "core", (4, 5, 6))])
    with pytest.raises(UserError, match="here 1 organ; there 1 organ, 2 core"):
        study.merge(ada)
    with pytest.raises(UserError, match="same study"):
        study.merge(study)
    assert len(study.slices.records()) == 1


def test_what_was_removed_here_stays_removed(study: Study, copies: tuple[Study, Study]) -> None:
    ada, _ = copies
    ada.save_slice(key(1), mask(1, 2), CLEAN)
    study.changes.remove(["a"])
    merged = study.merge(ada)
    assert merged.revisions == 0
    [told] = merged.left_out
    assert "a was removed" in told


def test_a_copy_from_an_earlier_version_is_taken_as_it_is(
    study: Study, copies: tuple[Study, Study]
) -> None:
    ada, _ = copies
    ada.save_slice(key(1), mask(1, 2), CLEAN)
    ada.close()
    made_older(ada.path, 6)
    with Study.open(ada.path, writable=False) as older:
        assert study.merge(older).revisions == 1
    assert study.slices.clean() == (key(0), key(1))


def test_a_repair_keeps_conflicts(study: Study, copies: tuple[Study, Study]) -> None:
    for size, copy in zip((2, 3), copies, strict=True):
        copy.save_slice(key(1), mask(1, size), CLEAN)
        study.merge(copy)
    study.back_up()
    study.close()
    catalogue = study.path / "catalogue.sqlite"
    with catalogue.open("r+b") as file:
        file.truncate(catalogue.stat().st_size // 2)
    repair(study.path)
    with Study.open(study.path) as again:
        [conflict] = again.unions.conflicts()
        assert [one.author for one in conflict.opinions] == ["Ada", "Ben"]


def test_a_damaged_mask_of_the_other_is_left_out_with_its_slice(
    study: Study, copies: tuple[Study, Study]
) -> None:
    ada, _ = copies
    ada.save_slice(key(1), mask(1, 2), DRAFT)
    ada.save_slice(key(1), mask(1, 2), CLEAN)
    ada.save_slice(key(2), mask(1, 2), CLEAN)
    ada.close()
    with closing(sqlite3.connect(ada.path / "catalogue.sqlite")) as connection, connection:
        connection.execute("DROP TRIGGER masks_no_update")
        connection.execute("UPDATE masks SET data = x'00' WHERE number = 2")
        for statement in schema._append_only("masks")[:1]:
            connection.execute(statement)
    with Study.open(ada.path, writable=False) as damaged:
        merged = study.merge(damaged)
    assert merged.revisions == 1
    [told] = merged.left_out
    assert "Slice 1 of a was left out" in told
    assert study.slices.clean() == (key(0), key(2))
    assert study.slices.record(key(1)) is None


def test_hands() -> None:
    names = [f"case {n}" for n in range(10)]
    hands = dealt(names, ["Ada", "Ben"], shared=0.2, seed=3)
    both = set(hands["Ada"]) & set(hands["Ben"])
    assert (len(both), len(hands["Ada"]), len(hands["Ben"])) == (2, 6, 6)
    assert set(hands["Ada"]) | set(hands["Ben"]) == set(names)
    assert hands == dealt(names, ["Ada", "Ben"], shared=0.2, seed=3)
    with pytest.raises(UserError, match="name of their own"):
        dealt(names, ["Ada", "ada"])
    with pytest.raises(UserError, match="from 0 to 1"):
        dealt(names, ["Ada"], shared=2)


def test_a_split_that_fails_leaves_nothing(study: Study, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no case 'x'"):
        split(study, tmp_path, {"Ada": ["a"], "Ben": ["x"]})
    with pytest.raises(UserError, match="more people than cases"):
        split(study, tmp_path, {"Ada": ["a"], "Ben": []})
    taken = tmp_path / "cohort-Ben.mlbseg"
    taken.mkdir()
    with pytest.raises(UserError, match="exists already"):
        split(study, tmp_path, {"Ada": ["a"], "Ben": ["a"]})
    assert sorted(tmp_path.glob("*.mlbseg")) == [taken, study.path]


def test_blind_slices_stay_hidden_until_they_are_accepted(
    study: Study, make_case: Callable[..., NewCase], tmp_path: Path
) -> None:
    study.add_cases([make_case("b")])
    blind = drawn_blindly(study, 0.5, seed=2)
    assert len(blind) == 6
    assert key(0) not in blind, "somebody worked on it"
    assert blind == drawn_blindly(study, 0.5, seed=2)
    paths = split(study, tmp_path, {"Ada": ["a"], "Ben": ["b"]}, blind)
    with ExitStack() as opened:
        ada, ben = (
            opened.enter_context(Study.open(path, author=name)) for name, path in paths.items()
        )
        assert [case.name for case in ben.cases] == ["a", "b"]
        assert ben.blind.left() == frozenset(blind)
        ada.save_slice(blind[0], mask(1, 2), CLEAN)
        [told] = ben.merge(ada).left_out
        assert "What others did to 1 slices is held back" in told
        assert ben.slices.record(blind[0]) is None
        ben.save_slice(blind[0], mask(1, 3), CLEAN)
        assert ben.blind.left() == frozenset(blind[1:])
        assert ben.merge(ada).conflicts == (blind[0],)
        study.merge(ada)
        study.merge(ben)
        assert [one.people for one in agreement(study)] == [("Ada", "Ben")]
        assert study.blind.all() == frozenset()
        assert verify(ben.path).findings == ()
    with pytest.raises(UserError, match="from 0 to 1"):
        drawn_blindly(study, 2)

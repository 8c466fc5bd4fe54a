from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_study import make_phantoms

from napari_mlbseg.engine.training.clean_slices import (
    FEWEST_FOR_VALIDATION,
    FEWEST_VALIDATION,
    check_enough,
    choose_validation,
)
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.slices import SliceKey, SliceState

sets_of_classes = st.lists(st.frozensets(st.integers(1, 4)), max_size=40)


def keyed(classes: list[frozenset[int]]) -> dict[SliceKey, frozenset[int]]:
    return {SliceKey("case", 0, i): shown for i, shown in enumerate(classes)}


@given(sets_of_classes, st.floats(0, 0.5))
def test_no_class_loses_its_teachers(classes: list[frozenset[int]], share: float) -> None:
    shown = keyed(classes)
    held = choose_validation(shown, frozenset(), frozenset(), share=share)
    assert held <= set(shown)
    assert len(held) <= round(share * len(shown))
    for value in range(1, 5):
        with_class = [key for key, found in shown.items() if value in found]
        teachers = [key for key in with_class if key not in held]
        assert len(teachers) == len(with_class) or len(teachers) >= 2


@given(sets_of_classes, sets_of_classes, st.floats(0, 0.5))
def test_no_slice_is_scored_that_has_taught(
    first: list[frozenset[int]], later: list[frozenset[int]], share: float
) -> None:
    before, after = keyed(first), keyed(first + later)
    held = choose_validation(before, frozenset(), frozenset(), share=share)
    taught = frozenset(before) - held
    assert not choose_validation(after, held, taught, share=share) & taught


def test_roles_rotate_until_only_the_last_slices_have_not_taught() -> None:
    held: frozenset[SliceKey] = frozenset()
    taught: frozenset[SliceKey] = frozenset()
    for count in (*range(20, 61, 10), *range(61, 101)):
        shown = keyed([frozenset({1})] * count)
        held = choose_validation(shown, held, taught, share=0.2)
        taught |= frozenset(shown) - held
        assert len(held) <= round(0.2 * count)
        assert len(held) >= 3
    assert set(keyed([frozenset({1})] * 50)) <= taught


def test_a_share_validates_spread_over_the_order_of_acceptance() -> None:
    shown = keyed([frozenset({1})] * 40)
    held = choose_validation(shown, frozenset(), frozenset(), share=0.2)
    assert len(held) == 8
    indices = sorted(key.index for key in held)
    assert {b - a for a, b in pairwise(indices)} == {5}


def test_a_slice_that_is_no_longer_clean_does_not_validate() -> None:
    shown = keyed([frozenset({1})] * 20)
    held = choose_validation(shown, frozenset({SliceKey("gone", 0, 1)}), frozenset(), share=0.2)
    assert SliceKey("gone", 0, 1) not in held
    assert len(held) == 4


def test_few_slices_all_teach() -> None:
    shown = keyed([frozenset({1})] * (FEWEST_FOR_VALIDATION - 1))
    assert choose_validation(shown, frozenset(), frozenset(), share=0.5) == frozenset()


def test_one_or_two_validation_slices_are_worth_less_than_training() -> None:
    for count, most in ((13, 0), (18, 3)):
        shown = keyed([frozenset({1})] * count)
        assert len(choose_validation(shown, frozenset(), frozenset(), share=0.15)) == most


def chosen_slowly(
    shown: dict[SliceKey, frozenset[int]],
    previously: frozenset[SliceKey],
    trained_on: frozenset[SliceKey],
    share: float,
) -> frozenset[SliceKey]:
    """The same in so many words, looking at every slice for each that may validate."""
    wanted = round(share * len(shown))
    if len(shown) < FEWEST_FOR_VALIDATION or wanted < FEWEST_VALIDATION:
        return frozenset()
    held = [key for key in shown if key in previously]
    fresh = [key for key in shown if key not in previously and key not in trained_on]
    turn = round(2 * share * len(shown)) - round(2 * share * (len(shown) - len(fresh)))
    new = min(len(fresh), wanted, max(wanted - len(held), turn))
    for i in range(new):
        candidate = fresh[(2 * i + 1) * len(fresh) // (2 * new)]
        staying = {*held[max(0, len(held) + 1 - wanted) :], candidate}
        others = [classes for key, classes in shown.items() if key not in staying]
        if all(sum(value in classes for classes in others) >= 2 for value in shown[candidate]):
            held.append(candidate)
    return frozenset(held[max(0, len(held) - wanted) :])


@given(sets_of_classes, st.floats(0, 0.9), st.randoms(use_true_random=False))
def test_the_choice_is_that_of_a_slow_one(
    classes: list[frozenset[int]], share: float, rng: Any
) -> None:
    shown = keyed(classes)
    roles = {key: rng.choice(["validated", "taught", "new"]) for key in shown}
    previously = frozenset(key for key, role in roles.items() if role == "validated")
    taught = frozenset(key for key, role in roles.items() if role == "taught")
    found = choose_validation(shown, previously, taught, share=share)
    assert found == chosen_slowly(shown, previously, taught, share)


class Counted(frozenset[int]):
    """Classes that count how often they are looked at."""

    looks = 0

    def __iter__(self) -> Iterator[int]:
        Counted.looks += 1
        return super().__iter__()

    def __contains__(self, value: object) -> bool:
        Counted.looks += 1
        return super().__contains__(value)


def test_the_choice_looks_at_each_slice_a_few_times() -> None:
    for count in (100, 400):
        Counted.looks = 0
        choose_validation(keyed([Counted({1, 2})] * count), frozenset(), frozenset(), share=0.2)
        assert count <= Counted.looks <= 5 * count


def test_a_class_that_no_clean_slice_shows_may_come_from_imported_labels(tmp_path: Path) -> None:
    bare = make_phantoms(tmp_path / "bare.mlbseg")
    rough = make_phantoms(tmp_path / "rough.mlbseg", rough=True)
    for phantoms in (bare, rough):
        mask = np.zeros(phantoms.study.cases[0].geometry.shape[1:], dtype=np.uint8)
        mask[4:9, 4:9] = 1
        phantoms.study.save_slice(SliceKey("phantom0", 0, 5), mask, SliceState.CLEAN)
    with pytest.raises(UserError, match="'core'"):
        check_enough(bare.study, has_model=False)
    check_enough(rough.study, has_model=False)
    check_enough(bare.study, has_model=True)

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_study import make_phantoms

from napari_mlbseg.engine.training.clean_slices import (
    FEWEST_FOR_HOLDING_BACK,
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
    for count in (*range(10, 61, 10), *range(61, 101)):
        shown = keyed([frozenset({1})] * count)
        held = choose_validation(shown, held, taught, share=0.2)
        taught |= frozenset(shown) - held
        assert len(held) <= round(0.2 * count)
        assert len(held) >= 2
    assert set(keyed([frozenset({1})] * 50)) <= taught


def test_a_share_validates_spread_over_the_order_of_acceptance() -> None:
    shown = keyed([frozenset({1})] * 40)
    held = choose_validation(shown, frozenset(), frozenset(), share=0.2)
    assert len(held) == 8
    indices = sorted(key.index for key in held)
    assert {b - a for a, b in pairwise(indices)} == {5}


def test_a_slice_that_is_no_longer_clean_does_not_validate() -> None:
    shown = keyed([frozenset({1})] * 10)
    held = choose_validation(shown, frozenset({SliceKey("gone", 0, 1)}), frozenset(), share=0.2)
    assert SliceKey("gone", 0, 1) not in held
    assert len(held) == 2


def test_few_slices_all_teach() -> None:
    shown = keyed([frozenset({1})] * (FEWEST_FOR_HOLDING_BACK - 1))
    assert choose_validation(shown, frozenset(), frozenset(), share=0.5) == frozenset()


def test_a_class_that_no_clean_slice_shows_may_come_from_imported_labels(tmp_path: Path) -> None:
    bare = make_phantoms(tmp_path / "bare.mlbseg")
    rough = make_phantoms(tmp_path / "rough.mlbseg", rough=True)
    for phantoms in (bare, rough):
        mask = np.zeros(phantoms.study.cases[0].geometry.shape[1:], dtype=np.uint8)
        mask[4:9, 4:9] = 1
        phantoms.study.save_slice(SliceKey("phantom0", 0, 5), mask, SliceState.CLEAN)
    with pytest.raises(UserError, match="'core'"):
        check_enough(bare.study)
    check_enough(rough.study)

"""Suggestions: what they never do, and that they do what they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_study import SHAPE, Phantoms

from napari_mlbseg.engine.predictions.suggestions import slices_to_correct
from napari_mlbseg.engine.steps import next_slice
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.coverage import looked_at_everywhere
from napari_mlbseg.project.records.slices import SliceKey, SliceState

LENGTH = SHAPE[0]


@pytest.fixture
def trained(phantoms: Phantoms) -> Phantoms:
    """As after a run: a prediction that is the truth, and doubt in the upper half of phantom1."""
    study = phantoms.study
    for case in study.cases:
        for name in (ArrayName.PREDICTION, ArrayName.TRUST):
            study.arrays.create(case.id, name)
        study.arrays.write(case.id, ArrayName.PREDICTION, 0, 0, phantoms.truth[case.id])
        trust = np.full(SHAPE, 0.99, dtype=np.float16)
        if case.id == "phantom1":
            trust[LENGTH // 2 :] = 0.2
        study.arrays.write(case.id, ArrayName.TRUST, 0, 0, trust)
    return phantoms


@pytest.mark.parametrize("count", [0, 1, 5, 10_000])
@pytest.mark.parametrize("fixture", ["phantoms", "trained"])
def test_open_slices_once_each_and_no_more_than_asked(
    fixture: str, count: int, request: pytest.FixtureRequest
) -> None:
    phantoms: Phantoms = request.getfixturevalue(fixture)
    clean = set(phantoms.accept("phantom0", 3, 7))
    skipped = SliceKey("phantom1", 0, 6)
    phantoms.study.slices.set_state(skipped, SliceState.SKIPPED)
    found = [one.key for one in slices_to_correct(phantoms.study, count)]
    everything = {SliceKey(f"phantom{c}", 0, i) for c in (0, 1) for i in range(LENGTH)}
    assert len(set(found)) == len(found) == min(count, 2 * LENGTH - 3)
    assert set(found) <= everything - clean - {skipped}
    assert found == [one.key for one in slices_to_correct(phantoms.study, count)]


def test_a_batch_begins_with_smaller_ones_and_adds_less_and_less(trained: Phantoms) -> None:
    trained.accept("phantom0", 2)
    six, three = slices_to_correct(trained.study, 6), slices_to_correct(trained.study, 3)
    assert six[:3] == three
    costless = [s.gain for s in six if s.gain is not None]
    assert len(costless) == 6
    assert all(g > 0 for g in costless)
    assert sum(costless) < 1 / (1 - next_slice.COST_SHARE)


def test_doubt_draws_suggestions(trained: Phantoms) -> None:
    first = slices_to_correct(trained.study, 1)[0]
    assert first.key.case_id == "phantom1"
    assert first.doubtful_mm2 == pytest.approx(0.8 * SHAPE[1] * SHAPE[2], rel=0.01)


def test_a_corrected_slice_is_not_suggested_again_nor_are_its_neighbours_at_once(
    trained: Phantoms,
) -> None:
    first = slices_to_correct(trained.study, 1)[0].key
    trained.accept(first.case_id, first.index)
    after = slices_to_correct(trained.study, 1)[0].key
    assert after != first
    assert after.case_id != first.case_id or abs(after.index - first.index) > 1


def test_without_trust_maps_every_slice_counts_alike(phantoms: Phantoms) -> None:
    study = phantoms.study
    study.arrays.create("phantom0", ArrayName.PREDICTION)
    found = slices_to_correct(study, 4)
    assert [one.doubtful_mm2 for one in found] == [None] * 4
    assert np.all(next_slice.relative_doubt(np.full(5, np.nan)) == 1)


def test_twins_are_not_suggested_together() -> None:
    """Two kinds of slices, many of each: the first two suggestions are one of each."""
    kinds = np.repeat(np.eye(2, dtype=np.float32), [9, 4], axis=0)
    similarity = next_slice.alike(kinds)
    nothing, everything = np.zeros(13, dtype=bool), np.ones(13, dtype=bool)
    chosen = next_slice.choose(similarity, np.ones(13), clean=nothing, free=everything, count=2)
    assert [kinds[i].argmax() for i, _ in chosen] == [0, 1]
    taught = nothing.copy()
    taught[0] = True
    (only,) = next_slice.choose(similarity, np.ones(13), clean=taught, free=everything, count=1)
    assert kinds[only[0]].argmax() == 1


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 4))
def test_greedy_is_near_the_best_batch(seed: int, count: int) -> None:
    """With equal costs greedy gets at least 1 - 1/e of the best (Nemhauser et al. 1978)."""
    from itertools import combinations

    features = np.random.default_rng(seed).normal(size=(9, 2)).astype(np.float32)
    similarity, free = next_slice.alike(features), np.ones(9, dtype=bool)
    chosen = next_slice.choose(similarity, np.ones(9), clean=~free, free=free, count=count)
    value = similarity[:, [i for i, _ in chosen]].max(axis=1).mean()
    best = max(similarity[:, list(c)].max(axis=1).mean() for c in combinations(range(9), count))
    assert sum(gain for _, gain in chosen) == pytest.approx(value, rel=1e-4)
    assert value >= (1 - 1 / np.e) * best


def test_similarity_is_that_of_slices() -> None:
    generator = np.random.default_rng(0)
    features, heights = generator.normal(size=(20, 3)), np.linspace(0, 1, 20)
    found = next_slice.alike(features.astype(np.float32), np.full((20, 2), 7, dtype=np.float32))
    assert np.allclose(found, found.T)
    assert np.all(found.diagonal() == 1)
    apart = np.linalg.norm(features[:, None] - features[None], axis=-1)
    order = apart[np.triu_indices(20, 1)].argsort()
    assert np.all(np.diff(found[np.triu_indices(20, 1)][order]) <= 1e-6)
    close = next_slice.near(np.repeat([0, 1], 10), heights.astype(np.float32))
    assert np.all(close[:10, 10:] == 0)
    assert np.all(np.diff(close[0, :10]) < 0)


def test_progress_names_every_case_and_can_end_it(trained: Phantoms) -> None:
    told: list[tuple[str, int, int]] = []
    slices_to_correct(trained.study, 1, progress=lambda *step: told.append(step))
    cases = trained.study.cases
    assert told == [(f"Looking at {c.id}", i, len(cases)) for i, c in enumerate(cases)]

    def give_up(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        slices_to_correct(trained.study, 1, progress=give_up)


def test_slices_that_nobody_looked_at_come_first_and_are_named(trained: Phantoms) -> None:
    study = trained.study
    trained.accept("phantom0", 5, 6)
    cases, found = study.cases, slices_to_correct(study, 16)
    assert found[0].never_looked_at
    known = set(study.slices.clean())
    now = looked_at_everywhere(cases, known)
    for one in found:
        near = looked_at_everywhere(cases, known)
        unseen = {
            (c.id, i)
            for c in cases
            for i in np.flatnonzero(~near[c.id]).tolist()
            if SliceKey(c.id, 0, i) not in known
        }
        assert not unseen or (one.key.case_id, one.key.index) in unseen
        assert one.never_looked_at == (not now[one.key.case_id][one.key.index])
        known.add(one.key)


def test_before_the_first_run_they_come_first_too(phantoms: Phantoms) -> None:
    phantoms.accept("phantom0", 3, 6, 9)
    found = [one.never_looked_at for one in slices_to_correct(phantoms.study, 24)]
    assert found == sorted(found, reverse=True)
    assert set(found) == {True, False}


def test_pooling_keeps_means_and_takes_small_images() -> None:
    image = np.random.default_rng(0).normal(size=(24, 40)).astype(np.float32)
    slow = image.reshape(8, 3, 8, 5).mean(axis=(1, 3))
    assert np.allclose(next_slice.pooled(image, 8), slow, atol=1e-5)
    assert next_slice.pooled(image[:3, :5], 8).shape == (8, 8)


@pytest.mark.parametrize("seed", range(5))
def test_any_beginning_is_spread_over_cases_and_heights(seed: int) -> None:
    counts = [88] * 12
    order = list(next_slice.evenly_spread(counts, seed=seed))
    assert len(set(order)) == sum(counts)
    for budget in (12, 24, 48):
        begun = order[:budget]
        assert {sum(c == case for c, _ in begun) for case in range(12)} == {budget // 12}
        heights = np.sort([index / 87 for _, index in begun])
        assert heights[0] < 0.25
        assert heights[-1] > 0.75
        assert np.diff(heights).max() < 3 * 0.7 / budget + 0.02
    assert order != list(next_slice.evenly_spread(counts, seed=seed + 1))


def test_cases_of_all_lengths_are_used_up() -> None:
    assert sorted(next_slice.evenly_spread([1, 3, 0], seed=0)) == [(0, 0), (1, 0), (1, 1), (1, 2)]

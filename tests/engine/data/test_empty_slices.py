"""Slices that are certified to show no class are learnt from, in slices and in patches."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_study import Phantoms, make_phantoms
from torch import Tensor

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.data.choose import choose_source
from napari_mlbseg.engine.data.dimensions import Dimensions
from napari_mlbseg.engine.data.source import (
    EMPTY_SHARE,
    CleanSlices,
    NoisyLabels,
    Source,
    draw_clean,
)
from napari_mlbseg.engine.data.sparse import fill_slices, lay_slices
from napari_mlbseg.engine.data.volumes import Frame, affine
from napari_mlbseg.engine.nets.labels import IGNORE
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.extents import Extent
from napari_mlbseg.project.records.slices import SliceKey, SliceState

CPU = torch.device("cpu")
FIRST, LAST = 3, 8
OUTSIDE = [0, 1, 2, 9, 10, 11]


@pytest.fixture
def solid(tmp_path: Path) -> Phantoms:
    return make_phantoms(tmp_path / "s.mlbseg", rough=True, spacing_mm=(1.0, 1.0, 1.0))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def source_of(phantoms: Phantoms, dimensions: Dimensions) -> Source:
    """A source whose one training slice is all `organ`, and some slices are empty."""
    _, source = choose_source(phantoms.study, Config(slice_size=48, dimensions=dimensions), CPU)
    organ = torch.ones(phantoms.truth["phantom0"].shape[1:], dtype=torch.long)
    empty = tuple(SliceKey("phantom0", 0, index) for index in OUTSIDE)
    clean = {SliceKey("phantom0", 0, 5): organ}
    source.use(CleanSlices(training=clean, left_out=frozenset({*clean, *empty}), empty=empty))
    return source


def test_a_share_of_clean_samples_is_empty() -> None:
    training = {SliceKey("a", 0, 0): torch.zeros(2, 2, dtype=torch.long)}
    empty = (SliceKey("a", 0, 7), SliceKey("a", 0, 8))
    drawn = draw_clean(CleanSlices(training=training, empty=empty), 4000, generator())
    share = sum(key in empty for key in drawn) / 4000
    assert share == pytest.approx(EMPTY_SHARE, abs=0.03)
    assert set(drawn) == {*training, *empty}


def test_without_empty_slices_the_same_random_numbers_are_drawn_as_ever() -> None:
    training = {SliceKey("a", 0, i): torch.zeros(2, 2, dtype=torch.long) for i in range(5)}
    drawn, random = generator(), generator()
    found = draw_clean(CleanSlices(training=training), 6, drawn)
    assert [key.index for key in found] == torch.randint(5, (6,), generator=random).tolist()
    assert torch.equal(drawn.get_state(), random.get_state())


@pytest.mark.parametrize("dimensions", ["2d", "2.5d"])
def test_an_empty_slice_shows_nothing_but_background(
    solid: Phantoms, dimensions: Dimensions
) -> None:
    labels = source_of(solid, dimensions).clean_batch(40, generator()).labels
    shown = [set(one.unique().tolist()) - {IGNORE} for one in labels]
    assert {0} in shown
    assert {1} in shown
    assert all(one in ({0}, {1}) for one in shown)


def test_patches_know_every_empty_slice_that_they_cross(solid: Phantoms) -> None:
    labels = source_of(solid, "3d").clean_batch(40, generator()).labels
    with_both = [one for one in labels if {0, 1} <= set(one.unique().tolist())]
    assert with_both
    for one in with_both:  # the empty slices lie at least three slices from the organ's
        layers = (one == 1).any(dim=2).any(dim=1).nonzero().flatten()
        empty = (one == 0).any(dim=2).any(dim=1).nonzero().flatten()
        assert not set(layers.tolist()) & set(empty.tolist())


@pytest.mark.parametrize("dimensions", ["2d", "3d"])
def test_labels_of_slices_left_out_are_not_learnt(solid: Phantoms, dimensions: Dimensions) -> None:
    _, source = choose_source(solid.study, Config(slice_size=48, dimensions=dimensions), CPU)
    organ = np.ones(solid.truth["phantom0"].shape, np.uint8)
    organ[OUTSIDE] = 7
    for case in solid.study.cases:
        solid.study.arrays.create(case.id, ArrayName.PSEUDO_LABELS, [(0, organ)], axis=0)
    cases = frozenset(case.id for case in solid.study.cases)
    left_out = frozenset(SliceKey(name, 0, index) for name in cases for index in OUTSIDE)

    def shown(labels: NoisyLabels) -> set[int]:
        source.learn_from(labels)
        found = source.noisy_batch(30, generator()).labels
        return set(torch.unique(found).tolist()) - {IGNORE}

    assert shown(NoisyLabels(ArrayName.PSEUDO_LABELS, cases)) == {1, 2}
    assert shown(NoisyLabels(ArrayName.PSEUDO_LABELS, cases, left_out)) == {1}
    assert source.has_open_slices
    everything = frozenset(SliceKey(name, 0, index) for name in cases for index in range(12))
    source.learn_from(NoisyLabels(ArrayName.PSEUDO_LABELS, cases, everything))
    assert not source.has_open_slices


def test_empty_layers_are_those_of_slices_that_show_nothing(solid: Phantoms) -> None:
    case = solid.study.cases[0]
    frame = Frame(case, (1.0, 1.0, 1.0))
    size = (16, *case.geometry.shape[1:])
    move = affine(shift=(1.0, 0.0, 0.0))
    unknown = torch.full(size, IGNORE, dtype=torch.long)
    empty = torch.zeros(12, dtype=torch.bool)
    empty[OUTSIDE] = True
    blank: dict[SliceKey, Tensor | None] = {
        SliceKey(case.id, 0, i): torch.zeros(case.geometry.shape[1:], dtype=torch.long)
        for i in OUTSIDE
    }
    found = fill_slices(unknown, move, frame, empty, 0)
    assert torch.equal(found, lay_slices(unknown, move, frame, blank))
    assert (found == 0).any()
    assert torch.equal(fill_slices(unknown, move, frame, empty & False, 0), unknown)


def test_a_training_knows_what_the_extents_certify(solid: Phantoms) -> None:
    solid.accept("phantom0", 1, 4, 5)
    blank = torch.zeros(solid.truth["phantom0"].shape[1:], dtype=torch.uint8).numpy()
    solid.study.save_slice(SliceKey("phantom0", 0, 1), blank, SliceState.CLEAN)
    solid.study.slices.set_state(SliceKey("phantom0", 0, 10), SliceState.SKIPPED)
    trainer = Trainer(solid.study, Config(slice_size=48, dimensions="2d"))
    solid.study.extents.mark("phantom0", 0, 1, Extent(FIRST, LAST))
    trainer.read_clean_slices()
    assert not trainer.source.clean.empty  # the other class may show there
    solid.study.extents.mark("phantom0", 0, 7, Extent(FIRST, LAST))
    trainer.read_clean_slices()
    clean = trainer.source.clean
    assert [key.index for key in clean.empty] == [0, 2, 9, 11]
    assert clean.left_out >= set(clean.empty)
    assert not set(clean.empty) & {*clean.training, *clean.validation}

"""Patches against a slow reference: the whole volume in memory, and scipy's interpolation."""

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from small_study import Phantoms, make_phantoms
from torch import Generator, Tensor

from napari_mlbseg.engine.data.grid import Grid, VolumeGrid, choose_volume_grid
from napari_mlbseg.engine.data.patches import PatchSource
from napari_mlbseg.engine.data.source import CleanSlices, Span, as_planes
from napari_mlbseg.engine.nets import device
from napari_mlbseg.engine.nets.labels import IGNORE
from napari_mlbseg.engine.nets.views import VIEWS
from napari_mlbseg.engine.steps.predict import probabilities
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.slices import SliceKey, SliceState

SHAPE = (40, 50, 46)
CPU = torch.device("cpu")
FAR = 2.2
"""Coarser than the file, so that voxels are averaged and clean slices fall between layers."""


@pytest.fixture
def solid(tmp_path: Path) -> Phantoms:
    return make_phantoms(
        tmp_path / "solid.mlbseg", cases=1, rough=True, shape=SHAPE, spacing_mm=(1.0, 1.0, 1.0)
    )


def source_of(phantoms: Phantoms, resolution_mm: float, patch: int = 16) -> PatchSource:
    grid = VolumeGrid((patch,) * 3, (resolution_mm,) * 3)
    source = PatchSource(phantoms.study, grid, device=CPU)
    teaching = {k: indices(source, phantoms, k) for k in phantoms.study.slices.clean()}
    skipped = {r.key for r in phantoms.study.slices.records(state=SliceState.SKIPPED)}
    source.use(CleanSlices(teaching, {}, frozenset(skipped | set(teaching))))
    return source


def indices(source: PatchSource, phantoms: Phantoms, key: SliceKey) -> Tensor:
    return source.classes.indices(phantoms.study.slices.mask(key), key)


def axes_of(phantoms: Phantoms) -> list[int]:
    axis = phantoms.study.cases[0].axis
    return [axis, *(a for a in range(3) if a != axis)]


class Recorded:
    """Where a source put its patches, caught at the one function that every patch goes through."""

    def __init__(self, source: PatchSource, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moves: list[Tensor] = []
        sample = source._sample

        def recording(frame: object, move: Tensor, *others: object) -> object:
            self.moves.append(move)
            return sample(frame, move, *others)  # type: ignore[arg-type]

        monkeypatch.setattr(source, "_sample", recording)

    def positions(self, number: int, side: int, resolution_mm: float) -> NDArray[np.float64]:
        """``3 z y x``: voxels of the file, counted from the first, the annotated axis first."""
        move = self.moves[number][0].double().numpy()
        span = np.arange(side) - (side - 1) / 2
        z, y, x = np.meshgrid(span, span, span, indexing="ij")
        at = np.einsum("ij,j...->i...", move[:, :3], np.stack([x, y, z]))
        found: NDArray[np.float64] = (at + move[:, 3][:, None, None, None])[::-1] * resolution_mm
        return found


def nearest(labels: NDArray[np.int64], at: NDArray[np.float64]) -> NDArray[np.int64]:
    index = [np.rint(p).astype(int) for p in at]
    inside = [(i >= 0) & (i < n) for i, n in zip(index, labels.shape, strict=True)]
    clipped = [np.clip(i, 0, n - 1) for i, n in zip(index, labels.shape, strict=True)]
    return np.where(np.all(inside, axis=0), labels[tuple(clipped)], IGNORE)


@pytest.mark.parametrize("resolution_mm", [1.0, 1.4, FAR])
def test_a_noisy_patch_is_cut_out_of_the_resampled_volume(
    solid: Phantoms, resolution_mm: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(solid, resolution_mm)
    seen = Recorded(source, monkeypatch)
    batch = source.noisy_batch(6, Generator().manual_seed(0))
    case, axes = solid.study.cases[0], axes_of(solid)
    raw = np.asarray(solid.study.arrays.open(case.id, ArrayName.IMAGE)[:]).transpose(axes)
    scale, factor = case.intensity, int(resolution_mm)
    normalised = (np.clip(raw.astype(float), scale.low, scale.high) - scale.mean) / scale.std
    labels = np.asarray(solid.study.arrays.open(case.id, ArrayName.INITIAL_LABELS)[:]).transpose(
        axes
    )
    labels = np.searchsorted([0, 1, 7], labels)
    if factor > 1:
        blocks = [n // factor for n in raw.shape]
        assert [b * factor for b in blocks] == list(raw.shape)
        split = [v for b in blocks for v in (b, factor)]
        normalised = normalised.reshape(split).mean(axis=(1, 3, 5))
        labels = labels[tuple(slice(factor // 2, None, factor) for _ in range(3))]
    for number in range(6):
        at = seen.positions(number, 16, resolution_mm) / factor
        at += (np.array(normalised.shape)[:, None, None, None] - 1) / 2
        expected = ndimage.map_coordinates(normalised, at, order=1, mode="nearest")
        np.testing.assert_allclose(batch.images[number, 0], expected, atol=2e-3)
        assert (batch.labels[number].numpy() == nearest(labels, at)).mean() > 0.999
    assert len({tuple(m.flatten().tolist()) for m in seen.moves}) == 6
    assert len(torch.unique(batch.labels)) >= 3


@pytest.mark.parametrize("resolution_mm", [1.0, FAR])
def test_a_clean_patch_is_labelled_on_the_slices_that_teach_and_nowhere_else(
    solid: Phantoms, resolution_mm: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = solid.accept("phantom0", 9, 20, axis=0) + solid.accept("phantom0", 22, axis=1)
    keys += solid.accept("phantom0", 30, axis=2)
    draft = SliceKey("phantom0", 0, 21)
    solid.study.save_slice(draft, np.ones(SHAPE[1:], np.uint8), SliceState.DRAFT)
    source = source_of(solid, resolution_mm)
    seen = Recorded(source, monkeypatch)
    batch = source.clean_batch(24, Generator().manual_seed(1))
    axes = axes_of(solid)
    truth = np.searchsorted([0, 1, 7], solid.truth["phantom0"]).transpose(axes)
    through = dict.fromkeys(keys, 0)
    for number in range(24):
        at = seen.positions(number, 16, resolution_mm)
        at += (np.array(truth.shape)[:, None, None, None] - 1) / 2
        found = batch.labels[number].numpy()
        zoom = float(seen.moves[number][0, 2, 2].abs())
        half = max(1.0, zoom * resolution_mm) / 2
        near = np.zeros(found.shape, bool)
        for key in keys:
            normal = axes.index(key.axis)
            away = np.abs(at[normal] - key.index)
            near |= away <= half + 1e-3
            on = at.copy()
            on[normal] = key.index
            expected = nearest(truth, on)
            clear = (away < half - 1e-3) & (expected != IGNORE)
            others = [np.abs(at[axes.index(k.axis)] - k.index) < half + 1 for k in keys if k != key]
            alone = clear & ~np.any(others, axis=0)
            through[key] += int(alone.sum())
            assert (found == expected)[alone].sum() >= 0.99 * alone.sum()
        assert (found[~near] == IGNORE).all()
        assert (found != IGNORE).any()
    assert min(through.values()) > 0


def test_slices_that_teach_nothing_are_left_out_of_noisy_patches(solid: Phantoms) -> None:
    solid.accept("phantom0", 20)
    solid.study.slices.set_state(SliceKey("phantom0", 1, 25), SliceState.SKIPPED)
    source = source_of(solid, 1.0, patch=48)
    plain = source_of(solid, 1.0, patch=48)
    plain.use(CleanSlices())
    ours = source.noisy_batch(1, Generator().manual_seed(3)).labels
    theirs = plain.noisy_batch(1, Generator().manual_seed(3)).labels
    changed = ours != theirs
    assert (ours[changed] == IGNORE).all()
    assert 48 * 10 < int(changed.sum()) < 3 * 2 * 48 * 48


def test_steady_patches_do_not_change(solid: Phantoms) -> None:
    keys = solid.accept("phantom0", 9, 20)
    source = source_of(solid, 1.0)
    first, second = (source.steady_batch(keys) for _ in range(2))
    torch.testing.assert_close(first.images, second.images, rtol=0, atol=0)
    assert torch.equal(first.labels, second.labels)
    assert ((first.labels != IGNORE).sum(dim=(1, 2, 3)) == 16 * 16).all()
    assert (first.labels > 0).any(dim=3).any(dim=2).any(dim=1).all()


def average(parameters: object, images: Tensor) -> Tensor:
    """A network that looks at its whole input, so that tiles matter."""
    centred = images - images.mean(dim=(2, 3, 4), keepdim=True)
    return torch.cat([centred, -centred], dim=1)


@pytest.mark.parametrize("resolution_mm", [1.0, 1.4])
def test_a_volume_predicted_a_few_slices_at_a_time_comes_out_as_a_whole(
    solid: Phantoms, resolution_mm: float
) -> None:
    source, case = source_of(solid, resolution_mm), solid.study.cases[0]
    count = case.geometry.shape[case.axis]

    def predicted(span: Span) -> Tensor:
        scene = source.scene(span)
        found = probabilities(
            average, {}, scene.images, views=[VIEWS["identity"]], tile=source.tile
        )
        return torch.cat([scene.to_file(as_planes(found), part) for part in span.parts(3)])

    everything = Span(case, case.axis, 0, count)
    whole = predicted(everything)
    assert whole.shape == (count, 2, *case.slice_shape(case.axis))
    parts = torch.cat([predicted(span) for span in everything.parts(7)])
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=0)
    assert source.scene(Span(case, case.axis, 5, 9)).images.shape[2] < (count / resolution_mm)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_along_any_axis_comes_back_to_its_own_pixels(solid: Phantoms, axis: int) -> None:
    source, case = source_of(solid, 1.0), solid.study.cases[0]
    span = Span(case, axis, 17, 18)
    scene = source.scene(span, labels=True)
    (back,) = scene.to_file(scene.labels[:, None].float(), span)
    stored = solid.study.arrays.read(case.id, ArrayName.INITIAL_LABELS, axis, 17)
    np.testing.assert_allclose(back[0], np.searchsorted([0, 1, 7], stored), atol=1e-3)


def test_patches_are_no_larger_than_the_volumes_need(solid: Phantoms) -> None:
    grid = Grid(64, 1.0)
    assert choose_volume_grid(solid.study.cases, grid, (64, 128, 128)).patch == (48, 64, 64)
    coarse = choose_volume_grid(solid.study.cases, Grid(32, 4.0), (32, 64, 64))
    assert coarse.patch == (16, 32, 32)
    assert coarse.resolution_mm == (4.0, 4.0, 4.0)


def held_bytes() -> int:
    gc.collect()
    tensors = [t for t in gc.get_objects() if issubclass(type(t), Tensor)]
    return sum(
        {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values()
    )


def test_memory_does_not_grow_with_the_cohort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 2**20
    case_bytes = 5 * int(np.prod(SHAPE))
    phantoms = make_phantoms(
        tmp_path / "many.mlbseg", cases=8, rough=True, shape=SHAPE, spacing_mm=(1.0, 1.0, 1.0)
    )
    free = source_of(phantoms, 1.0).noisy_batch(40, Generator().manual_seed(0))
    monkeypatch.setattr(device, "CACHE_BYTES", limit)
    source, before = source_of(phantoms, 1.0), held_bytes()
    batch = source.noisy_batch(40, Generator().manual_seed(0))
    assert torch.equal(batch.images, free.images)
    assert torch.equal(batch.labels, free.labels)
    drawn = batch.images.nbytes + batch.labels.nbytes
    assert 8 * case_bytes > 3 * limit
    assert held_bytes() - before - drawn < limit + case_bytes

"""Imported labels as channels of a network's input."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_study import QUICK, Phantoms, make_phantoms

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.data.choose import choose_source
from napari_mlbseg.engine.data.source import CleanSlices, Source, Span, as_planes
from napari_mlbseg.engine.deploy.trained import read_trained
from napari_mlbseg.engine.events import Finished, Inbox
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.nets.labels import as_input
from napari_mlbseg.engine.training.sampler import MOSTLY_WITHOUT, WITHOUT_LABELS, Sampler
from napari_mlbseg.engine.training.trained_network import read_trained_network
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.slices import SliceKey

DIMENSIONS = pytest.mark.parametrize("dimensions", ["2d", "2.5d", "3d"])


def config(dimensions: str, **changes: object) -> Config:
    return Config.from_dict(QUICK.to_dict() | {"dimensions": dimensions} | changes)


def source_of(phantoms: Phantoms, dimensions: str, **changes: object) -> Source:
    device = torch.device("cpu")
    return choose_source(phantoms.study, config(dimensions, **changes), device)[1]


def test_labels_are_one_channel_for_each_foreground_class() -> None:
    labels = torch.tensor([[0, 1], [2, -1]])
    expected = [[[-1, 1], [-1, -1]], [[-1, -1], [1, -1]]]
    assert as_input(labels, classes=3).tolist() == expected


@DIMENSIONS
def test_the_last_channels_are_the_imported_labels(tmp_path: Path, dimensions: str) -> None:
    phantoms = make_phantoms(tmp_path / "a.mlbseg", rough=True)
    source = source_of(phantoms, dimensions)
    sample = source.sample
    assert sample.label_channels == 2
    assert sample.channels == source.channels == sample.image_channels + 2
    case = phantoms.study.cases[1]
    span = Span(case, case.axis, 4, 8)
    scene = source.scene(span)
    planes = as_planes(scene.images)[:, sample.image_channels :]
    found = (scene.to_file(planes, span) > 0).numpy()
    imported = np.asarray(phantoms.study.arrays.open(case.id, ArrayName.INITIAL_LABELS)[4:8])
    for channel, value in enumerate((1, 7)):
        assert (found[:, channel] == (imported == value)).mean() > 0.99
    alone = source_of(phantoms, dimensions, label_input=False)
    assert (alone.sample.label_channels, alone.channels) == (0, sample.image_channels)


@DIMENSIONS
def test_a_case_that_came_without_labels_has_zeros(tmp_path: Path, dimensions: str) -> None:
    phantoms = make_phantoms(tmp_path / "a.mlbseg", rough=True)
    bare = make_phantoms(tmp_path / "b.mlbseg")
    assert source_of(bare, dimensions).sample.label_channels == 0
    # The network of one study predicts the cases of another that came without labels.
    trainer = Trainer(phantoms.study, config(dimensions))
    phantoms.accept("phantom0", 5)
    trainer.read_clean_slices()
    trainer.save()
    source = read_trained_network(phantoms.study, device="cpu").source_for(bare.study)
    case = bare.study.cases[0]
    scene = source.scene(Span(case, case.axis, 4, 8))
    assert scene.images.shape[1] == trainer.source.channels
    assert (scene.images[:, source.sample.image_channels :] == 0).all()


@DIMENSIONS
@pytest.mark.parametrize(("alone", "share"), [(False, WITHOUT_LABELS), (True, MOSTLY_WITHOUT)])
def test_samples_do_without_labels_now_and_then(
    tmp_path: Path, dimensions: str, alone: bool, share: float
) -> None:
    phantoms = make_phantoms(tmp_path / "a.mlbseg", rough=True)
    phantoms.accept("phantom0", 5)
    trainer = Trainer(phantoms.study, config(dimensions))
    trainer.read_clean_slices()
    trainer.source.use(replace(trainer.source.clean, images_alone=alone))
    sampler = Sampler(
        trainer.source, trainer.state, batch=8, clean_batch=8, views=("identity",), views_per_step=1
    )
    trainer.state.batch = 8
    channels = trainer.source.sample.image_channels
    left_out, seen = 0, 0
    for _ in range(25):
        for image in sampler.clean().images:
            labels = image[channels:]
            assert not torch.isclose(image[:channels], image[:channels].round()).all()
            seen += 1
            if (labels == 0).all():
                left_out += 1
            else:
                assert labels.abs().max().item() == pytest.approx(1)  # no contrast, no noise
    assert left_out / seen == pytest.approx(share, abs=0.12)


def test_what_is_wrong_everywhere_is_learnt(tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "a.mlbseg", cases=3, rough=True)
    phantoms.accept("phantom0", 3, 5, 6, 8)
    settings = replace(QUICK, base_steps=150, steps=20, dimensions="2d")
    *_, last = Bootstrapper(phantoms.study, settings).events(Inbox())
    assert isinstance(last, Finished), last
    for case in phantoms.study.cases[1:]:
        arrays = phantoms.study.arrays
        before = np.asarray(arrays.open(case.id, ArrayName.INITIAL_LABELS)[3:9])
        after = np.asarray(arrays.open(case.id, ArrayName.PREDICTION)[3:9])
        truth = phantoms.truth[case.id][3:9]
        for value in (1, 7):
            errors = [
                int(((found == value) != (truth == value)).sum()) for found in (before, after)
            ]
            assert errors[1] < errors[0] / 2


@DIMENSIONS
def test_labels_that_mislead_are_seen_in_samples_but_not_in_predictions(
    tmp_path: Path, dimensions: str
) -> None:
    phantoms = make_phantoms(tmp_path / "a.mlbseg", rough=True)
    (key,) = phantoms.accept("phantom0", 5)
    source = source_of(phantoms, dimensions)
    truth = source.classes.indices(phantoms.truth["phantom0"][5], key)
    case, channels = phantoms.study.cases[0], source.sample.image_channels
    generator = torch.Generator().manual_seed(0)
    for alone in (False, True):
        source.use(CleanSlices(training={key: truth}, images_alone=alone))
        for images in (source.scene(Span(case, 0, 4, 8)).images, source.steady_batch([key]).images):
            assert bool((images[:, channels:] == 0).all()) is alone
            assert images[:, :channels].any()
        for batch in (source.clean_batch(2, generator), source.noisy_batch(2, generator)):
            assert batch.images[:, channels:].any()


@pytest.mark.parametrize("right", [True, False])
def test_predictions_do_without_labels_if_most_of_them_are_right(
    tmp_path: Path, right: bool
) -> None:
    phantoms = make_phantoms(tmp_path / "a.mlbseg", rough=True)
    if right:
        for case in phantoms.study.cases:
            truth = phantoms.truth[case.id]
            phantoms.study.arrays.write(case.id, ArrayName.INITIAL_LABELS, 0, 0, truth)
    phantoms.accept("phantom0", *range(2, 10))
    settings = replace(QUICK, base_steps=3, steps=2, dimensions="2.5d")
    *_, last = Bootstrapper(phantoms.study, settings).events(Inbox())
    assert isinstance(last, Finished), last
    trained, case = read_trained_network(phantoms.study), phantoms.study.cases[0]
    assert trained.images_alone is right
    source = trained.source_for(phantoms.study)
    seen = source.scene(Span(case, 0, 4, 8)).images[:, source.sample.image_channels :]
    assert bool((seen == 0).all()) is right
    # An exported model sees what the predictions saw.
    exported = read_trained(phantoms.study)
    channels = 3 if right else 5
    assert (exported.preparation.channels, exported.built["channels"]) == (channels, channels)
    assert exported.preparation.label_channels == channels - 3
    images = torch.randn(2, 5, 48, 48)
    if right:
        images[:, 3:] = 0
    torch.testing.assert_close(
        exported.network(images[:, :channels]), trained.network.float()(images)
    )


def test_clean_slices_keep_their_imported_labels(tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "a.mlbseg", rough=True)
    (key,) = phantoms.accept("phantom0", 5)
    source = source_of(phantoms, "2d")
    truth = source.classes.indices(phantoms.truth["phantom0"][5], key)
    source.use(CleanSlices(training={key: truth}))
    batch = source.steady_batch([SliceKey("phantom0", 0, 5)])
    assert not torch.equal(batch.images[0, 1] > 0, batch.labels[0] == 1)

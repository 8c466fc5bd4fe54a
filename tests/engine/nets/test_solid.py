"""The whole loop in 3-D on an isotropic phantom."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_study import QUICK, Phantoms, checkpoint, make_phantoms, same

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import (
    BatchShrunk,
    Event,
    Failed,
    Finished,
    Focus,
    Inbox,
    RunStarted,
    SlicesPublished,
    Stage,
    StageStarted,
    StepDone,
    Stop,
    ValidationScored,
)
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.training import objective
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.slices import SliceKey

SOLID = replace(QUICK, dimensions="3d", slice_size=32)
ALL_MAPS = {"prediction", "meta_weights_initial", "meta_weights_pseudo", "trust", "proposed_labels"}


def solid_phantoms(path: Path) -> Phantoms:
    return make_phantoms(path, rough=True, shape=(30, 34, 32), spacing_mm=(1.0, 1.0, 1.0))


def run(
    phantoms: Phantoms,
    config: Config,
    on_event: Callable[[Event, Inbox], None] = lambda event, inbox: None,
) -> list[Event]:
    inbox, events = Inbox(), []
    for event in Bootstrapper(phantoms.study, config).events(inbox):
        events.append(event)
        on_event(event, inbox)
    assert not isinstance(events[-1], Failed), events[-1]
    return events


@pytest.mark.slow
def test_a_run_in_3d_improves_on_its_initial_labels(tmp_path: Path) -> None:
    phantoms = solid_phantoms(tmp_path / "solid.mlbseg")
    axis = phantoms.study.cases[0].axis
    phantoms.accept("phantom0", 6, 11, 16, 21, axis=axis)
    phantoms.accept("phantom0", 15, axis=(axis + 1) % 3)
    phantoms.accept("phantom1", 9, 14, 20, axis=axis)

    def look(event: Event, inbox: Inbox) -> None:
        if isinstance(event, StageStarted) and event.stage is Stage.BOOTSTRAPPING:
            inbox.put(Focus(SliceKey("phantom1", axis, 25)))

    events = run(phantoms, replace(SOLID, base_steps=90, steps=6, validation_share=0.4), look)
    assert isinstance(events[-1], Finished)
    published = [e for e in events if isinstance(e, SlicesPublished) and set(e.arrays) == ALL_MAPS]
    assert (published[0].case_id, published[0].start, published[0].stop) == ("phantom1", 25, 26)
    scored = [e for e in events if isinstance(e, ValidationScored)]
    assert set(scored[-1].dice_per_class) == {1, 7}
    for case in phantoms.study.cases:
        before = np.asarray(phantoms.study.arrays.open(case.id, ArrayName.INITIAL_LABELS)[:])
        after = np.asarray(phantoms.study.arrays.open(case.id, ArrayName.PREDICTION)[:])
        for value in (1, 7):
            better = phantoms.dice(case.id, after, value)
            assert better > phantoms.dice(case.id, before, value)
        pair = [
            np.asarray(phantoms.study.arrays.open(case.id, name)[:]).astype(float)
            for name in (ArrayName.META_WEIGHTS_INITIAL, ArrayName.META_WEIGHTS_PSEUDO)
        ]
        np.testing.assert_allclose((pair[0] + pair[1]).mean() / 2, 1, atol=0.05)


@pytest.mark.parametrize(
    "stop_at",
    [pytest.param((Stage.BASE_MODEL, 2), marks=pytest.mark.slow), (Stage.BOOTSTRAPPING, 1)],
)
def test_stopping_and_resuming_in_3d_changes_nothing(
    tmp_path: Path, stop_at: tuple[Stage, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_mlbseg.engine.session.pace.REPORT_EVERY_S", 0.0)
    config = replace(SOLID, base_steps=3, steps=2)
    straight = solid_phantoms(tmp_path / "straight.mlbseg")
    broken = solid_phantoms(tmp_path / "broken.mlbseg")
    for phantoms in (straight, broken):
        phantoms.accept("phantom0", 6, 11, 16, axis=phantoms.study.cases[0].axis)
    run(straight, config)

    def stop(event: Event, inbox: Inbox) -> None:
        if isinstance(event, StepDone) and (event.stage, event.step) == stop_at:
            inbox.put(Stop())

    run(broken, config, stop)
    assert checkpoint(broken)["step"] == stop_at[1]
    run(broken, config)
    assert same(checkpoint(broken), checkpoint(straight))
    for name in (ArrayName.PREDICTION, ArrayName.TRUST):
        ours, theirs = (
            np.asarray(p.study.arrays.open("phantom1", name)[:]) for p in (broken, straight)
        )
        np.testing.assert_array_equal(ours, theirs)


def test_a_checkpoint_of_slices_does_not_fit_volumes(tmp_path: Path) -> None:
    phantoms = solid_phantoms(tmp_path / "solid.mlbseg")
    phantoms.accept("phantom0", 6, 11, 16, axis=phantoms.study.cases[0].axis)
    for dimensions in ("2.5d", "3d"):
        config = Config.from_dict(
            SOLID.to_dict() | {"dimensions": dimensions, "base_steps": 1, "steps": 0}
        )
        started = [e for e in run(phantoms, config) if isinstance(e, RunStarted)]
        assert started[0].resumed_step == 0
        assert started[0].network == f"{dimensions} unet"
        again = [e for e in run(phantoms, config) if isinstance(e, RunStarted)]
        assert again[0].resumed_step == 1


def test_out_of_memory_shrinks_the_batch_of_patches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantoms = solid_phantoms(tmp_path / "solid.mlbseg")
    phantoms.accept("phantom0", 6, 11, 16, axis=phantoms.study.cases[0].axis)
    gradient: Any = vars(objective)["clean_gradient"]

    def hungry(model: object, parameters: object, images: torch.Tensor, labels: object) -> object:
        if len(images) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return gradient(model, parameters, images, labels)

    monkeypatch.setattr(objective, "clean_gradient", hungry)
    events = run(phantoms, replace(SOLID, base_steps=1, steps=0, batch=2, clean_batch=4))
    assert [e.batch_size for e in events if isinstance(e, BatchShrunk)] == [1]

"""No model is shown that is worse than the one before."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_study import QUICK, Phantoms

from napari_mlbseg.engine.events import Finished, Inbox, Stage, ValidationScored
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.session.guard import Guard
from napari_mlbseg.engine.steps.score import compare
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.project.arrays.store import ArrayName

dices = st.lists(st.floats(0, 1), min_size=2, max_size=12)


@given(dices, st.floats(0.02, 0.5))
def test_the_same_fall_of_every_slice_is_worse_and_a_rise_never(
    theirs: list[float], fall: float
) -> None:
    assert compare([d - fall for d in theirs], theirs).worse
    assert not compare([d + fall for d in theirs], theirs).worse
    assert not compare(theirs, theirs).worse


def test_falls_that_the_spread_explains_are_not_worse() -> None:
    assert not compare([0.5, 0.95, 0.8], [0.9, 0.9, 0.75]).worse
    assert not compare([0.1], [0.9]).worse
    # The same two falls: two slices say little, six are enough.
    assert not compare([0.75, 0.75], [0.80, 0.90]).worse
    assert compare([0.75, 0.75] * 3, [0.80, 0.90] * 3).worse
    assert compare([0.6, 0.7, 0.8], None).uncertainty == pytest.approx(0.1 / 3**0.5)


def test_a_collapse_needs_no_test() -> None:
    assert compare([0.0, 0.0, 0.0], [0.3, 0.96, 0.37]).worse
    assert not compare([0.2, 0.97, 0.35], [0.3, 0.96, 0.37]).worse


def broken(trainer: Trainer) -> None:
    """A model that shows the background alone."""
    with torch.no_grad():
        for value in (*trainer.state.student.values(), *trainer.state.teacher.values()):
            value.zero_()


def trained(phantoms: Phantoms) -> Trainer:
    phantoms.accept("phantom0", *range(2, 10))
    config = replace(QUICK, base_steps=60, steps=0, validation_share=0.4)
    events = list(Bootstrapper(phantoms.study, config).events(Inbox()))
    assert isinstance(events[-1], Finished), events[-1]
    trainer = Trainer(phantoms.study, config)
    assert trainer.restore()
    trainer.read_clean_slices()
    assert len(trainer.validation_slices) >= 2
    return trainer


def test_a_broken_model_is_not_shown_and_a_mended_one_is(phantoms: Phantoms) -> None:
    trainer = trained(phantoms)
    guard = Guard(trainer)
    good = guard.score(Stage.BOOTSTRAPPING)
    assert good is not None
    assert good.shown
    assert good.dice > 0.3
    before = {n: v.clone() for n, v in trainer.parameters.items()}
    broken(trainer)
    bad = guard.score(Stage.BOOTSTRAPPING)
    assert bad is not None
    assert not bad.shown
    assert bad.dice == 0
    assert all(torch.equal(guard.parameters[n], v) for n, v in before.items())
    trainer.restore()
    again = guard.score(Stage.BOOTSTRAPPING)
    assert again is not None
    assert again.shown
    assert guard.parameters is trainer.parameters


def test_a_run_that_breaks_its_model_goes_on_publishing_the_better_one(
    phantoms: Phantoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantoms.accept("phantom0", *range(2, 10))
    step = Trainer.bootstrap_step

    def breaking(self: Trainer, *, learning_rate: float) -> object:
        losses = step(self, learning_rate=learning_rate)
        broken(self)
        return losses

    monkeypatch.setattr(Trainer, "bootstrap_step", breaking)
    config = replace(QUICK, base_steps=60, steps=2, validation_share=0.4)
    events = list(Bootstrapper(phantoms.study, config).events(Inbox()))
    assert isinstance(events[-1], Finished), events[-1]
    last = [e for e in events if isinstance(e, ValidationScored)][-1]
    assert not last.shown
    for case in phantoms.study.cases:
        assert np.asarray(phantoms.study.arrays.open(case.id, ArrayName.PREDICTION)[:]).any()

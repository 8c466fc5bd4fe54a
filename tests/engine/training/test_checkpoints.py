"""There is always a good checkpoint to go on from, whatever happens to the newest one."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_study import QUICK, Phantoms, checkpoint, make_phantoms, same

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import (
    Event,
    Failed,
    FellBack,
    Finished,
    Inbox,
    RunStarted,
    SlicesPublished,
    Stage,
    Stop,
    ValidationScored,
)
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.predictions.probabilities import export_predicted_probabilities
from napari_mlbseg.engine.session.guard import Guard
from napari_mlbseg.engine.session.recovery import CAUTION
from napari_mlbseg.engine.training.checkpoint import load
from napari_mlbseg.engine.training.checkpoints import BEST, PREVIOUS, Checkpoints
from napari_mlbseg.engine.training.finite import UnstableError, is_finite
from napari_mlbseg.engine.training.trained_network import read_trained_network
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study

TINY = replace(QUICK, base_steps=3, steps=2, slice_size=32, batch=2, clean_batch=2)


def run(
    phantoms: Phantoms,
    config: Config = TINY,
    on_event: Callable[[Event, Inbox], None] = lambda event, inbox: None,
) -> list[Event]:
    inbox, events = Inbox(), []
    for event in Bootstrapper(phantoms.study, config).events(inbox):
        events.append(event)
        on_event(event, inbox)
    return events


def fell(events: list[Event]) -> list[FellBack]:
    return [e for e in events if isinstance(e, FellBack)]


def resumed_at(events: list[Event]) -> int:
    return next(e.resumed_step for e in events if isinstance(e, RunStarted))


@pytest.fixture(scope="module")
def once_for_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that was trained twice, to step 5 and to step 7."""
    phantoms = make_phantoms(tmp_path_factory.mktemp("trained") / "phantoms.mlbseg")
    phantoms.accept("phantom0", 3, 5, 8)
    for _ in range(2):
        events = run(phantoms)
        assert isinstance(events[-1], Finished), events[-1]
    phantoms.study.close()
    return phantoms.study.path


@pytest.fixture
def trained(once_for_all: Path, tmp_path: Path) -> Iterator[Phantoms]:
    path = tmp_path / "copy.mlbseg"
    shutil.copytree(once_for_all, path)
    with Study.open(path) as study:
        yield Phantoms(study, {})


def break_parameters(trainer: Trainer, value: float = float("nan")) -> None:
    with torch.no_grad():
        next(iter(trainer.state.student.values())).view(-1)[0] = value


def beside(phantoms: Phantoms, name: str) -> Path:
    return phantoms.study.checkpoint_path.with_name(name)


# --- the files -----------------------------------------------------------------------------------

CONTENT: dict[str, Any] = {"fits": {}, "best": [["a", 0, 1, 0.5]]}


def totals(folder: Path) -> dict[str, int]:
    return {path.name: load(path).content["total"] for path in folder.iterdir()}


def test_there_are_three_at_most(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "latest.pt")
    kept.save(CONTENT | {"total": 0}, best=False)
    assert totals(tmp_path) == {"latest.pt": 0}
    kept.save(CONTENT | {"total": 1}, best=True)
    assert totals(tmp_path) == {"latest.pt": 1, PREVIOUS: 0, BEST: 1}
    for total in (2, 3):
        kept.save(CONTENT | {"total": total}, best=False)
    assert totals(tmp_path) == {"latest.pt": 3, PREVIOUS: 2, BEST: 1}
    assert [path.name for path in kept.paths()] == ["latest.pt", PREVIOUS, BEST]
    kept.save(CONTENT | {"total": 4, "best": None}, best=False)
    assert totals(tmp_path) == {"latest.pt": 4, PREVIOUS: 3}


def test_where_files_can_have_no_second_name_they_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*names: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refused)
    kept = Checkpoints(tmp_path / "latest.pt")
    for total in (1, 2):
        kept.save(CONTENT | {"total": total}, best=total == 1)
    assert totals(tmp_path) == {"latest.pt": 2, PREVIOUS: 1, BEST: 1}


KILLS = """
import os, signal, sys
from pathlib import Path
import torch
from napari_mlbseg.engine.training.checkpoints import Checkpoints
from napari_mlbseg.engine.training.checkpoint import load

folder = Path(sys.argv[1])
latest = folder / "latest.pt"
calls = 0

def save(total):
    content = {"fits": {}, "best": [], "total": total, "much": torch.full((4096,), float(total))}
    Checkpoints(latest).save(content, best=True)

def dying(function, at):
    def call(*arguments, **named):
        global calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return call

def child(at, total):
    for name in ("fsync", "link", "open"):
        setattr(os, name, dying(getattr(os, name), at))
    torch.save = dying(torch.save, at)
    Path.replace = dying(Path.replace, at)
    Path.unlink = dying(Path.unlink, at)
    save(total)
    os._exit(0)

save(1)
save(2)
survived, at = False, 0
while not survived:
    at += 1
    before = load(latest).content["total"]
    pid = os.fork()
    if pid == 0:
        child(at, before + 1)
    _, status = os.waitpid(pid, 0)
    survived = os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
    for name in ("latest.pt", "previous.pt", "best.pt"):
        content = load(folder / name).content
        assert (content["much"] == content["total"]).all(), name
        assert before - 2 <= content["total"] <= before + 1, (name, content["total"], before)
    assert load(latest).content["total"] in (before, before + 1)
    assert len(list(folder.glob("*.unfinished"))) <= 2
    Checkpoints(latest).sweep()
    assert sorted(path.name for path in folder.iterdir()) == ["best.pt", "latest.pt", "previous.pt"]
print(at)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
def test_killed_at_any_call_while_it_saves_every_file_is_whole(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", KILLS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 6


def test_a_full_disk_leaves_the_checkpoint_before_and_says_so(
    trained: Phantoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = checkpoint(trained)

    def full(content: object, file: Any) -> None:
        file.write(b"PK half of it")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        events = run(trained)
    assert isinstance(events[-1], Failed)
    assert "No space left" in events[-1].message
    assert events[-1].details == ""
    assert same(before, checkpoint(trained))
    names = {p.name for p in trained.study.checkpoint_path.parent.iterdir()}
    assert names == {"latest.pt", PREVIOUS}


# --- at the start --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("cut off", "latest.pt cannot be read"),
        ("not finite", "latest.pt holds numbers that are not finite"),
        ("gone", "latest.pt is missing"),
        ("lacks a part", "latest.pt lacks a part"),
        ("another network", "latest.pt is of another network"),
    ],
)
def test_a_run_goes_on_from_the_checkpoint_before_and_says_so(
    trained: Phantoms, damage: str, words: str
) -> None:
    path, content = trained.study.checkpoint_path, checkpoint(trained)
    before = torch.load(beside(trained, PREVIOUS), weights_only=True)
    assert (content["total"], before["total"]) == (7, 5)
    if damage == "cut off":
        path.write_bytes(path.read_bytes()[:-1000])
    elif damage == "gone":
        path.unlink()
    else:
        if damage == "not finite":
            content["optimiser"]["state"][0]["exp_avg"].view(-1)[3] = float("inf")  # type: ignore
        elif damage == "lacks a part":
            del content["generator"]
        else:
            content["fits"] |= {"class_values": [0, 9]}  # type: ignore
        torch.save(content, path)
    events = run(trained)
    assert isinstance(events[-1], Finished), events[-1]
    assert resumed_at(events) == 5
    (told,) = fell(events)
    assert told.message.startswith(f"The training resumes from {PREVIOUS}, step 5: {words}")
    assert (told.path, told.step) == (str(beside(trained, PREVIOUS)), 5)
    assert checkpoint(trained)["total"] == 7
    if damage not in ("another network", "gone"):  # never is a good one replaced by a bad one
        assert same(torch.load(beside(trained, PREVIOUS), weights_only=True), before)
    assert not fell(run(trained))


def test_where_no_checkpoint_is_good_it_begins_afresh_and_says_so(trained: Phantoms) -> None:
    for path in trained.study.checkpoint_path.parent.iterdir():
        path.write_bytes(b"PK\x03\x04")
    events = run(trained)
    assert isinstance(events[-1], Finished), events[-1]
    (told,) = fell(events)
    assert told.message.startswith("The training starts afresh: latest.pt cannot be read")
    assert (told.path, told.step, resumed_at(events)) == ("", 0, 0)
    assert checkpoint(trained)["total"] == 5


def test_a_study_with_the_one_checkpoint_of_before_goes_on(trained: Phantoms) -> None:
    content, path = checkpoint(trained), trained.study.checkpoint_path
    for name in ("kept", "scored", "best", "rate_limit", "began_with"):
        del content[name]
    torch.save(content, path)
    beside(trained, PREVIOUS).unlink()
    assert read_trained_network(trained.study).parameters
    events = run(trained)
    assert (resumed_at(events), fell(events)) == (7, [])
    assert checkpoint(trained)["total"] == 9


def test_a_checkpoint_of_version_0_1_is_gone_on_from_and_predicted_with(trained: Phantoms) -> None:
    fits = {
        "network": "unet, small",
        "class_values": [0, 1, 7],
        "dimensions": 2,
        "channels": 3,
        "size": 32,
        "resolution_mm": 1.25,
    }
    content, path = checkpoint(trained), trained.study.checkpoint_path
    assert content["fits"] == fits  # older versions go on from it, too
    content |= {"fits": fits, "held_back": content.pop("validation")}
    content["taught"] = content.pop("trained_on")
    torch.save(content, path)
    network = read_trained_network(trained.study)
    assert network.design.to_plain() == fits
    assert same(dict(network.parameters), content["teacher"])
    events = run(trained)
    assert (resumed_at(events), fell(events)) == (7, [])
    assert checkpoint(trained)["total"] == 9


def test_a_run_that_was_stopped_before_it_learnt_anything_leaves_the_checkpoint(
    trained: Phantoms,
) -> None:
    before = trained.study.checkpoint_path.read_bytes()

    def stop(event: Event, inbox: Inbox) -> None:
        if isinstance(event, RunStarted):
            inbox.put(Stop())

    for config in (TINY, replace(TINY, resume=False)):
        events = run(trained, config, stop)
        assert isinstance(events[-1], Finished), events[-1]
        assert trained.study.checkpoint_path.read_bytes() == before


# --- unstable training ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["student", "teacher", "optimiser"])
def test_nothing_is_saved_that_is_not_finite(trained: Phantoms, where: str, value: float) -> None:
    trainer = Trainer(trained.study, TINY)
    assert trainer.restore()
    before = {p: p.read_bytes() for p in trained.study.checkpoint_path.parent.iterdir()}
    if where == "student":
        break_parameters(trainer, value)
    elif where == "teacher":
        next(iter(trainer.state.teacher.values())).view(-1)[0] = value
    else:
        next(iter(trainer.state.optimiser.state.values()))["exp_avg_sq"].view(-1)[0] = value
    with pytest.raises(UnstableError):
        trainer.save()
    assert {p: p.read_bytes() for p in trained.study.checkpoint_path.parent.iterdir()} == before


def break_at(
    monkeypatch: pytest.MonkeyPatch, step: str, total: int, *, times: int = 1
) -> list[float]:
    """A parameter becomes NaN at a step; the learning rates of all steps."""
    rates: list[float] = []
    original, left = getattr(Trainer, step), [times]

    def breaking(self: Trainer, *, learning_rate: float) -> object:
        rates.append(learning_rate)
        losses = original(self, learning_rate=learning_rate)
        if self.state.total == total and left[0]:
            left[0] -= 1
            break_parameters(self)
        return losses

    monkeypatch.setattr(Trainer, step, breaking)
    return rates


def test_unstable_training_goes_on_from_the_last_good_checkpoint_more_carefully(
    trained: Phantoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_mlbseg.engine.session.pace.REPORT_EVERY_S", 0.0)
    rates = break_at(monkeypatch, "bootstrap_step", 9)
    config = replace(TINY, steps=4)
    events = run(trained, config)
    assert isinstance(events[-1], Finished), events[-1]
    (told,) = fell(events)
    assert (told.path, told.step) == (str(trained.study.checkpoint_path), 7)
    assert told.learning_rate == pytest.approx(CAUTION * TINY.learning_rate)
    assert "unstable" in told.message
    assert rates[0] == pytest.approx(TINY.learning_rate)
    assert max(rates[3:]) == pytest.approx(CAUTION * TINY.learning_rate)
    content = checkpoint(trained)
    assert content["total"] == 11
    assert is_finite(content)
    # The next run is as careful, unless it is told to be more so.
    rates.clear()
    run(trained)
    run(trained, replace(TINY, learning_rate=1e-5))
    assert rates[0] == pytest.approx(CAUTION * TINY.learning_rate)
    assert rates[2] == pytest.approx(1e-5)


def test_without_a_checkpoint_of_this_training_it_begins_afresh(
    trained: Phantoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of a training that was given up is not one of this training."""
    monkeypatch.setattr("napari_mlbseg.engine.session.pace.REPORT_EVERY_S", 0.0)
    rates = break_at(monkeypatch, "base_step", 2)
    events = run(trained, replace(TINY, resume=False))
    assert isinstance(events[-1], Finished), events[-1]
    (told,) = fell(events)
    assert (told.path, told.step) == ("", 0)
    assert len(rates) == 3 + 3  # noticed by the step after the one that broke it
    assert checkpoint(trained)["total"] == 5


def test_what_becomes_unstable_again_goes_back_further(trained: Phantoms) -> None:
    trainer = Trainer(trained.study, TINY)
    assert trainer.restore()
    break_parameters(trainer)
    steps = []
    for nth in range(3):
        trainer.memory.go_back(nth)
        assert is_finite(trainer.state.student)
        steps.append(trainer.state.total)
    assert steps == [7, 5, 5]


def test_a_network_that_is_not_finite_is_not_published(
    trained: Phantoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nobody reports a loss before the next slices are due."""
    monkeypatch.setattr("napari_mlbseg.engine.session.pace.REPORT_EVERY_S", 3600.0)
    monkeypatch.setattr("napari_mlbseg.engine.session.showing.YOUNGEST_STEPS", 0)
    break_at(monkeypatch, "bootstrap_step", 8)
    sound: list[bool] = []

    def look(event: Event, inbox: Inbox) -> None:
        if isinstance(event, SlicesPublished):
            trust = np.asarray(
                trained.study.arrays.open(event.case_id, ArrayName.TRUST)[event.start : event.stop]
            )
            sound.append(is_finite(torch.from_numpy(trust)))

    events = run(trained, replace(TINY, steps=4, publish_share=0.99), look)
    assert isinstance(events[-1], Finished), events[-1]
    assert len(fell(events)) == 1
    assert all(sound)


def test_a_checkpoint_that_is_not_finite_is_not_exported(trained: Phantoms, tmp_path: Path) -> None:
    content = checkpoint(trained)
    next(iter(content["teacher"].values())).view(-1)[0] = float("nan")  # type: ignore
    torch.save(content, trained.study.checkpoint_path)
    with pytest.raises(UserError, match=r"not finite.*Start the training again"):
        export_predicted_probabilities(trained.study, tmp_path / "out")


# --- the best ------------------------------------------------------------------------------------


def scored(phantoms: Phantoms) -> Trainer:
    """Trained and scored on validation slices."""
    phantoms.accept("phantom0", *range(2, 10))
    config = replace(TINY, base_steps=60, steps=0, validation_share=0.4)
    events = run(phantoms, config)
    assert any(isinstance(e, ValidationScored) for e in events)
    trainer = Trainer(phantoms.study, config)
    assert trainer.restore()
    trainer.read_clean_slices()
    return trainer


def test_the_best_on_validation_slices_is_kept(phantoms: Phantoms) -> None:
    trainer = scored(phantoms)
    best = beside(phantoms, BEST)
    assert same(load(best).content["network"], checkpoint(phantoms)["network"])
    before = best.read_bytes()
    with torch.no_grad():
        for value in (*trainer.state.student.values(), *trainer.state.teacher.values()):
            value.mul_(0)
    trainer.state.step, trainer.state.total = 5, 65
    Guard(trainer).score(Stage.BASE_MODEL)
    trainer.save()
    assert best.read_bytes() == before
    assert load(beside(phantoms, PREVIOUS)).content["total"] == 60


def test_the_network_that_is_shown_is_exported_and_stays_so(phantoms: Phantoms) -> None:
    """A model that became worse is neither shown nor exported, nor after a resumption."""
    trainer = scored(phantoms)
    good = {name: value.clone() for name, value in trainer.prediction_parameters.items()}
    assert trainer.state.kept is not None
    assert trainer.state.kept.total == 60
    with torch.no_grad():
        for value in (*trainer.state.student.values(), *trainer.state.teacher.values()):
            value.mul_(0)
    trainer.state.enter(Stage.BOOTSTRAPPING)
    trainer.state.total = 70
    judged = Guard(trainer).score(Stage.BOOTSTRAPPING)
    assert judged is not None
    assert not judged.shown
    trainer.save()
    exported = read_trained_network(phantoms.study).parameters
    assert same({n: p.detach() for n, p in exported.items()}, good)
    assert load(phantoms.study.checkpoint_path).steps == 60
    resumed = Trainer(phantoms.study, replace(TINY, base_steps=60, steps=0, validation_share=0.4))
    assert resumed.restore()
    assert same(dict(Guard(resumed).parameters), good)
    assert all(isinstance(key, SliceKey) for key in resumed.state.kept.dice)  # type: ignore

"""Whatever the engine computes is cut off when somebody asks, and nothing of it is lost or changed.

Counted in layers of the network, not in seconds: after a request no further one is computed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from small_study import QUICK, Phantoms, checkpoint, make_phantoms, same
from torch import nn

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.data.reader import Reader
from napari_mlbseg.engine.data.source import CleanSlices, Span
from napari_mlbseg.engine.events import (
    CleanSlicesChanged,
    Event,
    Finished,
    Inbox,
    OnlyCleanSlicesLeft,
    Pause,
    Paused,
    Request,
    Resume,
    SliceAccepted,
    SlicesPublished,
    Stage,
    StageStarted,
    Stop,
)
from napari_mlbseg.engine.interruption import CutOffError, interrupts, let_interrupt, never
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.predictions.publisher import Publisher
from napari_mlbseg.engine.session.attention import Attention
from napari_mlbseg.engine.steps.meta_weights import logit_derivative
from napari_mlbseg.engine.training import design
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.slices import SliceKey, SliceState

TINY = replace(QUICK, base_steps=2, steps=3, slice_size=32, batch=2, clean_batch=2)
SHAPE = (8, 32, 32)


@dataclass
class Layers:
    """Counts layers, forwards and backwards, and does something when it is at a certain one."""

    at: int | None = None
    act: Callable[[], None] = never
    begun: int = 0
    done_after: int = 0

    def begin(self) -> None:
        if self.begun == self.at:
            self.act()
        self.begun += 1

    def end(self) -> None:
        if self.at is not None and self.begun > self.at:
            self.done_after += 1

    def watch(self, network: nn.Module) -> nn.Module:
        def after(module: nn.Module, images: Any, output: torch.Tensor) -> None:
            self.end()
            if output.requires_grad:
                output.register_hook(lambda _: self.begin())  # type: ignore[no-untyped-call]

        for module in network.modules():
            if not any(module.children()):
                module.register_forward_pre_hook(lambda module, images: self.begin())
                module.register_forward_hook(after)
        return network


@contextmanager
def counting(layers: Layers) -> Iterator[None]:
    """The network of every training that begins meanwhile is watched."""
    build: Any = vars(design)["build_network"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(design, "build_network", lambda *a, **k: layers.watch(build(*a, **k)))
        yield


def run(
    phantoms: Phantoms,
    config: Config,
    layers: Layers | None = None,
    *,
    inbox: Inbox | None = None,
    on_event: Callable[[Event, Inbox], None] = lambda event, inbox: None,
) -> list[Event]:
    inbox, events = inbox or Inbox(), []
    with counting(layers or Layers()):
        for event in Bootstrapper(phantoms.study, config).events(inbox):
            events.append(event)
            on_event(event, inbox)
    return events


def study(path: Path) -> Phantoms:
    phantoms = make_phantoms(path, cases=1, shape=SHAPE)
    phantoms.accept("phantom0", 1, 2, 3, 4, 5, 6)
    return phantoms


def trained(phantoms: Phantoms) -> dict[str, object]:
    """The checkpoint but for the run that began it; if the first step was stopped, the next one."""
    return {name: value for name, value in checkpoint(phantoms).items() if name != "began_with"}


def layers_until(path: Path, config: Config, stage: Stage) -> int:
    """How many layers a run computes before a stage begins."""
    layers, counts = Layers(), {}

    def note(event: Event, inbox: Inbox) -> None:
        if isinstance(event, StageStarted):
            counts[event.stage] = layers.begun

    run(study(path), config, layers, on_event=note)
    return counts[stage]


@pytest.mark.parametrize(
    ("dimensions", "places"), [("2.5d", 5), pytest.param("3d", 2, marks=pytest.mark.slow)]
)
def test_a_stop_at_any_layer_computes_no_further_one_and_changes_nothing(
    tmp_path: Path, dimensions: str, places: int
) -> None:
    config = Config.from_dict(TINY.to_dict() | {"dimensions": dimensions})
    straight = study(tmp_path / "straight.mlbseg")
    run(straight, config)
    total = layers_until(tmp_path / "counted.mlbseg", config, Stage.PUBLISHING)
    for number in range(places):
        at = (
            (2 * number + 1) * total // (2 * places)
        )  # steps, initial labels, scores, slices on view
        broken, inbox = study(tmp_path / f"{number}.mlbseg"), Inbox()
        layers = Layers(at, partial(inbox.put, Stop()))
        events = run(broken, config, layers, inbox=inbox)
        assert isinstance(events[-1], Finished), events[-1]
        assert events[-1].stopped
        assert (layers.begun, layers.done_after) == (at + 1, 0)
        resumed = run(broken, config)
        assert isinstance(resumed[-1], Finished), resumed[-1]
        assert same(trained(straight), trained(broken)), f"stopped at layer {at} of {total}"


def test_a_pause_at_any_layer_holds_at_once_and_changes_nothing(tmp_path: Path) -> None:
    straight = study(tmp_path / "straight.mlbseg")
    run(straight, TINY)
    total = layers_until(tmp_path / "counted.mlbseg", TINY, Stage.PUBLISHING)
    for at in (total // 5, 4 * total // 5):
        paused, inbox = study(tmp_path / f"{at}.mlbseg"), Inbox()
        layers = Layers(at, partial(inbox.put, Pause()))
        held: list[int] = []

        def go_on(event: Event, inbox: Inbox, layers: Layers = layers, held: Any = held) -> None:
            if isinstance(event, Paused):
                held.append(layers.begun)
                inbox.put(Resume())

        events = run(paused, TINY, layers, inbox=inbox, on_event=go_on)
        assert held == [at + 1]
        assert isinstance(events[-1], Finished), events[-1]
        assert same(checkpoint(straight), checkpoint(paused))


def test_a_stop_while_everything_is_published_computes_no_further_layer(tmp_path: Path) -> None:
    at = layers_until(tmp_path / "counted.mlbseg", TINY, Stage.PUBLISHING) + 3
    phantoms, inbox = study(tmp_path / "broken.mlbseg"), Inbox()
    layers = Layers(at, lambda: inbox.put(Stop()))
    events = run(phantoms, TINY, layers, inbox=inbox)
    assert isinstance(events[-1], Finished), events[-1]
    assert events[-1].stopped
    assert (layers.begun, layers.done_after) == (at + 1, 0)


def test_a_network_asks_before_every_layer_and_goes_on_afterwards() -> None:
    """Forwards, backwards and in forward mode, which must leave nothing behind."""
    asked, limit = 0, 10**9

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked > limit:
            raise CutOffError

    network = let_interrupt(nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)), check)
    point = dict(network.named_parameters())
    images = torch.ones(4, 2)

    def model(parameters: Any, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.func.functional_call(network, dict(parameters), (images,))
        return found

    def backwards() -> list[torch.Tensor]:
        return list(torch.autograd.grad(model(point, images).sum(), list(point.values())))

    def ahead() -> list[torch.Tensor]:
        return list(logit_derivative(model, point, point, images))

    for work, layers in ((backwards, 6), (ahead, 3)):
        before, limit, asked = work(), 10**9, 0
        work()
        assert asked == layers
        for limit in range(layers):  # noqa: B007
            asked = 0
            with pytest.raises(CutOffError):
                work()
        limit = 10**9
        assert same(before, work())


def test_reading_is_cut_off(phantoms: Phantoms) -> None:
    phantoms.accept("phantom0", 3, 5, 8)
    asked: list[bool] = []

    def check() -> None:
        if asked:
            raise CutOffError

    for dimensions in ("2d", "3d"):
        config = Config.from_dict(QUICK.to_dict() | {"dimensions": dimensions})
        trainer = Trainer(phantoms.study, config, check=check)
        asked.append(True)
        for work in (
            trainer.read_clean_slices,
            lambda t=trainer: t.source.noisy_batch(1, torch.Generator()),
        ):
            with pytest.raises(CutOffError):
                work()
        asked.clear()
        trainer.read_clean_slices()
        assert len(trainer.training_slices) == 3


def test_what_was_written_before_a_span_was_cut_off_is_told_and_the_rest_stays_due(
    tmp_path: Path,
) -> None:
    phantoms = make_phantoms(tmp_path / "a.mlbseg", cases=1, shape=(20, 32, 32), rough=True)
    phantoms.accept("phantom0", 8)
    trainer = Trainer(phantoms.study, replace(QUICK, dimensions="3d"))
    asking = True

    def check() -> None:
        if asking:
            raise CutOffError

    publisher = Publisher(
        phantoms.study,
        trainer.source,
        trainer.model,
        views=trainer.prediction_views[:1],
        weigh=None,
        check=check,
    )
    case = phantoms.study.case("phantom0")
    span = Span(case, case.axis, 0, 20)
    event = publisher.publish(span, parameters=trainer.parameters, direction=None, step=7)
    assert (event.start, event.stop) == (0, 8)
    assert publisher.schedule.stalest_span(7, youngest=1) is not None
    asking = False
    event = publisher.publish(span, parameters=trainer.parameters, direction=None, step=7)
    assert (event.start, event.stop) == (0, 20)
    assert publisher.schedule.stalest_span(7, youngest=1) is None


def attention_to(*requests: Request) -> Attention:
    inbox = Inbox()
    for request in requests:
        inbox.put(request)
    return Attention(inbox)


def test_an_accepted_slice_cuts_off_only_what_gives_way() -> None:
    key = SliceKey("a", 0, 1)
    attention = attention_to(SliceAccepted(key))
    assert not interrupts(attention.check)
    with attention.giving_way():
        assert interrupts(attention.check)
    assert attention.clean_slices_changed
    for request in (Stop(), Pause()):
        assert interrupts(attention_to(request).check)
    assert not interrupts(attention_to(Pause(), Resume()).check)


def test_a_slice_accepted_while_others_are_published_is_answered_first(
    phantoms: Phantoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And whoever accepts slice after slice does not keep the others from being published."""
    phantoms.accept("phantom0", 3, 5, 8)
    monkeypatch.setattr("napari_mlbseg.engine.session.showing.YOUNGEST_STEPS", 0)
    inbox, publish = Inbox(), Publisher.publish
    told: list[Event | str] = []

    def accepting(self: Publisher, span: Span, **asked: Any) -> SlicesPublished:
        inbox.put(SliceAccepted(SliceKey("phantom0", 0, 3)))
        try:
            return publish(self, span, **asked)
        except CutOffError:
            told.append("cut off")
            raise

    monkeypatch.setattr(Publisher, "publish", accepting)

    def note(event: Event, inbox: Inbox) -> None:
        if isinstance(event, StageStarted) and event.stage is Stage.PUBLISHING:
            monkeypatch.setattr(Publisher, "publish", publish)
        told.append(event)

    config = replace(TINY, steps=6, publish_share=0.99)
    events = run(phantoms, config, inbox=inbox, on_event=note)
    assert isinstance(events[-1], Finished), events[-1]
    kinds = [e if e == "cut off" else type(e) for e in told]
    first = kinds.index("cut off")
    assert kinds[first + 1] is CleanSlicesChanged
    assert kinds.index(SlicesPublished, first) < kinds.index("cut off", first + 1)


@pytest.mark.parametrize("dimensions", ["2d", "2.5d", "3d"])
@pytest.mark.parametrize("state", [SliceState.CLEAN, SliceState.SKIPPED])
def test_where_every_slice_is_closed_the_clean_ones_teach_to_the_end(
    tmp_path: Path, dimensions: str, state: SliceState
) -> None:
    phantoms = make_phantoms(tmp_path / "a.mlbseg", cases=1, shape=SHAPE, rough=True)
    phantoms.accept("phantom0", *range(SHAPE[0]))
    if state is SliceState.SKIPPED:
        for index in (0, 7):
            phantoms.study.slices.set_state(SliceKey("phantom0", 0, index), state)
    config = Config.from_dict(TINY.to_dict() | {"dimensions": dimensions})
    events = run(phantoms, config)
    assert isinstance(events[-1], Finished), events[-1]
    assert (events[-1].stopped, events[-1].step) == (False, 5)
    assert len([e for e in events if isinstance(e, OnlyCleanSlicesLeft)]) == 1
    assert checkpoint(phantoms)["total"] == 5
    assert phantoms.study.arrays.has("phantom0", ArrayName.PREDICTION)


def test_what_nobody_looked_at_is_not_learnt_which_is_told(tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "a.mlbseg", cases=1, shape=SHAPE, rough=True)
    phantoms.accept("phantom0", 3, 4)
    events = run(phantoms, TINY)
    told = [e.message for e in events if isinstance(e, OnlyCleanSlicesLeft)]
    assert len(told) == 1
    assert "No open slice lies between clean slices" in told[0]
    assert isinstance(events[-1], Finished), events[-1]


def test_a_slice_that_is_reopened_makes_it_bootstrapping_again(tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "a.mlbseg", cases=1, shape=SHAPE, rough=True)
    trainer = Trainer(phantoms.study, TINY)
    assert trainer.learns_from_noisy_labels
    keys = phantoms.accept("phantom0", *range(SHAPE[0]))
    trainer.read_clean_slices()
    assert not trainer.learns_from_noisy_labels
    assert set(trainer.bootstrap_step(learning_rate=1e-3)) == {"clean"}
    phantoms.study.slices.set_state(keys[2], SliceState.DRAFT)
    trainer.read_clean_slices()
    assert trainer.learns_from_noisy_labels
    assert "pseudo labels" in trainer.bootstrap_step(learning_rate=1e-3)


def test_cases_that_are_closed_are_not_drawn_from(rough_phantoms: Phantoms) -> None:
    trainer = Trainer(rough_phantoms.study, replace(TINY, dimensions="2d"))
    cases = rough_phantoms.study.cases
    closed = {SliceKey("phantom0", 0, i) for i in range(12)}
    others = {SliceKey("phantom1", 0, i) for i in range(12) if i != 4}
    assert CleanSlices(left_out=frozenset(closed)).open_cases(cases) == [cases[1]]
    # Slices across another axis close nothing.
    assert CleanSlices(
        left_out=frozenset(SliceKey("phantom0", 1, i) for i in range(12))
    ).open_cases(cases) == list(cases)
    trainer.source.use(CleanSlices(left_out=frozenset(closed | others)))
    drawn: list[SliceKey] = []
    with pytest.MonkeyPatch.context() as patch:
        labels = Reader.labels

        def noted(reader: Reader, name: ArrayName, key: SliceKey) -> object:
            drawn.append(key)
            return labels(reader, name, key)

        patch.setattr(Reader, "labels", noted)
        trainer.source.noisy_batch(3, torch.Generator().manual_seed(0))
    assert set(drawn) == {SliceKey("phantom1", 0, 4)}
    assert drawn.count(drawn[0]) >= 3


def test_clean_slices_are_due_until_they_are_taken() -> None:
    attention = attention_to(SliceAccepted(SliceKey("phantom0", 0, 3)))
    assert list(attention.attend()) == []
    assert attention.take_clean_slices()
    assert not attention.take_clean_slices()
    attention.clean_slices_are_due()  # what was cut off begins anew
    assert attention.take_clean_slices()

"""What the engine promises of a GPU."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import numpy as np
import pytest
import torch
from small_study import QUICK, Phantoms, make_phantoms
from torch import Tensor, nn

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.events import BatchShrunk, Failed, Finished, Inbox, SlicesPublished
from napari_mlbseg.engine.loop import Bootstrapper
from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.device import is_out_of_memory
from napari_mlbseg.engine.nets.losses import clean_loss, pixel_cross_entropy
from napari_mlbseg.engine.nets.model import as_model
from napari_mlbseg.engine.nets.network import build_network
from napari_mlbseg.engine.nets.noise import normal
from napari_mlbseg.engine.nets.views import VIEWS
from napari_mlbseg.engine.steps.meta_weights import label_prices, logit_derivative, value_of
from napari_mlbseg.engine.steps.update import BootstrapGradient, bootstrap_gradient
from napari_mlbseg.engine.steps.weighting.rules import RULES
from napari_mlbseg.engine.training.cuda_graphs import Graphs
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.project.arrays.store import ArrayName

LEARNING_RATE = 0.05
DEVICE: Final = "cuda"


@pytest.fixture(autouse=True)
def exact_products() -> Iterator[None]:
    """Float32 is float32 here: TF32 has ten bits."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def batches(device: str, *, dims: int, dtype: torch.dtype) -> tuple[Batch, Batch]:
    generator = torch.Generator().manual_seed(dims)
    made = []
    for count in (2, 4):
        shape = (count, 1, *(32,) * dims)
        images = torch.randn(shape, generator=generator, dtype=dtype)
        labels = torch.randint(0, 3, (count, *shape[2:]), generator=generator)
        made.append(Batch(images.to(device), labels.to(device)))
    return made[0], made[1]


def network_on(device: str, *, dims: int, dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    return build_network("unet", channels=1, classes=3, dims=dims).to(device, dtype)


# --- weights --------------------------------------------------------------------------------------


def by_double_backward(
    model: Callable[..., Tensor], point: dict[str, Tensor], noisy: Batch, clean: Batch
) -> Tensor:
    """``-dL_clean/dw`` by its definition, with a differentiable virtual step."""
    weights = torch.zeros_like(noisy.images[:, 0], requires_grad=True)
    loss = (weights * pixel_cross_entropy(model(point, noisy.images), noisy.labels)).sum()
    gradients = torch.autograd.grad(loss, list(point.values()), create_graph=True)
    moved = {
        name: value - LEARNING_RATE * gradient
        for (name, value), gradient in zip(point.items(), gradients, strict=True)
    }
    after = clean_loss(model(moved, clean.images), clean.labels)
    (derivative,) = torch.autograd.grad(after, weights)
    return -derivative


@pytest.mark.cuda
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_weights_are_those_of_double_backward(dims: int, dtype: torch.dtype, most: float) -> None:
    """A leaky ReLU has a kink; in float32 rounding decides on which side a feature is."""
    network = network_on(DEVICE, dims=dims, dtype=dtype)
    model, point = as_model(network), dict[str, Tensor](network.named_parameters())
    noisy, clean = batches(DEVICE, dims=dims, dtype=dtype)
    loss = clean_loss(model(point, clean.images), clean.labels)
    direction = dict(zip(point, torch.autograd.grad(loss, list(point.values())), strict=True))
    prices = LEARNING_RATE * label_prices(*logit_derivative(model, point, direction, noisy.images))
    ours, theirs = value_of(prices, noisy.labels), by_double_backward(model, point, noisy, clean)
    assert theirs.abs().max() > 0
    assert (ours - theirs).abs().max() <= most * theirs.abs().max()


# --- graphs ---------------------------------------------------------------------------------------


def step_of(model: Callable[..., Tensor], name: str) -> Callable[..., BootstrapGradient]:
    def step(
        student: dict[str, Tensor],
        teacher: dict[str, Tensor],
        noisy: Batch,
        clean: Batch,
        noise: Tensor,
    ) -> BootstrapGradient:
        return bootstrap_gradient(
            model,
            student,
            noisy,
            clean,
            views=[VIEWS["identity"], VIEWS[name]],
            weighting=RULES["meta"],
            learning_rate=1e-3,
            consistency=1.0,
            clean_step=True,
            teacher=teacher,
            teacher_noise=noise,
        )

    return step


@pytest.mark.cuda
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_recorded_step_is_the_step(dims: int, precision: torch.dtype) -> None:
    """Also for inputs that came after the recording, and after another recording."""
    network = network_on(DEVICE, dims=dims, dtype=torch.float32)
    model = as_model(network, precision)
    graphs = Graphs(torch.device(DEVICE))
    generator = torch.Generator().manual_seed(0)
    for name in ("zoom_in", "rotate_left", "zoom_in"):
        noisy, clean = batches(DEVICE, dims=dims, dtype=torch.float32)
        noisy = Batch(normal(noisy.images.shape, generator, like=noisy.images), noisy.labels)
        student = {
            n: p.detach() + 0.01 * normal(p.shape, generator, like=p)
            for n, p in network.named_parameters()
        }
        noise = 0.1 * normal((4, *noisy.images.shape[1:]), generator, like=noisy.images)
        inputs = (student, student, noisy, clean, noise)
        found = graphs.run(name, step_of(model, name), *inputs)
        expected = step_of(model, name)(*inputs)
        scale = max(float(g.abs().max()) for g in expected.gradient.values())
        most = 1e-2 if precision is torch.float32 else 3e-2  # kinks, and sums in any order
        for parameter, gradient in expected.gradient.items():
            assert float((found.gradient[parameter] - gradient).abs().max()) <= most * scale
        for loss, value in expected.losses.items():
            assert float(found.losses[loss]) == pytest.approx(float(value), rel=0.1)


@pytest.mark.cuda
def test_steps_are_recorded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Not: launched one by one, because a recording failed."""
    phantoms = make_phantoms(tmp_path_factory.mktemp("p") / "study.mlbseg", rough=True)
    phantoms.accept("phantom0", 3, 6, 9)
    trainer = Trainer(phantoms.study, replace(QUICK, device="cuda"))
    trainer.read_clean_slices()
    sent: list[str] = []
    for _ in range(3):
        trainer.base_step(learning_rate=1e-3)
        trainer.bootstrap_step(learning_rate=1e-3)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        trainer.base_step(learning_rate=1e-3)
    sent = [event.key for event in profile.key_averages()]
    assert any("GraphLaunch" in name for name in sent) or "aten::convolution" not in sent


def test_a_function_that_cannot_be_recorded_is_carried_out_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*arguments: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    graphs = Graphs(torch.device("cuda"))
    monkeypatch.setattr(graphs, "_record", fails)
    assert graphs.run("sum", torch.add, torch.ones(2), torch.ones(2)).tolist() == [2, 2]
    assert "one by one" in caplog.text
    monkeypatch.setattr(graphs, "_record", lambda *a: pytest.fail("tried again"))
    assert graphs.run("sum", torch.add, torch.ones(2), torch.ones(2)).tolist() == [2, 2]


def test_lack_of_memory_while_recording_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    graphs = Graphs(torch.device("cuda"))
    monkeypatch.setattr(graphs, "_record", full)
    with pytest.raises(torch.OutOfMemoryError):
        graphs.run("sum", torch.add, torch.ones(2), torch.ones(2))


# --- runs -----------------------------------------------------------------------------------------


def trained(phantoms: Phantoms, config: Config, steps: int) -> Trainer:
    trainer = Trainer(phantoms.study, config)
    trainer.read_clean_slices()
    for _ in range(steps):
        trainer.base_step(learning_rate=1e-3)
    for _ in range(steps):
        trainer.bootstrap_step(learning_rate=1e-3)
    return trainer


def largest_difference(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    return max(float((a[name] - b[name]).detach().abs().max()) for name in a)


@pytest.mark.cuda
@pytest.mark.parametrize("dimensions", ["2.5d", "3d"])
def test_the_same_seed_gives_the_same_first_step(rough_phantoms: Phantoms, dimensions: str) -> None:
    """Up to rounding, see docs/method.md; AdamW makes whole steps of what differs from there on."""
    rough_phantoms.accept("phantom0", 3, 6, 9)
    config = Config.from_dict(
        QUICK.to_dict() | {"device": DEVICE, "dimensions": dimensions, "precision": "float32"}
    )

    def first_losses(seed: int) -> list[float]:
        trainer = trained(rough_phantoms, replace(config, seed=seed), 0)
        return [float(loss) for loss in trainer.bootstrap_step(learning_rate=1e-3).values()]

    one, same, other = (first_losses(seed) for seed in (0, 0, 1))
    assert one == pytest.approx(same, rel=1e-3)
    assert one != pytest.approx(other, rel=1e-2)


@pytest.mark.cuda
def test_a_checkpoint_there_and_back(rough_phantoms: Phantoms) -> None:
    rough_phantoms.accept("phantom0", 3, 6, 9)
    config = replace(QUICK, device=DEVICE)
    trainer = trained(rough_phantoms, config, 2)
    trainer.save()
    other = Trainer(rough_phantoms.study, config)
    assert other.restore()
    assert largest_difference(trainer.state.student, other.state.student) == 0
    assert largest_difference(trainer.state.teacher, other.state.teacher) == 0
    losses = []
    for one in (trainer, other):
        one.read_clean_slices()
        losses.append([float(v) for v in one.bootstrap_step(learning_rate=1e-3).values()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """A GPU that has room for a step with a few slices of 256 x 256 pixels."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 1.5e9) / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


@pytest.mark.cuda
def test_a_batch_that_does_not_fit_shrinks(rough_phantoms: Phantoms, little_memory: None) -> None:
    rough_phantoms.accept("phantom0", 3, 6, 9)
    config = replace(
        QUICK, device="cuda", slice_size=256, batch=16, clean_batch=16, base_steps=4, steps=4
    )
    events, inbox = [], Inbox()
    for event in Bootstrapper(rough_phantoms.study, config).events(inbox):
        events.append(event)
    assert any(isinstance(e, BatchShrunk) for e in events), events[-1]
    assert isinstance(events[-1], Finished), events[-1]


@pytest.mark.cuda
def test_memory_that_suffices_for_nothing_is_said(rough_phantoms: Phantoms) -> None:
    rough_phantoms.accept("phantom0", 3, 6, 9)
    held = torch.cuda.memory_reserved()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((held + 30e6) / total)
    try:
        config = replace(QUICK, device="cuda", slice_size=256)
        *_, last = Bootstrapper(rough_phantoms.study, config).events(Inbox())
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert isinstance(last, Failed)
    assert "memory" in last.message


@pytest.mark.cuda
@pytest.mark.parametrize("dimensions", ["2d", "2.5d", "3d"])
def test_a_run_on_a_gpu_publishes_everything_and_gives_its_memory_back(
    rough_phantoms: Phantoms, dimensions: str
) -> None:
    rough_phantoms.accept("phantom0", 1, 3, 5, 6, 8, 10)
    held = torch.cuda.memory_allocated()
    config = Config.from_dict(QUICK.to_dict() | {"device": "cuda", "dimensions": dimensions})
    events = list(Bootstrapper(rough_phantoms.study, config).events(Inbox()))
    assert isinstance(events[-1], Finished), events[-1]
    published = {
        (e.case_id, i)
        for e in events
        if isinstance(e, SlicesPublished)
        for i in range(e.start, e.stop)
    }
    assert len(published) == sum(c.geometry.shape[c.axis] for c in rough_phantoms.study.cases)
    found = np.asarray(rough_phantoms.study.arrays.open("phantom1", ArrayName.PREDICTION)[:])
    assert rough_phantoms.dice("phantom1", found) > 0.7
    assert torch.cuda.memory_allocated() - held < 64e6


def test_fields_of_noise_are_normal_and_come_from_the_generator() -> None:
    like = torch.zeros(1)
    one, same = (normal((64, 64), torch.Generator().manual_seed(3), like=like) for _ in range(2))
    assert torch.equal(one, same)
    assert abs(float(one.mean())) < 0.1
    assert 0.9 < float(one.std()) < 1.1


@pytest.mark.cuda
def test_fields_of_noise_on_a_gpu() -> None:
    like = torch.zeros(1, device="cuda")
    generator = torch.Generator().manual_seed(3)
    one, another = (normal((64, 64), generator, like=like) for _ in range(2))
    same = normal((64, 64), torch.Generator().manual_seed(3), like=like)
    assert torch.equal(one, same)
    assert not torch.equal(one, another)
    assert one.device.type == "cuda"


def test_other_errors_are_no_lack_of_memory() -> None:
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))

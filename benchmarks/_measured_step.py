"""One measurement of `engine.py`: a step of ours or of the reference, or both weight maps."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import _shared
import torch
from _cases import FIVE_VIEWS, Case, as_model, needed_tflop, network_of, slices
from _weight_maps import weight_difference
from reference_step import ReferenceStep
from torch import Tensor, nn

from napari_mlbseg.engine.nets.network import count_parameters
from napari_mlbseg.engine.nets.teacher import copy_of, follow
from napari_mlbseg.engine.nets.views import VIEWS, View, apply_view, apply_view_to_labels
from napari_mlbseg.engine.steps.update import TEACHER_NOISE, Batch, bootstrap_gradient

DRAWN_VIEWS = 2  # of Config: as it is, and another one
WARM_UPS, FEWEST, MOST = 2, 3, 50
MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}
SMALL = {2: 48, 3: 32}  # pixels a side, for double precision on a CPU
Step = Callable[[tuple[Tensor, Tensor], tuple[Tensor, Tensor]], object]


@dataclass(frozen=True)
class Job:
    """`what` is ``reference``, ``ours``, ``weights`` or ``ceiling``; `precision` that of ours."""

    what: str
    case: Case
    device: str
    precision: str
    views: int = len(FIVE_VIEWS)
    seconds: float = 4.0
    threads: int | None = None


def measure(job: Job) -> dict[str, Any]:
    """The numbers of one job, or what went wrong as ``error``."""
    if job.threads is not None:
        torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = job.what != "weights"
    work = {"weights": _weights, "ceiling": _ceiling}.get(job.what, _step)
    try:
        return work(job)
    except (RuntimeError, MemoryError) as error:
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
    finally:
        if job.device == "cuda":
            torch.cuda.empty_cache()


# --- what is measured -----------------------------------------------------------------------------


class OurStep:
    """Student, teacher and AdamW as the trainer has them; a call is one step.

    With all five views the clean slices are seen in five views, too, and the weights are the
    published ones, as in the reference; otherwise it does what the engine does by default.
    """

    def __init__(self, network: nn.Module, *, views: int, precision: str) -> None:
        self.network, self._views = network, views
        self._model = as_model(network, precision)
        self._teacher = copy_of(dict(network.named_parameters()))
        self._optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4)
        self._generator = torch.Generator().manual_seed(0)
        self._steps = 0

    def __call__(self, noisy: tuple[Tensor, Tensor], clean: tuple[Tensor, Tensor]) -> None:
        views, images = self._drawn(), noisy[0]
        as_released = self._views == len(FIVE_VIEWS)
        shape = (len(views) * len(images), *images.shape[1:])
        noise = TEACHER_NOISE * torch.randn(shape, generator=self._generator).to(images)
        found = bootstrap_gradient(
            self._model,
            dict(self.network.named_parameters()),
            Batch(*noisy),
            _in_all_views(clean) if as_released else Batch(*clean),
            views=views,
            weights="published" if as_released else "meta",
            learning_rate=1e-3,
            consistency=1.0,
            clean_step=True,
            teacher=self._teacher,
            teacher_noise=noise,
        )
        for name, value in self.network.named_parameters():
            value.grad = found.gradient[name]
        nn.utils.clip_grad_norm_(self.network.parameters(), max_norm=10.0)
        self._optimiser.step()
        student = dict(self.network.named_parameters())
        follow(self._teacher, student, decay=0.99, step=self._steps)
        self._steps += 1

    def _drawn(self) -> list[View]:
        if self._views == len(FIVE_VIEWS):
            return list(FIVE_VIEWS)
        others = list(VIEWS.values())[1:]
        order = torch.randperm(len(others), generator=self._generator)[: self._views - 1]
        return [VIEWS["identity"], *(others[int(i)] for i in order)]


def _in_all_views(clean: tuple[Tensor, Tensor]) -> Batch:
    images, labels = clean
    return Batch(
        torch.cat([apply_view(v, images) for v in FIVE_VIEWS]),
        torch.cat([apply_view_to_labels(v, labels, images) for v in FIVE_VIEWS]),
    )


# --- time and memory ------------------------------------------------------------------------------


def _step(job: Job) -> dict[str, Any]:
    case = job.case
    network = network_of(case, large=job.device == "cuda").to(job.device)
    noisy = slices(case, case.batch, seed=1, device=job.device)
    clean = slices(case, case.clean_batch, seed=2, device=job.device)
    _rehearse(job)
    step = _step_of(job, network)
    with _peak_memory(job.device) as memory:
        times = _times(lambda: step(noisy, clean), job)
    seconds = statistics.median(times)
    found = {
        "step_s": seconds,
        "noisy_pixels_per_s": case.batch * case.size**case.dims / seconds,
        "peak_memory_mb": memory["mb"],
        "repeats": len(times),
        "parameters": count_parameters(network),
    }
    if job.what == "ours":
        found["needed_tflop"] = needed_tflop(case, job.views, large=job.device == "cuda")
    return found


def _step_of(job: Job, network: nn.Module) -> Step:
    if job.what == "reference":
        return ReferenceStep(network)
    return OurStep(network, views=job.views, precision=job.precision)


def _rehearse(job: Job) -> None:
    """A step of a tiny network, so that loading libraries counts neither as time nor memory."""
    tiny = replace(job.case, network="tiny", size=32, batch=1, clean_batch=1)
    outputs = job.case.classes + 1
    convolution = nn.Conv2d if tiny.dims == 2 else nn.Conv3d
    norm = nn.InstanceNorm2d if tiny.dims == 2 else nn.InstanceNorm3d
    layers = (convolution(1, 4, 3, padding=1), norm(4, affine=True), convolution(4, outputs, 1))
    step = _step_of(job, nn.Sequential(*layers).to(job.device))
    batch = slices(tiny, 1, seed=0, device=job.device)
    step(batch, batch)


def _times(act: Callable[[], object], job: Job) -> list[float]:
    """Seconds of each repeat; a step that alone takes longer than `seconds` is its own warm-up."""
    warm = [_timed(act, job)]
    if warm[0] > job.seconds:
        return warm
    warm += [_timed(act, job) for _ in range(WARM_UPS - 1)]
    times: list[float] = []
    while len(times) < MOST and (len(times) < FEWEST or sum(times) < job.seconds):
        times.append(_timed(act, job))
    return times


def _timed(act: Callable[[], object], job: Job) -> float:
    """On one CPU thread processor time, which other programs disturb least."""
    alone = job.device == "cpu" and job.threads == 1
    clock = time.process_time if alone else time.perf_counter
    _synchronise(job.device)
    began = clock()
    act()
    _synchronise(job.device)
    return clock() - began


def _synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


@contextmanager
def _peak_memory(device: str) -> Iterator[dict[str, float]]:
    """What a block needs at most beyond what was in use before it, as ``mb``."""
    found = {"mb": 0.0}
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield found
        found["mb"] = (torch.cuda.max_memory_allocated() - before) / 1e6
    else:
        _shared.forget_peak()
        resident = _shared.resident_mb()
        yield found
        found["mb"] = _shared.peak_mb() - resident


def _ceiling(job: Job) -> dict[str, Any]:
    """What a large matrix product reaches, in 10**12 operations a second."""
    side = MATRIX_SIDE[job.device] if job.seconds > 0 else 256
    dtype = torch.bfloat16 if job.precision == "bfloat16" else torch.float32
    a, b = (torch.randn(side, side, device=job.device).to(dtype) for _ in range(2))
    seconds = statistics.median(_times(lambda: a @ b, replace(job, seconds=1.0)))
    return {"tflop_per_s": 2 * side**3 / seconds / 1e12, "side": side}


def _weights(job: Job) -> dict[str, Any]:
    """Largest difference of both weight maps from double backward, relative to the largest."""
    case = job.case
    single = weight_difference(case, torch.float32, job.device)
    small = min(case.size, SMALL[case.dims]) if job.device == "cpu" else case.size
    return {
        "float32": single[0],
        "float32_share_beyond_1e-5": single[1],
        "float64": weight_difference(replace(case, size=small), torch.float64, job.device)[0],
        "float64_size": small,
    }

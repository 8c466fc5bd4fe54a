"""One measurement of `engine.py`: our step, the reference's step, or both weight maps."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import _shared
import torch
from _cases import FIVE_VIEWS, Case, needed_tflop, network_of, slices
from _weight_maps import weight_difference
from reference_step import ReferenceStep
from torch import Tensor, nn

from napari_mlbseg.engine.nets.batch import Batch
from napari_mlbseg.engine.nets.model import as_model
from napari_mlbseg.engine.nets.network import count_parameters, sound
from napari_mlbseg.engine.nets.noise import normal
from napari_mlbseg.engine.nets.views import VIEWS, View, apply_view, apply_view_to_labels
from napari_mlbseg.engine.steps.update import (
    TEACHER_NOISE,
    BootstrapGradient,
    bootstrap_gradient,
)
from napari_mlbseg.engine.steps.weighting.rules import RULES
from napari_mlbseg.engine.training.cuda_graphs import Graphs
from napari_mlbseg.engine.training.state import TrainingState

DRAWN_VIEWS = 2  # of Config: as it is, and another one
WARM_UPS, FEWEST, MOST = 2, 3, 50
WARM_UPS_OF_GRAPHS = 20  # every pair of views is recorded when it is first drawn
MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}
SMALL = {2: 48, 3: 32}  # pixels a side, for double precision on a CPU
Step = Callable[[tuple[Tensor, Tensor], tuple[Tensor, Tensor]], object]


@dataclass(frozen=True)
class Job:
    """`what` is ``reference``, ``ours``, ``weights`` or ``ceiling``; `precision` that of ours.

    On a GPU ours is recorded as a graph, as the engine does, unless `graphs` is False. With
    `channels_last` images and weights lie in memory channel by channel within each pixel.
    """

    what: str
    case: Case
    device: str
    precision: str
    views: int = len(FIVE_VIEWS)
    seconds: float = 4.0
    threads: int | None = None
    graphs: bool = True
    channels_last: bool = False


def measure(job: Job) -> dict[str, Any]:
    """The numbers of one job, or what went wrong as ``error``."""
    if job.threads is not None:
        torch.set_num_threads(job.threads)
    torch.manual_seed(0)
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
    """The state of a run, as in the trainer; a call is one step.

    With all five views the clean slices are seen in five views, too, and the weights are the
    published ones, as in the reference; otherwise the step is the engine's default step.
    """

    def __init__(self, network: nn.Module, job: Job) -> None:
        precision = torch.bfloat16 if job.precision == "bfloat16" else torch.float32
        self._model, self._views = as_model(network, precision), job.views
        self._state = TrainingState.fresh(network, learning_rate=1e-3, seed=0, batch=1)
        self._generator = torch.Generator().manual_seed(0)
        self._graphs = Graphs(torch.device(job.device if job.graphs else "cpu"))

    def __call__(self, noisy: tuple[Tensor, Tensor], clean: tuple[Tensor, Tensor]) -> None:
        views, images = self._drawn(), noisy[0]
        shape = (len(views) * len(images), *images.shape[1:])
        noise = TEACHER_NOISE * normal(shape, self._generator, like=images)
        found = self._graphs.run(
            tuple(view.name for view in views),
            partial(self._gradient, views),
            self._state.student,
            self._state.teacher,
            Batch(*noisy),
            Batch(*clean),
            noise,
        )
        self._state.apply(found.gradient, learning_rate=1e-3, decay=0.99)

    def _gradient(
        self,
        views: list[View],
        student: Mapping[str, Tensor],
        teacher: Mapping[str, Tensor],
        noisy: Batch,
        clean: Batch,
        noise: Tensor,
    ) -> BootstrapGradient:
        as_released = self._views == len(FIVE_VIEWS)
        return bootstrap_gradient(
            self._model,
            student,
            noisy,
            _in_all_views(clean) if as_released else clean,
            views=views,
            weighting=RULES["published" if as_released else "meta"],
            learning_rate=1e-3,
            consistency=1.0,
            clean_step=True,
            teacher=teacher,
            teacher_noise=noise,
        )

    def _drawn(self) -> list[View]:
        if self._views == len(FIVE_VIEWS):
            return list(FIVE_VIEWS)
        others = list(VIEWS.values())[1:]
        order = torch.randperm(len(others), generator=self._generator)[: self._views - 1]
        return [VIEWS["identity"], *(others[int(i)] for i in order)]


def _in_all_views(clean: Batch) -> Batch:
    images, labels = clean
    return Batch(
        torch.cat([apply_view(v, images) for v in FIVE_VIEWS]),
        torch.cat([apply_view_to_labels(v, labels, images) for v in FIVE_VIEWS]),
    )


# --- time and memory ------------------------------------------------------------------------------


def _step(job: Job) -> dict[str, Any]:
    case = job.case
    network = network_of(case).to(job.device)
    noisy = slices(case, case.batch, seed=1, device=job.device)
    clean = slices(case, case.clean_batch, seed=2, device=job.device)
    if job.channels_last:
        order = torch.channels_last if case.dims == 2 else torch.channels_last_3d
        network.to(memory_format=order)  # type: ignore[call-overload]
        noisy, clean = ((i.contiguous(memory_format=order), m) for i, m in (noisy, clean))
    _rehearse(replace(job, graphs=False))
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
        found["needed_tflop"] = needed_tflop(case, job.views)
    return found


def _step_of(job: Job, network: nn.Module) -> Step:
    if job.what == "reference":
        return ReferenceStep(network)
    return OurStep(network, job)


def _rehearse(job: Job) -> None:
    """A step of a tiny network, so that loading libraries adds neither time nor memory."""
    tiny = replace(job.case, network="tiny", size=32, batch=1, clean_batch=1)
    outputs = job.case.classes + 1
    convolution = nn.Conv2d if tiny.dims == 2 else nn.Conv3d
    norm = nn.InstanceNorm2d if tiny.dims == 2 else nn.InstanceNorm3d
    layers = (convolution(1, 4, 3, padding=1), norm(4, affine=True), convolution(4, outputs, 1))
    step = _step_of(job, sound(nn.Sequential(*layers)).to(job.device))
    batch = slices(tiny, 1, seed=0, device=job.device)
    step(batch, batch)


def _times(act: Callable[[], object], job: Job) -> list[float]:
    """Seconds of each repeat; a step that alone takes longer than `seconds` is its own warm-up."""
    warm = [_timed(act, job)]
    if warm[0] > job.seconds and job.device == "cpu":
        return warm
    recorded = job.what == "ours" and job.device == "cuda" and job.graphs
    warm_ups = WARM_UPS_OF_GRAPHS if recorded else WARM_UPS
    warm += [_timed(act, job) for _ in range(warm_ups - 1)]
    times: list[float] = []
    while len(times) < MOST and (len(times) < FEWEST or sum(times) < job.seconds):
        times.append(_timed(act, job))
    return times


def _timed(act: Callable[[], object], job: Job) -> float:
    """Processor time on one CPU thread, which other programs disturb least; else wall time."""
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
    """The peak memory of a block beyond what was in use before it, as ``mb``."""
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
    """The speed of a large matrix product, in 10**12 operations per second."""
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

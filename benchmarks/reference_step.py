"""The released MLB-Seg step, written plainly, as a reference for measurements.

It follows the dataflow of the code released with Wei et al. 2023, without any correction:

1. five views of every slice (as it is, one zoomed in, two zoomed out, one mirrored) are made on the
   host, slice by slice;
2. student and teacher see them; predictions go to the host, are mapped back, averaged, mapped
   forward again and hardened (zooming fills with zeros); the consistency loss compares every view
   with later ones, which have passed through the host and carry no gradient;
3. a virtual SGD step with momentum and weight decay keeps its graph, the clean loss of five views
   of every clean slice is evaluated after it, and a second backward pass through both gives the
   derivative with respect to the weights;
4. student and teacher see the views again, for the update on the weighted loss;
5. both see the clean views, for a second update on the clean slices;
6. the teacher is updated after each of the two.

Monitoring is left out: Dice of every batch, printing, a new data loader for every step. Labels are
class indices and losses are those of our engine, so that both steps derive the same thing. In 3-D,
views act in the plane of the last two axes.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_mlbseg.engine.nets.losses import clean_loss, pixel_cross_entropy

VIEWS = 5
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.005, 0.9, 5e-4
EMA_DECAY, CLIP, TEACHER_NOISE = 0.99, 0.2, 0.02
MARGINS = np.arange(4, 31, 2) / 144  # of the side, as in the release

Agreement = Callable[[Tensor], Tensor]


# --- views, on the host ---------------------------------------------------------------------------


@dataclass(frozen=True)
class HostView:
    """A view of a slice: `zoom` original pixels for one of the view (below 1 magnifies)."""

    zoom: float = 1.0
    mirrored: tuple[int, ...] = ()

    def apply(self, maps: NDArray[np.floating]) -> NDArray[np.floating]:
        """Maps (``... y x``) as the view shows them, 0 beyond their edge."""
        return np.flip(_zoomed(maps, self.zoom), self.mirrored)

    def undo(self, maps: NDArray[np.floating]) -> NDArray[np.floating]:
        """The content of the view, mapped back; 0 where the view shows nothing."""
        return _zoomed(np.flip(maps, self.mirrored), 1 / self.zoom)

    def apply_to_labels(self, labels: NDArray[np.integer]) -> NDArray[np.integer]:
        """Nearest labels, background beyond their edge."""
        *_, height, width = labels.shape
        rows, inside_y = _nearest(height, self.zoom)
        columns, inside_x = _nearest(width, self.zoom)
        seen = labels[..., rows[:, None], columns] * (inside_y[:, None] & inside_x)
        return np.flip(seen, self.mirrored)


def draw_views(rng: np.random.Generator) -> list[HostView]:
    """The five views of one slice."""
    inward, outward, further = 2 * rng.choice(MARGINS, 3)
    mirrored = ((-2,), (-1,), (-2, -1))[rng.integers(3)]
    zooms = (1 / (1 + inward), 1 / (1 - outward), 1 / (1 - further))
    return [HostView(), *(HostView(float(z)) for z in zooms), HostView(mirrored=mirrored)]


def _zoomed(maps: NDArray[np.floating], zoom: float) -> NDArray[np.floating]:
    if zoom == 1:
        return maps
    *_, height, width = maps.shape
    down, across = (_interpolation(n, zoom).astype(maps.dtype) for n in (height, width))
    return np.asarray(down @ maps @ across.T)


@lru_cache(maxsize=1024)
def _interpolation(side: int, zoom: float) -> NDArray[np.float64]:
    """Matrix that resamples `side` pixels linearly about their middle."""
    position = _positions(side, zoom)
    inside = (position >= -0.5) & (position <= side - 0.5)
    held = position.clip(0, side - 1)
    first = np.minimum(held.astype(int), side - 2)
    matrix = np.zeros((side, side))
    matrix[np.arange(side), first] = (1 - (held - first)) * inside
    matrix[np.arange(side), first + 1] += (held - first) * inside
    return matrix


def _nearest(side: int, zoom: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    position = _positions(side, zoom)
    inside = (position >= -0.5) & (position <= side - 0.5)
    return np.rint(position).astype(np.int64).clip(0, side - 1), inside


def _positions(side: int, zoom: float) -> NDArray[np.float64]:
    middle = (side - 1) / 2
    return middle + zoom * (np.arange(side, dtype=np.float64) - middle)


@dataclass(frozen=True)
class Seen:
    """Slices in all their views, slice by slice: ``slices*views channels *space`` and labels."""

    images: Tensor
    labels: Tensor
    views: Sequence[Sequence[HostView]]


def make_views(
    images: Tensor, labels: Tensor, rng: np.random.Generator, *, drawn: int = VIEWS
) -> Seen:
    """The first `drawn` views of every slice, made on the host and brought to the device."""
    views = [draw_views(rng)[:drawn] for _ in range(len(images))]
    seen_images, seen_labels = [], []
    for number, of_slice in enumerate(views):
        image, label = images[number].cpu().numpy(), labels[number].cpu().numpy()
        for view in of_slice:
            seen_images.append(_tensor(view.apply(image), images))
            seen_labels.append(_tensor(view.apply_to_labels(label), labels))
    return Seen(torch.stack(seen_images), torch.stack(seen_labels), views)


def pseudo_labels(probabilities: Tensor, views: Sequence[Sequence[HostView]]) -> Tensor:
    """Average of what the views predict, mapped back and forward again, hardened."""
    found = []
    for predicted, of_slice in zip(_by_slice(probabilities, views), views, strict=True):
        host = predicted.detach().cpu().numpy()
        back = [view.undo(p) for view, p in zip(of_slice, host, strict=True)]
        mean = np.mean(back, axis=0)
        found += [_tensor(view.apply(mean), probabilities).argmax(dim=0) for view in of_slice]
    return torch.stack(found)


def view_consistency(probabilities: Tensor, views: Sequence[Sequence[HostView]]) -> Tensor:
    """Mean squared difference over pairs of views; the later of a pair goes through the host."""
    losses = []
    for predicted, of_slice in zip(_by_slice(probabilities, views), views, strict=True):
        host = predicted.detach().cpu().numpy()
        back = [view.undo(p) for view, p in zip(of_slice, host, strict=True)]
        for first, view in enumerate(of_slice):
            for second in range(first + 1, len(of_slice)):
                target = _tensor(view.apply(back[second]), probabilities)
                losses.append((predicted[first] - target).square().mean())
    return torch.stack(losses).mean()


def _by_slice(maps: Tensor, views: Sequence[Sequence[HostView]]) -> Sequence[Tensor]:
    return torch.split(maps, [len(of_slice) for of_slice in views])


def _tensor(array: NDArray[np.generic], like: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(like.device, like.dtype)


# --- weights by their definition ------------------------------------------------------------------


def weights_by_double_backward(
    network: nn.Module,
    velocity: Mapping[str, Tensor],
    images: Tensor,
    labels_of: Callable[[Tensor], tuple[Tensor, Tensor]],
    agreement: Agreement,
    clean: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """``-dL_clean/dw`` of both label maps, through the graph of a differentiable virtual step.

    Parameters
    ----------
    velocity
        Momentum of the student's optimiser by parameter name.
    images
        All views of the noisy slices.
    labels_of
        Initial and pseudo labels, given the student's probabilities.
    agreement
        The terms without weights, given the student's probabilities.
    clean
        Clean images and labels.
    """
    point: dict[str, Tensor] = dict(network.named_parameters())
    logits = torch.func.functional_call(network, point, (images,))
    probabilities = logits.softmax(dim=1)
    labels = labels_of(probabilities)
    weights = [torch.zeros_like(logits[:, 0], requires_grad=True) for _ in labels]
    loss = agreement(probabilities)
    for weight, y in zip(weights, labels, strict=True):
        loss = loss + (weight * pixel_cross_entropy(logits, y)).sum()
    gradients = torch.autograd.grad(loss, list(point.values()), create_graph=True)
    moved = {}
    for (name, value), gradient in zip(point.items(), gradients, strict=True):
        direction = MOMENTUM * velocity[name] + gradient + WEIGHT_DECAY * value
        moved[name] = value - LEARNING_RATE * direction
    after = torch.func.functional_call(network, moved, (clean[0],))
    initial, pseudo = torch.autograd.grad(clean_loss(after, clean[1]), weights)
    return -initial, -pseudo


# --- the step -------------------------------------------------------------------------------------


@dataclass
class ReferenceStep:
    """Student, teacher and SGD; a call is one step on noisy and clean slices (on the device)."""

    network: nn.Module
    seed: int = 0
    teacher: nn.Module = field(init=False)
    steps: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.teacher = copy.deepcopy(self.network).requires_grad_(False)
        self._rng = np.random.default_rng(self.seed)
        self._optimiser = torch.optim.SGD(
            self.network.parameters(),
            lr=LEARNING_RATE,
            momentum=MOMENTUM,
            weight_decay=WEIGHT_DECAY,
        )

    def __call__(self, noisy: tuple[Tensor, Tensor], clean: tuple[Tensor, Tensor]) -> float:
        """One step; the loss of the update."""
        seen = make_views(*noisy, self._rng)
        taught_on = seen.images + TEACHER_NOISE * torch.randn_like(seen.images)
        seen_clean = make_views(*clean, self._rng)
        u_initial, u_pseudo = weights_by_double_backward(
            self.network,
            self.velocity,
            seen.images,
            lambda p: (seen.labels, pseudo_labels(p, seen.views)),
            lambda p: self._agreement(p, seen, taught_on),
            (seen_clean.images, seen_clean.labels),
        )
        weights = torch.stack([u_initial, u_pseudo]).clamp_min(0)
        weights = weights / (weights.sum() + 1e-10)
        logits = self.network(seen.images)
        probabilities = logits.softmax(dim=1)
        pseudo = pseudo_labels(probabilities, seen.views)
        costs = [pixel_cross_entropy(logits, y) for y in (seen.labels, pseudo)]
        loss = (weights * torch.stack(costs)).sum()
        loss = loss + self._agreement(probabilities, seen, taught_on)
        self._update(loss)
        self._clean_update(seen_clean)
        self.steps += 1
        return loss.item()

    @property
    def velocity(self) -> dict[str, Tensor]:
        """Momentum by parameter name; zeros before the first step."""
        state = self._optimiser.state
        return {
            name: state[p].get("momentum_buffer", torch.zeros_like(p)).detach()
            for name, p in self.network.named_parameters()
        }

    def _agreement(self, probabilities: Tensor, seen: Seen, taught_on: Tensor) -> Tensor:
        with torch.no_grad():
            taught = self.teacher(taught_on).softmax(dim=1)
        to_teacher: Tensor = (probabilities - taught).square().mean()
        return view_consistency(probabilities, seen.views) + to_teacher

    def _clean_update(self, seen: Seen) -> None:
        taught_on = seen.images + TEACHER_NOISE * torch.randn_like(seen.images)
        logits = self.network(seen.images)
        agreement = self._agreement(logits.softmax(dim=1), seen, taught_on)
        self._update(clean_loss(logits, seen.labels) + agreement)

    def _update(self, loss: Tensor) -> None:
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        self._optimiser.step()
        decay = min(1 - 1 / (self.steps + 1), EMA_DECAY)
        with torch.no_grad():
            for ours, theirs in zip(
                self.teacher.parameters(), self.network.parameters(), strict=True
            ):
                ours.mul_(decay).add_(theirs, alpha=1 - decay)

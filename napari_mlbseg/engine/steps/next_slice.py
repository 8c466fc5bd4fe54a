"""Which slices to correct next: those that teach most about doubtful slices.

Every slice of the cohort has a weight, which grows with the doubt about its labels. A corrected
slice teaches about slices that look like it and about its neighbours: how much is their
similarity, and it counts only as far as no other corrected slice teaches more. Greedily adding the
slice that adds most (facility location; Nemhauser, Wolsey & Fisher 1978 bound its loss) makes a
batch that is diverse by itself: a second slice of the same kind adds nothing. Unlike k-centre, it
does not chase outliers, which teach only about themselves.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

LOWEST, HIGHEST = 0.15, 0.85
GOLDEN, SILVER = (np.sqrt(5) - 1) / 2, np.sqrt(2) - 1
BANDWIDTH = 0.4
NEIGHBOURHOOD = 0.06
LOOKALIKE = 0.5
DOUBT_SHARE = 0.75
DOUBT_CEILING = 4.0
COST_SHARE = 0.02


def evenly_spread(counts: Sequence[int], *, seed: int) -> Iterator[tuple[int, int]]:
    """All slices (case, index) of cases with `counts` slices; every prefix is evenly spread.

    Cases take turns in a random order. Heights follow an additive sequence with irrational steps
    between 15 and 85 percent of a case, because its ends rarely show much; if a height is already
    taken, the nearest free one is used.

    >>> [index for _, index in evenly_spread([100], seed=0)][:4]
    [59, 18, 47, 76]
    """
    generator = np.random.default_rng(seed)
    offset, order = generator.random(), generator.permutation(len(counts))
    free = [set(range(count)) for count in counts]
    for turn in range(max(counts, default=0)):
        for rank, case in enumerate(order.tolist()):
            if not free[case]:
                continue
            height = LOWEST + (HIGHEST - LOWEST) * ((offset + rank * GOLDEN + turn * SILVER) % 1)
            wanted = height * (counts[case] - 1)
            index = min(free[case], key=lambda i: (abs(i - wanted), i))
            free[case].remove(index)
            yield case, index


def pooled(image: Float[np.ndarray, "y x"], side: int) -> Float[np.ndarray, "side side"]:
    """Means over a grid of `side` x `side` boxes; smaller images repeat some pixels."""
    for axis in (0, 1):
        size = image.shape[axis]
        starts = np.arange(side) * size // side
        stops = np.maximum(starts + 1, (np.arange(side) + 1) * size // side)
        sums = np.concatenate(
            [np.zeros_like(image.take([0], axis)), image.cumsum(axis, dtype=image.dtype)], axis
        )
        widths = np.expand_dims(stops - starts, 1 - axis)
        image = (sums.take(stops, axis) - sums.take(starts, axis)) / widths
    return image


def alike(*blocks: Float[np.ndarray, "slices _"]) -> Float[np.ndarray, "slices slices"]:
    """Similarity of slices from 0 to 1: a Gaussian kernel of the distance of their features.

    Every block of features is scaled to the same spread, so that all count alike; a block that is
    the same for all slices does not count. The width is a share of the root mean square distance.
    """
    scaled = []
    for block in blocks:
        centred = block - block.mean(axis=0)
        spread = np.sqrt(np.square(centred).sum(axis=1).mean())
        scaled.append(centred / (spread or 1.0))
    features = np.concatenate(scaled, axis=1).astype(np.float32)
    norms = np.square(features).sum(axis=1)
    squared = np.maximum(norms[:, None] + norms[None] - 2 * features @ features.T, 0)
    width = BANDWIDTH**2 * float(squared.mean())
    kernel = np.exp(-squared / (2 * width)) if width > 0 else np.ones_like(squared)
    np.fill_diagonal(kernel, 1.0)
    return np.asarray(kernel, dtype=np.float32)


def near(
    cases: Int[np.ndarray, " slices"], heights: Float[np.ndarray, " slices"]
) -> Float[np.ndarray, "slices slices"]:
    """Closeness of slices of one case, from 0 to 1; 0 between cases. Heights are from 0 to 1."""
    apart = (heights[:, None] - heights[None]) / NEIGHBOURHOOD
    same = cases[:, None] == cases[None]
    return np.asarray(np.where(same, np.exp(-np.square(apart) / 2), 0.0), dtype=np.float32)


def likeness(
    alike: Float[np.ndarray, "slices slices"], near: Float[np.ndarray, "slices slices"]
) -> Float[np.ndarray, "slices slices"]:
    """How much correcting one slice teaches about another, from 0 to 1.

    For neighbours it is their closeness; for lookalikes at most the share `LOOKALIKE`, because they
    look alike only at the coarse resolution of the features.
    """
    return np.asarray(np.maximum(LOOKALIKE * alike, near))


def relative_doubt(doubt: Float[np.ndarray, " slices"]) -> Float[np.ndarray, " slices"]:
    """Doubt in multiples of its mean over the slices where it is known, at most `DOUBT_CEILING`.

    Unknown doubt (NaN) counts as the mean. The ceiling keeps a few broken slices from outweighing
    all others.
    """
    known = doubt[np.isfinite(doubt)]
    mean = float(known.mean()) if len(known) else 0.0
    if mean <= 0:
        return np.ones_like(doubt)
    return np.minimum(np.nan_to_num(doubt / mean, nan=1.0), DOUBT_CEILING)


def choose(
    similarity: Float[np.ndarray, "slices slices"],
    doubt: Float[np.ndarray, " slices"],
    *,
    clean: Bool[np.ndarray, " slices"],
    free: Bool[np.ndarray, " slices"],
    count: int,
    first: Callable[[Sequence[int]], Bool[np.ndarray, " slices"]] | None = None,
) -> list[tuple[int, float]]:
    """Choose up to `count` of the `free` slices, the best first, with how much each adds.

    Parameters
    ----------
    similarity
        How much correcting one slice (second index) teaches about another (first index), 0 to 1.
    doubt
        Relative doubt, see `relative_doubt`. Slices without doubt have some weight too: a network
        may be sure and wrong. A doubtful slice costs a little more to correct.
    first
        Returns, given the slices chosen so far, which slices come before all others.
    """
    weight = (1 - DOUBT_SHARE) + DOUBT_SHARE * doubt
    cost = (1 - COST_SHARE) + COST_SHARE * doubt
    taught = similarity[:, clean].max(axis=1, initial=0.0)
    free = free & ~clean
    chosen: list[tuple[int, float]] = []
    for _ in range(min(count, int(free.sum()))):
        gain = weight @ np.maximum(similarity - taught[:, None], 0) / cost
        preferred = free if first is None else free & first([i for i, _ in chosen])
        best = int(np.where(preferred if preferred.any() else free, gain, -np.inf).argmax())
        chosen.append((best, float(gain[best] / weight.sum())))
        taught, free = np.maximum(taught, similarity[:, best]), free.copy()
        free[best] = False
    return chosen
